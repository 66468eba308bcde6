"""Finished detections (the post-process op's four outputs) to detections in the frame.

    decode = PostProcessDecoder(layout, tensor, unit) # tensor(index) gives a function that views it
    detections, truncated = decode(view, selection)

Boxes are relative to the input, or in its pixels: files do not say which, so the boxes do (see `Unit`).

Rows past the count are left over from earlier frames (the op's fast NMS writes only what it
selected, tflite/kernels/detection_postprocess.cc), so they are never looked at. A model has 10 to
100 rows and few above the threshold: plain Python is faster here than NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vigild.detector.errors import BadOutput, BoxesOutside
from vigild.detector.outputs import PostProcessLayout
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.messages import RawDetection

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


FAR_OUTSIDE = 2.0
"""A relative box reaches a little beyond the picture, never this far; one in pixels is hardly ever smaller."""

_SLACK = 0.5
"""And a box in pixels reaches beyond the input by no more than this share of it."""

_TELLING_SCORE = 0.05
"""Boxes of a lower score may be anything, and tell no unit."""


class Unit:
    """Whether boxes are relative or in pixels of the input, as the first ones that are reported tell.

    width, height: of the input. `warn` is given one sentence, once for each kind of finding.
    """

    def __init__(self, width: int, height: int, warn: Callable[[str], None]) -> None:
        self._size = width, height
        self._warn = warn
        self._told: set[str] = set()
        self._pixels: bool | None = None

    def relative(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
        """xmin, ymin, xmax, ymax as relative ones; None for a box that lies nowhere by either unit."""
        largest = max(map(abs, box))
        if self._pixels is None and largest > 0.0:
            self._decide(box, largest)
        if self._pixels:
            xmin, ymin, xmax, ymax = box
            width, height = self._size
            box = (xmin / width, ymin / height, xmax / width, ymax / height)
            largest = max(map(abs, box))
        if not FAR_OUTSIDE < largest < math.inf:  # what is not finite is `place`'s to drop
            return box
        self._tell(
            "outside",
            "boxes of the model lie far outside of the picture ({:.4g} times its size) and are left out; expected are "
            "relative ones, 0 to 1, or pixels of the input, {}x{}".format(largest, *self._size),
        )
        return None

    def _decide(self, box: tuple[float, float, float, float], largest: float) -> None:
        if largest <= FAR_OUTSIDE:
            self._pixels = False
        elif self._in_pixels(box):
            self._pixels = True
            self._tell(
                "unit",
                "the model's boxes are in pixels, not relative (the first reaches {:.4g}); they are divided by the "
                "input's size, {}x{}".format(largest, *self._size),
            )

    def _in_pixels(self, box: tuple[float, float, float, float]) -> bool:
        low, high = -_SLACK, 1.0 + _SLACK
        return all(low * side <= value <= high * side for value, side in zip(box, self._size * 2, strict=True))

    def _tell(self, kind: str, sentence: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._warn(sentence)


class PostProcessDecoder:
    """One model's; `read(index)` gives a function that reads that output as real values."""

    def __init__(self, layout: PostProcessLayout, read: Callable[[int], Read], unit: Unit) -> None:
        self._unit = unit
        self._boxes = read(layout.boxes)
        self._classes = read(layout.classes)
        self._scores = read(layout.scores)
        self._count = read(layout.count)
        self._rows_per_count = layout.rows_per_count
        self._order = layout.box_order

    def __call__(self, view: View, selection: Selection) -> tuple[list[RawDetection], bool]:
        """(detections best first, whether max_results cut some off). Raises BadOutput."""
        count = self._count()[0]
        if not count > -1.0:
            what = "not a number (NaN)" if math.isnan(count) else f"{count:g}"
            raise BadOutput(f"the model's number of detections is {what}")
        if count <= 0.0:
            return [], False
        scores = self._scores()
        rows = min(int(min(count, len(scores))) * self._rows_per_count, len(scores))
        least = selection.min_score
        picked = [row for row in range(rows) if scores[row] >= least]
        if not picked:
            if rows and all(math.isnan(score) for score in scores[:rows]):
                raise BadOutput("all the model's scores are not a number (NaN)")
            return [], False
        boxes, classes = self._boxes(), self._classes()
        left, top, right, bottom = self._order
        found: list[RawDetection] = []
        outside = 0
        for row in picked:
            score, class_ = scores[row], classes[row]
            if not (math.isfinite(score) and math.isfinite(class_)):
                continue
            number = round(class_)
            label = selection.label(number)
            if label is None or score < selection.least(number):
                continue
            at = 4 * row
            given = (boxes[at + left], boxes[at + top], boxes[at + right], boxes[at + bottom])
            known = self._unit.relative(given) if score >= _TELLING_SCORE else given
            box = place(*known, view) if known is not None else None
            if box is not None:
                found.append(RawDetection(label, number, min(score, 1.0), box))
            outside += known is None
        if outside and not found:
            raise BoxesOutside("all boxes that the model gives lie far outside of the picture")
        found.sort(key=_score, reverse=True)
        return found[: selection.max_results], len(found) > selection.max_results


def _score(detection: RawDetection) -> float:
    return detection.score
