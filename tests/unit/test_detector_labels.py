"""Label files in every form that is about."""

from __future__ import annotations

import re
from pathlib import Path

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


# ---- label maps in other formats

PBTXT = """# COCO
item {
  name: "/m/01g317"
  id: 1
  display_name: "person"  # the first
}
item: { id: 3 name: 'bus' keypoints { id: 7 label: "nose" } }
item { name: "it's {a} car", id: 2 }
"""
YAML = """path: ../datasets/coco8  # where
nc: 3
names:
  0: person  # a comment
  1: 'traffic light'
  2: "bus: long"

download: https://host/x.zip
"""


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(
    "text",
    [
        "item {\n  id: 1\n  name: 'person'\n}\nitem {\n  id: 2\n  name: 'car'\n}\nitem {\n  id: 3\n  name: 'bus'\n}\n",
        'item{id:3 name:"bus"} item{id:1 name:"person"} item{id:2 name:"car"} item{id:0 name:"???"}',
        '["person", "car", "bus"]',
        "['person', 'car', 'bus']",
        '["background", "person", "car", "bus"]',
        '{"0": "person", "1": "car", "2": "bus"}',
        '{"1": "person", "2": "car", "3": "bus"}',
        '{"bus": 2, "person": 0, "car": 1}',
        '{"model_type": "detr", "id2label": {"0": "person", "1": "car", "2": "bus"}}',
        '[{"id": 0, "name": "person"}, {"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]',
        '{"images": [], "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}, '
        '{"id": 3, "name": "bus"}]}',
        "0,person\n1,car\n2,bus\n",
        "1, person\n2, car\n3, bus\n",
        'id,name\n0,"person"\n1,"car"\n2,"bus"\n',
        "name;id\nperson;0\ncar;1\nbus;2\n",
        "person,0\ncar,1\nbus,2",
        "class_id,name,supercategory\n0,person,human\n1,car,vehicle\n2,bus,vehicle\n",
        "person,car,bus\n",
        "names: [person, car, 'bus']  # three\nnc: 3\n",
        "train: x\nnames: [\n  person,\n  car,\n  bus ]\n",
        "names:\n- person\n- car\n- bus\nnc: 3\n",
        "names:\n  - person\n  - 'car'\n  - bus # long\n",
        "names:\n  0: person\n  1: car\n  2: bus\n",
        "names: {0: person, 1: car, 2: 'bus'}\n",
        "---\n- person\n- car\n- bus\n",
    ],
)
def test_label_maps(text, classes):
    names, how = labels.parse(text, classes, "labels.txt")
    assert names == ["person", "car", "bus"]
    assert "bare" not in how
    assert labels.parse("\ufeff" + text.replace("\n", "\r\n"), classes, "labels.txt")[0] == names


def test_label_maps_with_gaps_and_quotes():
    assert parse(PBTXT) == parse(PBTXT, 3) == ["person", "it's {a} car", "bus"]
    assert parse(PBTXT, 90)[:2] == ["person", "it's {a} car"], "numbers of a pbtxt begin at one, however many classes"
    assert parse(YAML) == ["person", "traffic light", "bus: long"]
    assert parse('item {id: 1 name: "a"} item {id: 4 name: "b"}', 90) == ["a", "class_1", "class_2", "b"]
    assert parse('["a", null, "???", "b"]') == ["a", "class_1", "class_2", "b"]
    assert parse("1,a\n4,b\n") == ["a", "class_1", "class_2", "b"]
    assert parse("names:\n  0: a\n  3: b\n", 4) == ["a", "class_1", "class_2", "b"]
    assert parse('["person"]', 1) == ["person"]


@pytest.mark.parametrize(
    "text",
    [
        "tench, Tinca tinca\ngoldfish, Carassius auratus\n",
        "traffic light\n[bracket\n{brace\n",
        "item\nitems\nnames\n",
        "a - b\n- c\n",
        "person\ncar: red\nbus",
        "names\nlabels: x",
    ],
)
def test_plain_lines_stay_plain(text):
    assert parse(text) == text.rstrip("\n").split("\n")


def test_one_class_with_a_comma_is_one_class():
    assert parse("tench, Tinca tinca", 1) == ["tench, Tinca tinca"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item { name: 'person' }", "pbtxt label map, but has an item without id"),
        ("item { id: 1 }", "pbtxt"),
        ('["person", "car"', "looks like JSON, but is none"),
        ('{"version": 3}', "is JSON, but holds no list of names"),
        ("[" * 5000, "JSON"),
        ("[1, 2, 3]", "is JSON, but holds no list of names"),
        ("id,name\nperson\n,car\n", None),
        ("id,name\nx,person\ny,car\n", "looks like CSV with the columns id, name"),
        ("path: ../data\ntrain: images\nval: images\n", "looks like YAML without a list of names"),
        ("names: coco.names\nnc: 80\n", "looks like YAML without a list of names"),
        ("names:\n", "without anything below"),
        ("names: [a, b\n", "has no ]"),
        ("names:\n  a: person\n", "is no number with a name"),
        ("<annotation><object/></annotation>", "XML or a web page"),
        ("<!DOCTYPE html>\n<html>", "XML or a web page"),
        ("[labels]\nfirst = 'person'\n", "settings (TOML or INI)"),
        ("classes= 80\nnames = data/coco.names\n", "settings (TOML or INI)"),
        ("| 0 | person |\n| 1 | car |\n", "looks like a table"),
        ('{"0": "a", "00": "b"}', "gives class 0 two names"),
    ],
)
def test_other_formats_are_refused_by_name(text, words):
    if words is None:
        assert parse(text) == ["id,name", "person", ",car"]
        return
    with pytest.raises(ModelError) as refused:
        parse(text)
    assert refused.value.code == "labels"
    assert words in refused.value.message
    assert "labels.txt" in refused.value.message


def test_label_maps_of_another_model():
    for text in ('["a", "b", "c"]', "0,a\n1,b\n2,c", "names: [a, b, c]", "item {id: 3 name: 'c'}"):
        with pytest.raises(ModelError) as refused:
            parse(text, 2)
        assert refused.value.code == "labels_mismatch"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "labels.txt"
    path.write_bytes("Fußgänger\nCar\nBus\n".encode(encoding))
    assert labels.read_file(str(path), 3)[0] == ["Fußgänger", "Car", "Bus"]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\0\0\0\rIHDR", bytes(range(256)) * 4, b"a\0", b"TFL3\0\0\0\0\0\0"])
def test_binary_files_are_no_labels(tmp_path, data):
    path = tmp_path / "labels.txt"
    path.write_bytes(data)
    if data == b"a\0":
        assert labels.read_file(str(path), 1)[0] == ["a"]
        return
    with pytest.raises(ModelError, match="is no label file"):
        labels.read_file(str(path), 3)


def test_the_formats_on_the_page() -> None:
    """docs/models.md shows each with the same two classes."""
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    section = page.partition("## Label files\n")[2].partition("\n## ")[0]
    examples = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    hows = []
    for example in [*examples, "0 person\n1 car\n", "0: person\n1: car\n"]:
        names, how = labels.parse(example, 2, "labels.txt")
        assert names == ["person", "car"], example
        hows.append(how.partition(",")[0])
    assert len(examples) == 5 and len(set(hows)) == 6, hows
