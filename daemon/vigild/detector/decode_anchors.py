"""Encoded boxes and class scores to detections in the frame: what the detection op would do.

    decode = AnchorDecoder(boxes, scores, anchors, decoding, activation, background)
    detections, truncated = decode(view, selection)

The threshold comes first, in the scores' own units (quantised scores and logits are compared as
they are), so that only the few candidates are ever converted. Then boxes are decoded and
overlapping ones of the same class suppressed, best first, until max_results are found: work is
bounded by MAX_CANDIDATES and max_results, whatever the picture shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from vigild.catalogue.decoding import Decoding
from vigild.detector.decode_postprocess import place
from vigild.detector.errors import BadOutput
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.messages import RawDetection

MAX_CANDIDATES = 1000
"""Scores above the threshold that are looked at, best first. A street scene has about 40 at 0.3; a
thousand are seen only in noise or with a threshold near 0."""

FIRST_LOOK = 128
"""Candidates looked at first. If they give max_results, the others cannot change the answer."""

MAX_LOG_SIZE = 10.0
"""Encoded heights and widths are cut here: e^10 times the anchor covers any frame, and no exp() overflows."""

Activation = Literal["probabilities", "sigmoid", "softmax"]


class RawOutput(NamedTuple):
    """An output tensor: how to view it, and real = scale * (value - zero_point)."""

    view: Callable[[], Any]
    scale: float
    zero_point: int


class AnchorDecoder:
    """One model's."""

    def __init__(
        self,
        boxes: RawOutput,
        scores: RawOutput,
        anchors: Any,
        decoding: Decoding,
        activation: Activation,
        background: bool,
    ) -> None:
        self._boxes, self._scores = boxes, scores
        self._anchors = anchors
        y, x, h, w = decoding.scales
        self._divisors = np.array([y, x, h, w])
        self._columns = [0, 1, 2, 3] if decoding.box_order == "yxhw" else [1, 0, 3, 2]
        self._iou_threshold = decoding.iou_threshold
        self._activation = activation
        self._first = 1 if background else 0
        self._mask: Any = None
        """Kept between frames: 174 KB that need not be found and zeroed each time."""
        self._bound: Any = None
        """By class: the score to reach."""
        self._bounds_of: Selection | None = None

    def __call__(self, view: View, selection: Selection) -> tuple[list[RawDetection], bool]:
        """(detections best first, whether max_results cut some off). Raises BadOutput."""
        table = self._scores.view()
        anchors, classes, values = self._candidates(table.reshape(-1, table.shape[-1]), selection)
        blind = not len(values) and table.dtype.kind == "f" and bool(np.isnan(table).all())
        del table
        if blind:
            raise BadOutput("all the model's scores are not a number (NaN)")
        if not len(values):
            return [], False
        best_first = np.argsort(-values, kind="stable")
        anchors, classes, values = anchors[best_first], classes[best_first], values[best_first]
        corners, kept = self._best(anchors[:FIRST_LOOK], classes[:FIRST_LOOK], selection.max_results + 1)
        if len(kept) <= selection.max_results and len(values) > FIRST_LOOK:
            corners, kept = self._best(anchors, classes, selection.max_results + 1)
        found: list[RawDetection] = []
        for at in kept:
            label = selection.label(int(classes[at]))
            ymin, xmin, ymax, xmax = corners[at].tolist()
            box = place(xmin, ymin, xmax, ymax, view)
            if label is not None and box is not None:
                found.append(RawDetection(label, int(classes[at]), min(float(values[at]), 1.0), box))
        return found[: selection.max_results], len(found) > selection.max_results

    def _best(self, anchors: Any, classes: Any, most: int) -> tuple[Any, list[int]]:
        """(corners of all, which of them stay) of candidates given best first."""
        corners = self._corners(anchors)
        return corners, suppress(corners, classes, self._iou_threshold, most)

    def _candidates(self, scores: Any, selection: Selection) -> tuple[Any, Any, Any]:
        """(anchor, class, score) of what reaches the threshold, of reported classes."""
        first = self._first
        least = selection.min_score
        if self._activation == "softmax":
            rows, classes, values = self._softmax(scores, least)
        else:
            if self._activation == "sigmoid":
                least = math.log(least / (1.0 - least)) if 0.0 < least < 1.0 else math.copysign(math.inf, least - 0.5)
            hits = self._reaching(scores, least)
            rows, columns = hits // scores.shape[1], hits % scores.shape[1]
            classes = columns - first
            values = self._real(self._scores, scores[rows, columns])
            if self._activation == "sigmoid":
                values = 1.0 / (1.0 + np.exp(-np.clip(values, -80.0, 80.0)))
        # What is not reported of a class has no threshold it could reach. Scores were compared exactly with the least.
        bounds = self._bounds(scores.shape[1] - first, selection)[classes]
        usable = (values > bounds - 1e-9) & np.isfinite(values)
        if not usable.all():
            rows, classes, values = rows[usable], classes[usable], values[usable]
        if len(values) > MAX_CANDIDATES:
            best = np.argpartition(-values, MAX_CANDIDATES)[:MAX_CANDIDATES]
            best.sort()
            rows, classes, values = rows[best], classes[best], values[best]
        return rows, classes, values

    def _reaching(self, scores: Any, least: float) -> Any:
        """Flat indexes of the scores that reach `least` (a real value), the background's left out.

        The comparison is made in the tensor's own type: exact for integers, cheap for all.
        """
        if scores.dtype.kind == "f":
            bound = np.float32(least)
        else:
            limits = np.iinfo(scores.dtype)
            wanted = least / self._scores.scale + self._scores.zero_point
            if wanted > limits.max:
                return _NONE
            bound = scores.dtype.type(max(math.ceil(wanted - 1e-6), limits.min) if wanted > limits.min else limits.min)
        if self._mask is None or self._mask.shape != scores.shape:
            self._mask = np.empty(scores.shape, bool)
        np.greater_equal(scores, bound, out=self._mask)
        self._mask[:, : self._first] = False
        return np.flatnonzero(self._mask)

    def _softmax(self, scores: Any, least: float) -> tuple[Any, Any, Any]:
        """Candidates of logits that go through a softmax per anchor.

        p(class) >= t needs class's logit to be at least log(t / (1 - t)) above any other of its row,
        the first column's for one: that leaves few rows to compute.
        """
        margin = math.log(least / (1.0 - least)) if 0.0 < least < 1.0 else math.copysign(math.inf, least - 0.5)
        real = self._real(self._scores, scores) if scores.dtype.kind != "f" else scores
        first = self._first
        rows = np.flatnonzero((real[:, first:].max(axis=1) - real[:, 0] >= margin) | (not first))
        logits = real[rows].astype(np.float64)
        powers = np.exp(np.clip(logits - logits.max(axis=1, keepdims=True), -80.0, 0.0))
        values = (powers / powers.sum(axis=1, keepdims=True))[:, first:]
        at, classes = np.nonzero(values >= least)
        return rows[at], classes, values[at, classes]

    @staticmethod
    def _real(output: RawOutput, values: Any) -> Any:
        return (values.astype(np.float64) - output.zero_point) * output.scale

    def _bounds(self, classes: int, selection: Selection) -> Any:
        if self._bounds_of is not selection:
            reported = [selection.label(i) is not None for i in range(classes)]
            self._bound = np.array([selection.least(i) if reported[i] else np.inf for i in range(classes)])
            self._bounds_of = selection
        return self._bound

    def _corners(self, anchors: Any) -> Any:
        """Boxes (n, 4) float64: ymin, xmin, ymax, xmax, relative to the input."""
        encoded = self._boxes.view().reshape(-1, 4)[anchors][:, self._columns]
        real = self._real(self._boxes, encoded) / self._divisors
        anchor = self._anchors[anchors]
        center = real[:, :2] * anchor[:, 2:] + anchor[:, :2]
        half = np.exp(np.minimum(real[:, 2:], MAX_LOG_SIZE)) * anchor[:, 2:] / 2
        return np.concatenate([center - half, center + half], axis=1)


_NONE = np.empty(0, np.intp)


def suppress(corners: Any, classes: Any, iou_threshold: float, most: int) -> list[int]:
    """Non-maximum suppression within each class: which of the boxes (best first) stay, at most `most`."""
    # Shifted apart by class, boxes of different classes cannot overlap, and one comparison serves all.
    boxes = np.clip(np.nan_to_num(corners, nan=-8.0), -8.0, 9.0)  # what is not finite becomes empty, or dropped later
    boxes[:, 1::2] += 20.0 * classes[:, None]
    ymin, xmin, ymax, xmax = boxes.T
    area = np.maximum(ymax - ymin, 0.0) * np.maximum(xmax - xmin, 0.0)
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    at = 0
    while len(kept) < most and at < len(boxes):
        at += int(alive[at:].argmax())
        if not alive[at]:
            break
        kept.append(at)
        alive[at] = False
        height = np.minimum(ymax, ymax[at]) - np.maximum(ymin, ymin[at])
        width = np.minimum(xmax, xmax[at]) - np.maximum(xmin, xmin[at])
        shared = np.maximum(height, 0.0) * np.maximum(width, 0.0)
        alive &= shared <= iou_threshold * (area + area[at] - shared)
    return kept
