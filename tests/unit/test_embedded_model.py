"""Every variant of the model that comes with the package finds what the test card shows, and nothing else."""

from __future__ import annotations

import importlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vigild import runtimes
from vigild.camera.testcard import LABELS, TestCard
from vigild.catalogue import embedded, store
from vigild.geometry import Box

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"

ENTRY = embedded.entry()
FILES = {variant.name: Path(store.candidates(ENTRY, variant)[0]) for variant in ENTRY.variants}
DEFAULT = ENTRY.variants[0].name
MIN_SCORE = 0.5
MAX_BYTES = {"int8": 2 * 10**6, "float16": 4 * 10**6, "float32": 8 * 10**6}
"""By the word that a variant's name begins with."""

RUNTIME = next(package.name for package in runtimes.PACKAGES if runtimes.version(package))
"""The one that is installed, or to be preferred."""

each_variant = pytest.mark.parametrize("variant", FILES)
each_runtime = pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])


def open_interpreter(runtime: str, variant: str = DEFAULT) -> Any:
    if runtime == "litert":
        module = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    else:
        try:
            module = importlib.import_module("tflite_runtime.interpreter")
        except (ImportError, AttributeError):  # AttributeError: built for NumPy 1, found NumPy 2
            pytest.skip("tflite-runtime is not installed, or not with a NumPy it works with")
    interpreter = module.Interpreter(str(FILES[variant]), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def detect(interpreter: Any, frame: np.ndarray, labels: list[str]) -> list[tuple[str, Box]]:
    """What the model sees in a BGR frame, at MIN_SCORE."""
    detail = interpreter.get_input_details()[0]
    _, height, width, _ = detail["shape"]
    rgb = cv2.cvtColor(cv2.resize(frame, (int(width), int(height))), cv2.COLOR_BGR2RGB)
    if detail["dtype"] == np.float32:
        tensor = (rgb.astype(np.float32) - 127.5) / 127.5
    else:
        tensor = (rgb.astype(np.int16) - 128).astype(np.int8)
    interpreter.set_tensor(detail["index"], tensor[None])
    interpreter.invoke()
    boxes, classes, scores, count = (
        interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details()
    )
    found = []
    for box, number, score in list(zip(boxes, classes, scores, strict=True))[: int(count)]:
        if score >= MIN_SCORE:
            ymin, xmin, ymax, xmax = (float(side) for side in box)
            found.append((labels[int(number)], (xmin, ymin, xmax, ymax)))
    return found


def iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def packed_labels(variant: str = DEFAULT) -> list[str]:
    with zipfile.ZipFile(FILES[variant]) as archive:
        return archive.read("labels.txt").decode().splitlines()


@each_variant
def test_file_is_small_and_carries_the_card_s_labels(variant: str) -> None:
    assert FILES[variant].stat().st_size <= MAX_BYTES[variant.partition("-")[0]]
    assert packed_labels(variant) == packed_labels(), "the same in all variants"
    assert set(LABELS) <= set(packed_labels())


def test_its_card_says_everything() -> None:
    card = (store.package_folder() / "embedded" / "README.md").read_text()
    assert "FILL" not in card
    assert all(f"`{variant}`" in card for variant in FILES)
    assert all(f"`{label}`" in card for label in packed_labels())


def test_everybody_whose_pictures_it_learned_from_is_named() -> None:
    """As CC BY asks: the sets of SOURCES.md with their makers, and where they are from."""
    sources = ASSETS / "train" / "SOURCES.md"
    if not sources.exists():
        pytest.skip("the shared training pictures are not here")
    page = (store.package_folder() / "embedded" / "ATTRIBUTION.md").read_text()
    rows = [line.split(" | ") for line in sources.read_text().splitlines() if re.match(r"\| \w+ \| \d+ \|", line)]
    assert len(rows) == 8
    for row in rows:
        name, pictures, repository, attribution = row[0].strip("| "), int(row[1]), row[3], row[5]
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        assert f"{pictures:,}" in line
        assert all(part in line for part in repository.partition(" (")[0].split(" @ "))
        for quoted in re.findall(r'"([^"]+)"', attribution):
            assert quoted in line
        assert ("Open Images (Google LLC" in line) == ("openimages" in name)


@each_variant
def test_the_manifest_says_what_the_file_is(variant: str) -> None:
    """The sizes and types in `vigild models list`."""
    described = next(v for v in ENTRY.variants if v.name == variant)
    detail = open_interpreter("litert", variant).get_input_details()[0]
    assert (1, described.height, described.width, 3) == tuple(detail["shape"])
    assert described.dtype == np.dtype(detail["dtype"]).name


def score(
    interpreter: Any, cards: list[TestCard], frames: range, variant: str = DEFAULT
) -> tuple[int, list[Any], list[Any]]:
    """(objects shown, those missed, detections that match none)."""
    labels = packed_labels(variant)
    objects: int = 0
    missed: list[Any] = []
    invented: list[Any] = []
    for card in cards:
        for n in frames:
            frame, truths = card.render(n)
            found = detect(interpreter, frame, labels)
            objects += len(truths)
            where = (card.width, card.seed, n)
            for truth in truths:
                match = [d for d in found if d[0] == truth.label and iou(d[1], truth.box) >= 0.5]
                if match:
                    found.remove(match[0])
                else:
                    missed.append((where, truth))
            invented += [(where, detection) for detection in found]
    return objects, missed, invented


@each_runtime
@each_variant
def test_every_object_of_the_daemon_s_card_is_found_and_none_invented(variant: str, runtime: str) -> None:
    """The card that the source `testcard` shows when nothing else is said."""
    step = 7 if variant == DEFAULT else 24
    objects, missed, invented = score(open_interpreter(runtime, variant), [TestCard()], range(0, 720, step), variant)
    assert objects == len(range(0, 720, step)) * 6
    assert not missed
    assert not invented


@each_runtime
def test_cards_of_other_seeds_and_sizes_are_read_too(runtime: str) -> None:
    """At most one shape in 200 may be taken for another, on cards squashed to half their width."""
    cards = [TestCard(width, height, seed) for width, height in ((640, 480), (1280, 720)) for seed in range(1, 5)]
    objects, missed, invented = score(open_interpreter(runtime), cards, range(0, 720, 29))
    assert objects == 8 * 25 * 6
    assert len(missed) <= objects / 200, missed
    assert len(invented) <= objects / 200, invented


@pytest.mark.skipif(not (ASSETS / "annotations").exists(), reason="the shared pictures are not here")
@each_variant
def test_people_in_the_foreground_are_found(variant: str) -> None:
    """Half and more of those that take a tenth of the picture, on 87 COCO pictures that it never saw."""
    annotations = json.loads((ASSETS / "annotations" / "coco_calib.json").read_text())
    interpreter, labels = open_interpreter(RUNTIME, variant), packed_labels(variant)
    people = found = invented = empty = 0
    for picture in annotations["images"]:
        there = [a for a in annotations["annotations"] if a["image_id"] == picture["id"] and a["category_id"] == 1]
        image = cv2.imread(str(ASSETS / "images" / "coco_calib" / picture["file_name"]))
        width, height = picture["width"], picture["height"]
        seen = [box for label, box in detect(interpreter, image, labels) if label == "person"]
        for x, y, w, h in (a["bbox"] for a in there if not a["iscrowd"]):
            if w * h >= 0.1 * width * height:
                people += 1
                found += any(
                    iou(box, (x / width, y / height, (x + w) / width, (y + h) / height)) >= 0.5 for box in seen
                )
        if not there:
            empty += 1
            invented += len(seen)
    assert people == 38
    assert found >= people / 2
    assert empty == 46
    assert invented <= empty / 2, "in the pictures without anybody"


def test_a_card_without_shapes_holds_nothing() -> None:
    """A grey frame, noise and a background alone: what a model that always says the same would fail."""
    interpreter = open_interpreter("litert")
    rng = np.random.default_rng(0)
    for frame in (
        np.full((480, 640, 3), 128, np.uint8),
        rng.integers(0, 256, (480, 640, 3), dtype=np.uint8),
        cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC),
    ):
        assert detect(interpreter, frame, packed_labels()) == []
