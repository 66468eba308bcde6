"""Which score of each class reports best, and what that costs where there is nothing.

outcomes = on_photos(runner, held_out, labels)             # label to Outcome: every detection, right or wrong
best = outcomes["person"].best()                           # the point with the highest F1
outcomes["person"].at(0.5)
in_video(runner, Path("empty.mp4"), {"person": 0.39})       # reports of what is not there, and in how many hours
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.anchors import box_iou
from forge.errors import ForgeError
from forge.evaluation.evaluate import Detection, Image, Runner
from forge.training.photos import Photo

HIT_IOU = 0.5
"""As PASCAL VOC and AP50 count a detection as right."""
CANDIDATES: NDArray[np.float64] = np.round(np.arange(0.10, 0.901, 0.01), 2)
"""Scores that are tried; int8 scores are steps of 1/256, so finer ones say no more. What the models drop themselves
(below 0.1) is not reported anyway."""
FEWEST_OBJECTS = 15
"""With fewer, one picture more or less moves the best score by a tenth."""
SMOOTHED = 5
"""Candidates that F1 is averaged over before its highest point is taken: single detections make it jagged."""
QUIET_S = 1.0
"""A report begins where the class was not seen for so long before: what a person would call one alarm."""


class Point(NamedTuple):
    """What a threshold gives."""

    score: float
    precision: float
    recall: float
    f1: float


class Outcome:
    """Of one class: the score of each detection and whether it was right, and how many objects there are."""

    def __init__(self) -> None:
        self.objects = 0
        self.pictures = 0
        self._scores: list[float] = []
        self._hits: list[bool] = []

    def add(self, truth: NDArray[np.float32], found: Sequence[Detection]) -> None:
        """One picture's. truth: relative boxes [n, 4]. found: of this class."""
        self.objects += len(truth)
        self.pictures += 1
        free = np.ones(len(truth), bool)
        for detection in sorted(found, key=lambda each: -each.score):
            overlap = box_iou(np.array([detection.box]), truth)[0] * free if len(truth) else np.zeros(0)
            hit = bool(len(overlap) and overlap.max() >= HIT_IOU)
            if hit:
                free[int(overlap.argmax())] = False
            self._scores.append(detection.score)
            self._hits.append(hit)

    def at(self, score: float) -> Point:
        """Precision, recall and F1 where everything from `score` on is reported."""
        above = np.array(self._scores) >= score
        right = int(np.array(self._hits, bool)[above].sum())
        claimed = int(above.sum())
        precision = right / claimed if claimed else 1.0
        recall = right / self.objects if self.objects else 0.0
        return Point(score, precision, recall, 2 * right / max(claimed + self.objects, 1))

    def best(self) -> Point | None:
        """Where F1, smoothed, is highest; None with too few objects to say."""
        if self.objects < FEWEST_OBJECTS:
            return None
        f1 = np.array([self.at(score).f1 for score in CANDIDATES])
        padded = np.pad(f1, SMOOTHED // 2, mode="edge")
        smooth = np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
        return self.at(float(CANDIDATES[int(smooth.argmax())]))


def on_photos(runner: Runner, photos: Iterable[Photo], labels: Sequence[str]) -> dict[str, Outcome]:
    """Each picture counts for the classes that were labelled exhaustively in it."""
    outcomes = {label: Outcome() for label in labels}
    for photo in photos:
        found = runner.detect(photo.image, float(CANDIDATES[0]))
        for label in set(labels) & photo.judged:
            truth = photo.boxes[[name == label for name in photo.classes]]
            outcomes[label].add(truth, [each for each in found if each.label == label])
    return outcomes


class Reports(NamedTuple):
    """Of one class in scenes that do not show it."""

    count: int
    of: float
    """Pictures, or hours."""


def in_pictures(
    runner: Runner, pictures: Iterable[tuple[Image, frozenset[str]]], scores: Mapping[str, float]
) -> dict[str, Reports]:
    """label to how many of the pictures without it report it. pictures: image (BGR), labels that are in it."""
    counts = dict.fromkeys(scores, 0)
    empty = dict.fromkeys(scores, 0)
    for image, there in pictures:
        found = runner.detect(image, min(scores.values()))
        for label, least in scores.items():
            if label not in there:
                empty[label] += 1
                counts[label] += any(each.label == label and each.score >= least for each in found)
    return {label: Reports(counts[label], empty[label]) for label in scores}


def in_video(runner: Runner, file: Path, scores: Mapping[str, float]) -> dict[str, Reports]:
    """label to how often a report of it begins in a video that does not show it, and the video's hours.

    Raises ForgeError when the file cannot be read.
    """
    last_s = dict.fromkeys(scores, -np.inf)
    begun = dict.fromkeys(scores, 0)
    now_s = 0.0
    for now_s, image in _frames(file):
        found = runner.detect(image, min(scores.values()))
        for label, least in scores.items():
            if any(each.label == label and each.score >= least for each in found):
                begun[label] += now_s - last_s[label] > QUIET_S
                last_s[label] = now_s
    return {label: Reports(count, now_s / 3600) for label, count in begun.items()}


def _frames(file: Path) -> Iterator[tuple[float, Image]]:
    """Seconds from the beginning, and the frame."""
    video = cv2.VideoCapture(str(file))
    rate = video.get(cv2.CAP_PROP_FPS)
    if not video.isOpened() or rate <= 0:
        raise ForgeError(f"{file} cannot be read as a video")
    number = 0
    while True:
        read, image = video.read()
        if not read:
            return
        number += 1
        yield number / rate, np.asarray(image, np.uint8)
