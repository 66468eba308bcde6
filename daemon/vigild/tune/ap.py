"""COCO average precision in NumPy: what pycocotools gives for boxes of all sizes, without it.

    result = average_precision(truths, results)
    result.ap, result.ap50

The rules are those of cocoapi's cocoeval.py (iouType "bbox", area "all", maxDets 100): IoU thresholds
0.50:0.05:0.95, precision at 101 recalls, each category by itself, crowds ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
"""For each picture and category."""


class Truth(NamedTuple):
    """The objects of one category in one picture."""

    boxes: Floats
    """[N, 4]: x, y, width, height in pixels."""
    crowd: NDArray[np.bool_]
    """[N]"""


class Detected(NamedTuple):
    """The detections of one category in one picture, in any order."""

    boxes: Floats
    """[M, 4]: x, y, width, height in pixels."""
    scores: Floats
    """[M]"""


class Precision(NamedTuple):
    """Means over the categories that occur, 0..1."""

    ap: float
    ap50: float


def average_precision(truths: dict[int, list[Truth]], results: dict[int, list[Detected]]) -> Precision | None:
    """Category to pictures, the same pictures in the same order in both. None when no category occurs."""
    curves = [curve for category in truths if (curve := _category(truths[category], results[category])) is not None]
    if not curves:
        return None
    stacked = np.stack(curves)
    return Precision(float(stacked.mean()), float(stacked[:, 0].mean()))


def _category(truths: Sequence[Truth], results: Sequence[Detected]) -> Floats | None:
    """Precision [thresholds, recalls] of one category; None when there is no object of it."""
    objects = sum(int((~truth.crowd).sum()) for truth in truths)
    if not objects:
        return None
    scores: list[Floats] = []
    hits: list[NDArray[np.bool_]] = []
    ignored: list[NDArray[np.bool_]] = []
    for truth, result in zip(truths, results, strict=True):
        order = np.argsort(-result.scores, kind="mergesort")[:MAX_DETECTIONS]
        hit, ignore = _match(truth, result.boxes[order])
        scores.append(result.scores[order])
        hits.append(hit)
        ignored.append(ignore)
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    hit, ignore = np.concatenate(hits, axis=1)[:, order], np.concatenate(ignored, axis=1)[:, order]
    right = np.cumsum(hit & ~ignore, axis=1, dtype=np.float64)
    wrong = np.cumsum(~hit & ~ignore, axis=1, dtype=np.float64)
    curve = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for row in range(len(THRESHOLDS)):
        recall = right[row] / objects
        precision = right[row] / (right[row] + wrong[row] + np.spacing(1))
        # At a recall counts the best precision at this or any higher one.
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, RECALLS, side="left")
        reached = at < len(precision)
        curve[row, reached] = precision[at[reached]]
    return curve


def _match(truth: Truth, boxes: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For detections, best first: whether each is matched, and whether it counts at all. [thresholds, M] both."""
    hit = np.zeros((len(THRESHOLDS), len(boxes)), bool)
    ignore = np.zeros_like(hit)
    if not len(truth.boxes) or not len(boxes):
        return hit, ignore
    order = np.argsort(truth.crowd, kind="mergesort")  # crowds last: a real object goes first
    crowd = truth.crowd[order]
    overlaps = _overlaps(boxes, truth.boxes[order], crowd)
    for row, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(crowd), bool)
        for index, overlap in enumerate(overlaps):
            best = min(threshold, 1 - 1e-10)
            match = -1
            for candidate in np.flatnonzero(overlap >= best):
                if taken[candidate] and not crowd[candidate]:
                    continue
                if match >= 0 and not crowd[match] and crowd[candidate]:
                    break
                if overlap[candidate] >= best:
                    best, match = overlap[candidate], int(candidate)
            if match >= 0:
                hit[row, index] = True
                ignore[row, index] = crowd[match]
                taken[match] = True
    return hit, ignore


def _overlaps(boxes: Floats, truth: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """IoU [M, N]; with a crowd the share of the detection that lies in it."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], truth[None, :, :2] + truth[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    area = np.prod(boxes[:, 2:], axis=1)[:, None]
    union = np.where(crowd[None], area, area + np.prod(truth[:, 2:], axis=1)[None] - common)
    return np.asarray(common / np.maximum(union, np.spacing(1)), np.float64)
