"""Finished detections (the post-process op's four outputs) to detections in the frame.

    decode = PostProcessDecoder(layout, tensor)       # tensor(index) gives a function that views it
    detections, truncated = decode(view, filter)

Rows past the count are left over from earlier frames (the op's fast NMS writes only what it
selected, tflite/kernels/detection_postprocess.cc), so they are never looked at. A model has 10 to
100 rows and few above the threshold: plain Python is faster here than NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vigild.detector.filter import Filter
from vigild.detector.outputs import PostProcessLayout
from vigild.geometry import View
from vigild.ipc.messages import Detection

Read = Callable[[], list[float]]
"""Real values of an output tensor, flat."""


def place(xmin: float, ymin: float, xmax: float, ymax: float, view: View) -> tuple[float, float, float, float] | None:
    """A box of the input tensor in the frame, clipped to 0..1; None when it is not finite or is empty."""
    xmin, xmax = view.x_scale * xmin + view.x_offset, view.x_scale * xmax + view.x_offset
    ymin, ymax = view.y_scale * ymin + view.y_offset, view.y_scale * ymax + view.y_offset
    if not math.isfinite(xmin + xmax + ymin + ymax):
        return None
    xmin, xmax = max(xmin, 0.0), min(xmax, 1.0)
    ymin, ymax = max(ymin, 0.0), min(ymax, 1.0)
    if xmin >= xmax or ymin >= ymax:
        return None
    return xmin, ymin, xmax, ymax


class PostProcessDecoder:
    """One model's; `read(index)` gives a function that reads that output as real values."""

    def __init__(self, layout: PostProcessLayout, read: Callable[[int], Read]) -> None:
        self._boxes = read(layout.boxes)
        self._classes = read(layout.classes)
        self._scores = read(layout.scores)
        self._count = read(layout.count)
        self._rows_per_count = layout.rows_per_count
        self._order = layout.box_order

    def __call__(self, view: View, filter_: Filter) -> tuple[list[Detection], bool]:
        """(detections best first, whether max_results cut some off)."""
        count = self._count()[0]
        if not count > 0:  # also when it is NaN
            return [], False
        scores = self._scores()
        rows = min(int(min(count, len(scores))) * self._rows_per_count, len(scores))
        least = filter_.min_score
        picked = [row for row in range(rows) if scores[row] >= least]
        if not picked:
            return [], False
        boxes, classes = self._boxes(), self._classes()
        left, top, right, bottom = self._order
        found: list[Detection] = []
        for row in picked:
            score, class_ = scores[row], classes[row]
            if not (math.isfinite(score) and math.isfinite(class_)):
                continue
            number = round(class_)
            label = filter_.label(number)
            if label is None or score < filter_.least(number):
                continue
            at = 4 * row
            box = place(boxes[at + left], boxes[at + top], boxes[at + right], boxes[at + bottom], view)
            if box is not None:
                found.append(Detection(label, number, min(score, 1.0), box))
        found.sort(key=_score, reverse=True)
        return found[: filter_.max_results], len(found) > filter_.max_results


def _score(detection: Detection) -> float:
    return detection.score
