"""How good a model file is, run as the daemon runs it: COCO AP, and hits and inventions at a threshold.

runner = Runner(Path("model.tflite"))
runner.detect(image)                              # [(label, score, (xmin, ymin, xmax, ymax))]
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.anchors import box_iou
from forge.errors import ForgeError
from forge.evaluation.coco import Annotated
from forge.progress import Progress
from vigild.camera.convert import Converter
from vigild.camera.orientation import Orientation
from vigild.config.schema import ModelConfig
from vigild.detector import model as detector_model
from vigild.detector.errors import ModelError
from vigild.detector.selection import Selection

Image = NDArray[np.uint8]
Triple = tuple[float, float, float]
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_MAX_RESULTS = 100
"""As many as COCO's evaluation counts in a picture."""


class Detection(NamedTuple):
    """Relative box (xmin, ymin, xmax, ymax), score 0..1."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Runner:
    """A model loaded, fed and decoded by the daemon's own code, on LiteRT with one thread.

    labels: the names, or a label file; without, those packed in. mean, std: the normalisation, instead
    of what the file says. Raises ForgeError for what the daemon refuses.
    """

    def __init__(
        self,
        path: Path,
        labels: list[str] | Path | None = None,
        *,
        mean: Triple | None = None,
        std: Triple | None = None,
    ) -> None:
        file = str(labels) if isinstance(labels, Path) else None
        config = ModelConfig(path=str(path), labels=file, mean=mean, std=std, min_score=0.0)
        try:
            self._model = detector_model.load(config, "xnnpack", "litert")
        except ModelError as error:
            raise ForgeError(f"{path}: {error.message}") from None
        self.name = path.name
        self.spec = self._model.spec
        self.labels = labels if isinstance(labels, list) else self._model.labels
        self._converter = Converter(self.spec)
        self._tensor = np.empty(self.spec.nbytes, np.uint8)

    def detect(self, image: Image, min_score: float = 0.0) -> list[Detection]:
        """image: uint8 [H, W, 3], BGR, any size; squashed to the input. Best first."""
        view = self._converter.convert(image, Orientation(), _WHOLE, memoryview(self._tensor))
        target = self._model.input_view()
        target[...] = self._tensor.view(self.spec.dtype).reshape(target.shape)
        del target  # invoke() refuses to run while somebody views a tensor
        self._model.interpreter.invoke()
        found, _ = self._model.decode(view, Selection(self.labels, min_score, _MAX_RESULTS))
        return [Detection(each.label, each.score, each.box) for each in found]


class Tally(NamedTuple):
    """Objects there, found (same label, IoU >= 0.5), and detections that match none."""

    objects: int
    found: int
    invented: int


def tally(truth: Iterable[tuple[str, tuple[float, ...]]], detections: list[Detection]) -> Tally:
    """Best score first, each detection takes the best free object of its label."""
    objects = list(truth)
    free = set(range(len(objects)))
    found = invented = 0
    for detection in sorted(detections, key=lambda d: -d.score):
        overlaps = [
            (float(box_iou(np.array([detection.box]), np.array([objects[i][1]]))[0, 0]), i)
            for i in free
            if objects[i][0] == detection.label
        ]
        best = max(overlaps, default=(0.0, -1))
        if best[0] >= 0.5:
            free.discard(best[1])
            found += 1
        else:
            invented += 1
    return Tally(len(objects), found, invented)


Truths = list[list[tuple[str, tuple[float, ...]]]]
"""Per picture: label and relative box (xmin, ymin, xmax, ymax) of each object."""

_SIDE = 1000.0
"""Pictures are judged in relative boxes; pycocotools wants pixels."""


def coco_ap(
    labels: tuple[str, ...],
    truths: Truths,
    results: list[list[Detection]],
    ignored: Truths | None = None,
    judged: list[frozenset[str]] | None = None,
) -> dict[str, tuple[float, float, int]]:
    """label to (AP, AP50, objects) with pycocotools; "all" is the mean of those that occur.

    truths, results: per picture. ignored: per picture, boxes that are no error to find. judged: per
    picture, the labels it is labelled for; others in it are left out altogether.
    """
    report: dict[str, tuple[float, float, int]] = {}
    for label in labels:
        judge, objects = judge_label(label, truths, results, ignored, judged)
        if judge is not None:
            report[label] = (*summary(judge), objects)
        elif objects:
            report[label] = (0.0, 0.0, objects)
    if report:
        mean = np.mean([(ap, ap50) for ap, ap50, _ in report.values()], axis=0)
        report["all"] = (float(mean[0]), float(mean[1]), sum(count for _, _, count in report.values()))
    return report


def judge_label(
    label: str,
    truths: Truths,
    results: list[list[Detection]],
    ignored: Truths | None = None,
    judged: list[frozenset[str]] | None = None,
) -> tuple[Any, int]:
    """(the evaluated pycocotools COCOeval of one label, its objects); None where there is no object or no detection.

    Arguments as of `coco_ap`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, annotations, found = [], [], []
    for index, (truth, result) in enumerate(zip(truths, results, strict=True), 1):
        if judged is not None and label not in judged[index - 1]:
            continue
        images.append({"id": index, "width": _SIDE, "height": _SIDE})
        boxes = [(box, 0) for name, box in truth if name == label]
        boxes += [(box, 1) for name, box in (ignored[index - 1] if ignored else []) if name == label]
        for box, crowd in boxes:
            x, y, w, h = _in_pixels(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": crowd,
                }
            )
        for detection in result:
            if detection.label == label:
                entry = {"image_id": index, "category_id": 1, "score": detection.score}
                found.append({**entry, "bbox": _in_pixels(detection.box)})
    objects = sum(not a["iscrowd"] for a in annotations)
    if not objects or not found:
        return None, objects
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": label}]}
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate()
    return judge, objects


def summary(judge: Any) -> tuple[float, float]:
    """(AP, AP50) of an evaluated COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


def _in_pixels(box: tuple[float, ...]) -> list[float]:
    """Relative corners as x, y, width, height."""
    return [box[0] * _SIDE, box[1] * _SIDE, (box[2] - box[0]) * _SIDE, (box[3] - box[1]) * _SIDE]


def on_coco(
    runner: Runner, pictures: Sequence[tuple[Path, Annotated]], progress: Progress = lambda *_: None
) -> dict[str, tuple[float, float, int]]:
    """`coco_ap` over all classes that occur in annotated pictures; "all" is COCO's AP and AP50.

    pictures: of `coco.annotated_pictures`. progress: told what is looked at, and how far it is. Raises
    ForgeError when a picture cannot be read or no class is one of the model's.
    """
    labels = tuple(sorted({label for _, objects in pictures for label, _ in objects.truth}))
    if not set(labels) & set(runner.labels):
        raise ForgeError(
            f"none of the annotated classes ({', '.join(labels[:3])}, ...) is one of the model's"
            f" ({', '.join(runner.labels[:3])}, ...); give its label file with --labels"
        )
    results = []
    for number, (path, _) in enumerate(pictures, 1):
        image = cv2.imread(str(path))
        if image is None:
            raise ForgeError(f"{path} cannot be read as a picture")
        results.append(runner.detect(image))
        progress(runner.name, number, len(pictures))
    objects = [objects for _, objects in pictures]
    return coco_ap(labels, [each.truth for each in objects], results, [each.ignored for each in objects])
