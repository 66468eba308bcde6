"""Fewer classes: the same numbers for those that stay, on real networks and pictures."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from forge.errors import ForgeError
from forge.evaluation.evaluate import Detection
from forge.evaluation.subject import Subject
from forge.model.network import Network, open_network
from forge.model.prune import prune
from forge.pictures import picture_files, read_for
from forge.quantization.quantize import observe_network
from forge.quantization.settings import parse
from forge.tflite import flatbuffer
from forge.tflite.postprocess import find_postprocess
from forge.variants.make import make_variant
from vigild.detector import flexbuffer

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY.parent / "shared" / "assets"
V1 = ASSETS / "models" / "ssd_mobilenet_v1_coco" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
FPNLITE = ASSETS / "models" / "ssd_mobilenet_v2_fpnlite_320" / "model_dynamic_range.tflite"
LABELS = {V1: None, FPNLITE: FPNLITE.with_name("labels.txt")}
PICTURES = ASSETS / "images" / "coco_calib"
CLASSES = ["dog", "person", "car"]
MIN_SCORE = 0.3

pytestmark = pytest.mark.skipif(not V1.exists(), reason=f"needs the COCO models and pictures in {ASSETS}")


@cache
def network_of(path: Path) -> Network:
    return open_network(path, LABELS[path])


def subject_of(network: Network, setting: str, path: Path) -> Subject:
    make_variant(network, parse(setting), None, path, network.card)
    return Subject(path)


def found_again(wanted: list[Detection], others: list[Detection]) -> int:
    return sum(
        any(
            d.label == other.label
            and abs(d.score - other.score) < 1e-4
            and np.abs(np.subtract(d.box, other.box)).max() < 1e-4
            for other in others
        )
        for d in wanted
    )


@pytest.mark.parametrize("path", [V1, FPNLITE], ids=["v1", "fpnlite"])
def test_kept_classes_say_what_they_said(path: Path, tmp_path: Path) -> None:
    """Anchor by anchor, and in detections chosen within each class."""
    network = network_of(path)
    fewer = prune(network, CLASSES)
    assert fewer.labels == ("person", "car", "dog")  # in the network's own order
    assert len(fewer.data) < len(network.data)
    all_of_it = subject_of(network, "float32-raw", tmp_path / "all.tflite")
    part = subject_of(fewer, "float32-raw", tmp_path / "part.tflite")
    columns = [network.labels.index(label) for label in fewer.labels]
    compared = 0
    for file in picture_files(PICTURES)[:12]:
        image = cv2.imread(str(file))
        whole, some = all_of_it.look(image), part.look(image)
        np.testing.assert_allclose(some.codes, whole.codes, atol=1e-4)
        np.testing.assert_allclose(some.scores, whole.scores[:, columns], atol=1e-5)
        before, after = all_of_it.detect(image, MIN_SCORE), part.detect(image, MIN_SCORE)
        if len(before) < 100:  # else detections of other classes took the place of some
            kept = [d for d in before if d.label in CLASSES]
            assert len(after) == len(kept) == found_again(kept, after)
            compared += len(kept)
    assert compared > 15


@pytest.mark.parametrize("path", [V1, FPNLITE], ids=["v1", "fpnlite"])
def test_the_op_finds_what_it_found(path: Path, tmp_path: Path) -> None:
    """Its fast NMS suppresses across classes and gives ten rows, so a few boxes change places with hidden ones."""
    network = network_of(path)
    all_of_it = subject_of(network, "float32", tmp_path / "all.tflite")
    part = subject_of(prune(network, CLASSES), "float32", tmp_path / "part.tflite")
    kept = again = shown = 0
    for file in picture_files(PICTURES)[:20]:
        image = cv2.imread(str(file))
        before = [d for d in all_of_it.detect(image, MIN_SCORE) if d.label in CLASSES]
        after = part.detect(image, MIN_SCORE)
        kept, again, shown = kept + len(before), again + found_again(before, after), shown + len(after)
    assert kept > 20
    assert again >= 0.9 * kept
    assert shown >= kept


@pytest.mark.parametrize("setting", ["int8", "int8-raw"])
def test_three_classes_and_a_background_are_not_taken_for_boxes(setting: str, tmp_path: Path) -> None:
    """Scores then have four columns, as box codes have."""
    fewer = prune(network_of(V1), CLASSES)
    files = picture_files(PICTURES)[:4]
    path = tmp_path / "int8.tflite"
    make_variant(fewer, parse(setting), observe_network(fewer, read_for(fewer, files)), path, fewer.card)
    exact = subject_of(fewer, "float32", tmp_path / "float32.tflite")
    quantised = Subject(path)
    for file in files:
        image = cv2.imread(str(file))
        expected, got = exact.look(image), quantised.look(image)
        assert np.abs(got.scores - expected.scores).max() < 0.2
        assert np.abs(got.codes - expected.codes).mean() < 0.3


def test_labels_and_the_op_s_count_follow(tmp_path: Path) -> None:
    path = tmp_path / "part.tflite"
    fewer = prune(network_of(V1), ["cat"])
    make_variant(fewer, parse("float32"), None, path, fewer.card)
    model = flatbuffer.load(path)
    assert flexbuffer.options(bytes(find_postprocess(model).customOptions))["num_classes"] == 1
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode() == "cat\n"


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(ForgeError, match=r"no class 'dragon'; it has person, bicycle, "):
        prune(network_of(V1), ["person", "dragon"])


def test_the_command_shows_what_is_saved(tmp_path: Path) -> None:
    out = tmp_path / "few.tflite"
    done = subprocess.run(
        [sys.executable, "-m", "forge", "prune", str(V1), "--classes", "person", "--out", str(out), "--rounds", "1"],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{REPOSITORY / 'models'}:{REPOSITORY / 'daemon'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.splitlines()
    assert before.startswith("90 classes: 16")
    assert after.startswith(f"1 classes: {out.stat().st_size} bytes, ")
    assert open_network(out).labels == ("person",)
