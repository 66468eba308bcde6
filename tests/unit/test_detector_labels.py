"""Label files in every form that is about."""

from __future__ import annotations

import modelkit
import pytest
from detectorkit import ASSETS, COCO, load_model

from vigild.detector import labels
from vigild.detector.errors import ModelError


def parse(text, classes=0):
    return labels.parse(text, classes, "labels.txt")[0]


@pytest.mark.parametrize(
    "text",
    [
        "person\nbicycle\ncar",
        "person\r\nbicycle\r\ncar\r\n\r\n",
        "\ufeffperson\nbicycle\ncar\n",
        "0 person\n1 bicycle\n2 car\n",
        "0:person\n1: bicycle\n2 :car\n",
        "0  person\n1\tbicycle\n  2   car",
        "???\nperson\nbicycle\ncar\n",
        "background\nperson\nbicycle\ncar\n",
        "1 person\n2 bicycle\n3 car\n",
        "0 background\n1 person\n2 bicycle\n3 car\n",
    ],
)
def test_forms(text):
    assert parse(text, classes=3) == ["person", "bicycle", "car"]


def test_gaps():
    assert parse("person\n???\n\nn/a\ncar") == ["person", "class_1", "class_2", "class_3", "car"]
    assert parse("0 person\n3 car", 4) == ["person", "class_1", "class_2", "car"]
    assert parse("0 person\n1 bicycle", 90) == ["person", "bicycle"], "the rest is called class_N"


def test_names_that_begin_with_a_number_are_names():
    assert parse("7 up\ncola\n3 musketeers") == ["7 up", "cola", "3 musketeers"]
    assert parse("2 wheeler\n2 seater") == ["2 wheeler", "2 seater"], "a number twice is no numbering"


def test_a_first_line_of_question_marks_may_be_a_class_that_is_a_gap():
    assert parse("???\nperson", classes=2) == ["class_0", "person"]


def test_a_long_name_is_cut_at_a_character():
    assert parse("ä" * 50) == ["ä" * 32]


@pytest.mark.parametrize(
    ("text", "classes"),
    [("a\nb\nc", 2), ("a", 2), ("???\na\nb\nc", 2), ("0 a\n2 b", 2), ("5 a", 2)],
)
def test_labels_of_another_model(text, classes):
    with pytest.raises(ModelError) as refused:
        parse(text, classes)
    assert refused.value.code == "labels_mismatch"


def test_from_the_archive_that_the_metadata_names(tmp_path):
    described = modelkit.metadata(names=["location", "category", "score", "number of detections"], label_file="b.txt")
    path = modelkit.quadrants(tmp_path, metadata=described, archive={"a.txt": "x\ny", "b.txt": "green\nblue"})
    assert load_model(path).labels == ["green", "blue"]


def test_from_the_archive_without_metadata(tmp_path):
    assert load_model(modelkit.quadrants(tmp_path, archive={"labels.txt": "green\nblue"})).labels == ["green", "blue"]


def test_two_nameless_files_are_not_guessed_between(tmp_path):
    path = modelkit.quadrants(tmp_path, archive={"a.txt": "x\ny", "b.txt": "green\nblue"})
    assert load_model(path).labels == ["class_0", "class_1"]


def test_a_label_file_beats_the_archive(tmp_path):
    (tmp_path / "labels.txt").write_text("grass\nsky")
    path = modelkit.quadrants(tmp_path, archive={"labels.txt": "green\nblue"})
    assert load_model(path, labels=str(tmp_path / "labels.txt")).labels == ["grass", "sky"]


def test_unfitting_labels_inside_a_model_are_left_out_with_a_warning(tmp_path):
    model = load_model(modelkit.quadrants(tmp_path, archive={"labels.txt": "one\ntwo\nthree"}))
    assert model.labels == ["class_0", "class_1"]
    assert any("labels inside the model" in warning for warning in model.ready.warnings)


def test_a_damaged_archive_costs_the_labels_only(tmp_path):
    path = modelkit.quadrants(tmp_path, archive={"labels.txt": "green\nblue"})
    data = bytearray(path.read_bytes())
    start = data.rfind(b"PK\x03\x04")
    data[start + 30 + len("labels.txt")] ^= 0xFF
    path.write_bytes(bytes(data))
    assert load_model(path).labels == ["class_0", "class_1"]


@pytest.mark.skipif(not COCO.exists(), reason="the shared models are not here")
def test_the_two_coco_lists_are_the_same_classes():
    starter = labels.read_file(str(COCO / "labelmap.txt"), 90)[0]
    coral = labels.read_file(str(ASSETS / "models" / "coral_coco_labels.txt"), 90)[0]
    assert starter[16] == coral[16] == "cat"
    assert starter == coral
