"""Average precision without pycocotools is what pycocotools gives."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectorkit import ASSETS, COCO, COCO_FLOAT, COCO_UINT8
from pycocotools import coco as reference
from pycocotools.cocoeval import COCOeval

from vigild.config.schema import ModelConfig
from vigild.detector.model import load
from vigild.minscores import MinScores
from vigild.tune import cocofile
from vigild.tune.accuracy import Seen, coco, look
from vigild.tune.agreement import Found
from vigild.tune.ap import MAX_DETECTIONS
from vigild.tune.cocofile import Annotations, Category, Image, Mark
from vigild.tune.pictures import pictures

EVAL = ASSETS / "images/coco_eval"
ANNOTATIONS = ASSETS / "annotations/coco_eval.json"


def by_pycocotools(marked: Annotations, seen: list[Seen]) -> tuple[float, float]:
    images = {image.file_name: image for image in marked.images}
    categories = {category.name: category.id for category in marked.categories}
    wanted = {images[one.name].id for one in seen}
    results: list[dict[str, Any]] = []
    for one in seen:
        image = images[one.name]
        for found in one.detections:
            xmin, ymin, xmax, ymax = found.box
            results.append(
                {
                    "image_id": image.id,
                    "category_id": categories.get(found.label, 10_000),
                    "score": found.score,
                    "bbox": [
                        xmin * image.width,
                        ymin * image.height,
                        (xmax - xmin) * image.width,
                        (ymax - ymin) * image.height,
                    ],
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = reference.COCO()
        truth.dataset = {
            "images": [{"id": image.id, "width": image.width, "height": image.height} for image in marked.images],
            "categories": [{"id": category.id, "name": category.name} for category in marked.categories],
            "annotations": [
                {
                    "id": number,
                    "image_id": mark.image_id,
                    "category_id": mark.category_id,
                    "bbox": list(mark.bbox),
                    "area": mark.bbox[2] * mark.bbox[3],
                    "iscrowd": mark.iscrowd,
                }
                for number, mark in enumerate(marked.annotations, 1)
            ],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.imgIds = sorted(wanted)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.mark.parametrize("seed", range(12))
def test_made_up_detections(seed: int) -> None:
    """Crowds, equal scores, more detections than count, pictures and categories with nothing in them."""
    rng = np.random.default_rng(seed)
    labels = ["a", "b", "c", "never"]
    images = [Image(number, f"{number}.jpg", 200, 100) for number in range(9)]
    marks, seen = [], []
    for image in images:
        found = []
        for label_number in range(3):
            for _ in range(int(rng.integers(0, 5))):
                x, y = rng.uniform(0, 100), rng.uniform(0, 60)
                w, h = rng.uniform(5, 90), rng.uniform(5, 35)
                marks.append(Mark(image.id, label_number, (x, y, w, h), int(rng.random() < 0.25)))
                for _ in range(int(rng.integers(0, 60 if seed == 0 else 4))):
                    dx, dy, dw, dh = rng.normal(0, 0.12, 4)
                    box = (x + dx * w, y + dy * h, x + dx * w + w * (1 + dw), y + dy * h + h * (1 + dh))
                    relative = (box[0] / 200, box[1] / 100, box[2] / 200, box[3] / 100)
                    label = labels[int(rng.integers(0, 3))] if rng.random() < 0.2 else labels[label_number]
                    found.append(Found(label, float(np.round(rng.random(), 1)), relative))
        seen.append(Seen(image.file_name, found, None))
    marked = Annotations(images, marks, [Category(number, label) for number, label in enumerate(labels)])
    ours = coco(seen, labels, marked)
    assert ours is not None
    assert (ours.ap, ours.ap50) == pytest.approx(by_pycocotools(marked, seen), abs=1e-9)
    assert 0 < ours.ap < ours.ap50 < 1


def test_nothing_found_and_nothing_there() -> None:
    images = [Image(1, "1.jpg", 10, 10)]
    marked = Annotations(images, [Mark(1, 1, (0, 0, 5, 5))], [Category(1, "a"), Category(2, "b")])
    assert coco([Seen("1.jpg", [], None)], ["a"], marked) == (0.0, 0.0)
    perfect = [Found("a", 0.9, (0, 0, 0.5, 0.5))]
    assert coco([Seen("1.jpg", perfect, None)], ["a"], marked) == pytest.approx((1.0, 1.0))
    assert coco([Seen("1.jpg", perfect, None)], ["b"], marked) is None


def test_labels_that_no_category_has() -> None:
    marked = Annotations([Image(1, "1.jpg", 10, 10)], [Mark(1, 1, (0, 0, 5, 5))], [Category(1, "person")])
    with pytest.raises(cocofile.AnnotationsError, match=r"no class .* \(person, \.\.\.\); bring .* --labels"):
        coco([Seen("1.jpg", [], None)], ["class_0"], marked)


@pytest.mark.skipif(not COCO_UINT8.exists(), reason=f"needs the COCO models and pictures in {ASSETS}")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", [COCO_UINT8, COCO_FLOAT], ids=["uint8", "float32"])
def test_real_models_on_real_pictures(path: Path) -> None:
    triple = (128.0, 128.0, 128.0)
    config = (
        ModelConfig(path=str(path))
        if path == COCO_UINT8
        else ModelConfig(path=str(path), labels=str(COCO / "labelmap.txt"), mean=triple, std=triple)
    )
    marked = cocofile.read(ANNOTATIONS)
    wanted = {image.file_name for image in marked.images}
    model = load(config, "xnnpack", "auto")
    seen = look(model, pictures(str(EVAL), 100, wanted), everything=True, scores=MinScores(), limit=MAX_DETECTIONS)
    assert len(seen) == len(marked.images)
    ours = coco(seen, model.labels, marked)
    assert ours is not None
    assert (ours.ap, ours.ap50) == pytest.approx(by_pycocotools(marked, seen), abs=1e-9)
    assert ours.ap > 0.2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not a COCO annotations file"),
        ("[]", "is not a COCO annotations file"),
        ('{"images": [], "categories": []}', "annotations"),
        ('{"images": [], "annotations": [], "categories": []}', "marks no object"),
    ],
)
def test_what_is_no_annotations_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(cocofile.AnnotationsError, match=says):
        cocofile.read(path)
    with pytest.raises(cocofile.AnnotationsError, match="cannot be read"):
        cocofile.read(tmp_path / "absent.json")
