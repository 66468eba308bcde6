"""How good a model file is, run as the daemon runs it: COCO AP, and hits and inventions at a threshold.

runner = Runner(Path("model.tflite"))
runner.detect(image)                              # [(label, score, (xmin, ymin, xmax, ymax))]
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from forge.anchors import box_iou
from forge.metadata import LABEL_FILE

Image = NDArray[np.uint8]


class Detection(NamedTuple):
    """Relative box (xmin, ymin, xmax, ymax), score 0..1."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Runner:
    """A model with the post-process op, its labels packed in or given, on LiteRT with one thread."""

    def __init__(self, path: Path, labels: list[str] | None = None) -> None:
        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input: dict[str, Any] = self.interpreter.get_input_details()[0]
        self.outputs = [detail["index"] for detail in self.interpreter.get_output_details()]
        _, self.height, self.width, _ = self.input["shape"]
        if labels is None:
            with zipfile.ZipFile(path) as archive:
                labels = archive.read(LABEL_FILE).decode().split("\n")[:-1]
        self.labels = labels

    def detect(self, image: Image, min_score: float = 0.0) -> list[Detection]:
        """image: uint8 [H, W, 3], BGR, any size; squashed to the input."""
        rgb = cv2.cvtColor(cv2.resize(image, (int(self.width), int(self.height))), cv2.COLOR_BGR2RGB)
        if self.input["dtype"] == np.float32:
            tensor = (rgb.astype(np.float32) - 127.5) / 127.5
        elif self.input["dtype"] == np.int8:
            tensor = (rgb.astype(np.int16) - 128).astype(np.int8)
        else:
            tensor = rgb
        self.interpreter.set_tensor(self.input["index"], tensor[None])
        self.interpreter.invoke()
        boxes, classes, scores, count = (self.interpreter.get_tensor(index)[0] for index in self.outputs)
        found = []
        for box, number, score in list(zip(boxes, classes, scores, strict=True))[: int(count)]:
            if score >= min_score and int(number) < len(self.labels):
                ymin, xmin, ymax, xmax = np.clip(box, 0, 1).tolist()
                found.append(Detection(self.labels[int(number)], float(score), (xmin, ymin, xmax, ymax)))
        return found


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


def coco_ap(
    labels: tuple[str, ...],
    truths: list[list[tuple[str, tuple[float, ...]]]],
    results: list[list[Detection]],
    ignored: list[list[tuple[str, tuple[float, ...]]]] | None = None,
    judged: list[frozenset[str]] | None = None,
) -> dict[str, tuple[float, float, int]]:
    """label to (AP, AP50, objects) with pycocotools; "all" is the mean of those that occur.

    truths, results: per picture. ignored: per picture, boxes that are no error to find. judged: per
    picture, the labels it is labelled for; others in it are left out altogether.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    side = 1000.0
    report: dict[str, tuple[float, float, int]] = {}
    for label in labels:
        images, annotations, found = [], [], []
        for index, (truth, result) in enumerate(zip(truths, results, strict=True), 1):
            if judged is not None and label not in judged[index - 1]:
                continue
            images.append({"id": index, "width": side, "height": side})
            boxes = [(box, 0) for name, box in truth if name == label]
            boxes += [(box, 1) for name, box in (ignored[index - 1] if ignored else []) if name == label]
            for box, crowd in boxes:
                w, h = (box[2] - box[0]) * side, (box[3] - box[1]) * side
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": 1,
                        "bbox": [box[0] * side, box[1] * side, w, h],
                        "area": w * h,
                        "iscrowd": crowd,
                    }
                )
            for detection in result:
                if detection.label == label:
                    b = detection.box
                    found.append(
                        {
                            "image_id": index,
                            "category_id": 1,
                            "bbox": [b[0] * side, b[1] * side, (b[2] - b[0]) * side, (b[3] - b[1]) * side],
                            "score": detection.score,
                        }
                    )
        objects = sum(not a["iscrowd"] for a in annotations)
        if not objects:
            continue
        if not found:
            report[label] = (0.0, 0.0, objects)
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": label}]}
            coco.createIndex()
            judge = COCOeval(coco, coco.loadRes(found), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        report[label] = (float(judge.stats[0]), float(judge.stats[1]), objects)
    if report:
        mean = np.mean([(ap, ap50) for ap, ap50, _ in report.values()], axis=0)
        report["all"] = (float(mean[0]), float(mean[1]), sum(count for _, _, count in report.values()))
    return report
