"""A variant against the float32 network it was made of: AP, errors of scores and boxes, agreement of detections.

    reference = Reference(Subject(float32), pictures, network)
    reference.measure(Subject(int8))

AP says what is lost on the whole, but is coarse on few pictures; the errors and the agreement compare
the same anchors and the same objects, and show far smaller losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.anchors import box_iou
from forge.errors import ForgeError
from forge.evaluation.coco import Annotated
from forge.evaluation.evaluate import Detection, coco_ap
from forge.evaluation.subject import Look, Subject
from forge.model.network import Network
from forge.progress import Progress

SURE = 0.3
"""Anchors that float32 gives at least this score are compared; most of the others say nothing anywhere."""
SHOWN = 0.5
"""The daemon's default threshold: what people see."""
STILL_SEEN = 0.4
"""What one variant shows counts as seen by another down to this score, or all near 0.5 would be differences."""
SAME_IOU = 0.5


class Measures(NamedTuple):
    """Of one variant. ap, ap50: 0..1, None without annotations."""

    ap: float | None
    ap50: float | None
    score_error: float
    """Mean difference of the best class's score, on anchors where float32 gives 0.3 or more."""
    box_error: float
    """Mean of 1 - IoU between the boxes of both, on the same anchors."""
    agreement: float
    """Of the objects that either shows (score 0.5), the share that the other sees too (0.4, same label, IoU 0.5)."""


class _Sure(NamedTuple):
    """The anchors of one picture that float32 is sure of."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]


class Picture(NamedTuple):
    """One to look at, with its objects if they are known."""

    path: Path
    objects: Annotated | None = None


class Reference:
    """What float32 sees in the pictures, once, and what others see compared with it."""

    def __init__(
        self, subject: Subject, pictures: list[Picture], network: Network, progress: Progress = lambda *_: None
    ) -> None:
        self._pictures = pictures
        self._network = network
        self.labels = subject.labels
        self._sure: list[_Sure] = []
        self._detections: list[list[Detection]] = []
        for look in self._looks(subject, progress):
            best = look.scores.max(axis=1, initial=0.0)
            rows = np.flatnonzero(best >= SURE)
            self._sure.append(_Sure(rows, look.scores[rows].argmax(axis=1), best[rows], self._corners(look, rows)))
            self._detections.append(look.detections)
        ap, ap50 = self._ap(self._detections)
        self.measures = Measures(ap, ap50, 0.0, 0.0, 1.0)

    def measure(self, subject: Subject, progress: Progress = lambda *_: None) -> Measures:
        """Run the variant over the same pictures. Raises ForgeError for another network's."""
        if subject.labels != self.labels:
            raise ForgeError(f"{subject.path} has other labels than the float32 network it is compared with")
        score_errors: list[NDArray[np.float32]] = []
        box_errors: list[NDArray[np.float32]] = []
        detections = []
        for look, sure in zip(self._looks(subject, progress), self._sure, strict=True):
            score_errors.append(np.abs(look.scores[sure.rows, sure.columns] - sure.scores))
            overlap = np.diag(box_iou(self._corners(look, sure.rows), sure.boxes))
            box_errors.append(1.0 - overlap)
            detections.append(look.detections)
        ap, ap50 = self._ap(detections)
        return Measures(ap, ap50, _mean(score_errors), _mean(box_errors), agreement(self._detections, detections))

    def _looks(self, subject: Subject, progress: Progress) -> Iterator[Look]:
        for number, picture in enumerate(self._pictures):
            progress(subject.path.name, number, len(self._pictures))
            image = cv2.imread(str(picture.path))
            if image is None:
                raise ForgeError(f"{picture.path} cannot be read as a picture")
            yield subject.look(image)
        progress(subject.path.name, len(self._pictures), len(self._pictures))

    def _corners(self, look: Look, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Boxes of these anchors, float32 [n, 4]: ymin, xmin, ymax, xmax."""
        codes = look.codes[rows] / np.asarray(self._network.postprocess.scales, np.float32)
        anchors = self._network.anchors[rows]
        middle = codes[:, :2] * anchors[:, 2:] + anchors[:, :2]
        half = np.exp(np.minimum(codes[:, 2:], 10.0)) * anchors[:, 2:] / 2
        return np.concatenate([middle - half, middle + half], axis=1)

    def _ap(self, detections: list[list[Detection]]) -> tuple[float | None, float | None]:
        known = [(p.objects, found) for p, found in zip(self._pictures, detections, strict=True) if p.objects]
        if not known:
            return None, None
        report = coco_ap(
            tuple(sorted(set(self.labels))),
            [list(objects.truth) for objects, _ in known],
            [found for _, found in known],
            [list(objects.ignored) for objects, _ in known],
        )
        ap, ap50, _ = report.get("all", (0.0, 0.0, 0))
        return ap, ap50


def _mean(parts: list[NDArray[np.float32]]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return float(values.mean()) if len(values) else 0.0


def agreement(ours: list[list[Detection]], theirs: list[list[Detection]]) -> float:
    """Of the objects that either side shows, the share that the other sees too; 1.0 when none are shown."""
    shown = seen = 0
    for a, b in zip(ours, theirs, strict=True):
        for mine, others in ((a, b), (b, a)):
            confident = [d for d in mine if d.score >= SHOWN]
            shown += len(confident)
            seen += _matched(confident, [d for d in others if d.score >= STILL_SEEN])
    return seen / shown if shown else 1.0


def _matched(wanted: list[Detection], candidates: list[Detection]) -> int:
    """How many have a candidate of the same label and place, each candidate used once."""
    free = list(candidates)
    count = 0
    for detection in wanted:
        same = [d for d in free if d.label == detection.label]
        if not same:
            continue
        overlaps = box_iou(np.array([detection.box]), np.array([d.box for d in same]))[0]
        if overlaps.max() >= SAME_IOU:
            free.remove(same[int(overlaps.argmax())])
            count += 1
    return count
