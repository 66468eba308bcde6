"""What was seen on test cards against what is drawn there, and against what plain kernels saw there.

    truth = against_truth(cards)                  # Truth(objects=72, found=72, invented=0, worst_iou=0.87)
    agreement = against_plain(cards, plain)       # Agreement(score=0.012, iou=0.94)

Pure: no I/O, nothing native.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from vigild.geometry import iou
from vigild.ipc.messages import RawDetection
from vigild.selftest.tasks import Card

MIN_SCORE = 0.5
"""The daemon's own default: from here on a detection is reported."""

MIN_IOU = 0.5
"""With the object that a detection is to stand for; COCO's and Pascal VOC's usual one."""

MOST_MISTAKES = 1 / 24
"""Of the objects, missed or invented: those are the model's own. Rounding, which is another on each processor, may put
one object just below MIN_SCORE; what computes wrong loses dozens, or is found out by comparing with plain kernels."""

SCORE_TOLERANCE_INT8 = 0.1
"""Between kernels of an 8-bit graph, which round differently in each of its layers. XNNPACK and LiteRT's own differ by
0.016 on x86-64; a delegate that is wrong a little differs by more than this long before an object is lost."""

SCORE_TOLERANCE_FLOAT = 0.02
"""Between kernels of a float graph; also with arithmetic in float16, which has 11 significant bits."""

LEAST_AGREEING_IOU = 0.75
"""Between the boxes of two kernels. 8-bit ones differ down to an IoU of 0.91 on x86-64."""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """How a model did on cards."""

    objects: int
    found: int
    """With the right label and an IoU of MIN_IOU."""
    invented: int
    """Detections that stand for no object."""
    worst_iou: float
    """Of those found with their objects; 0 where none was."""

    @property
    def right(self) -> bool:
        return self.mistakes <= self.objects * MOST_MISTAKES

    @property
    def mistakes(self) -> int:
        return self.objects - self.found + self.invented


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far two runs of a model lie apart."""

    score: float
    """The largest difference of two scores of an object; of an object that one alone saw, its score."""
    iou: float
    """The smallest of two boxes of an object; 0 where one alone saw one."""

    def within(self, dtype: str) -> bool:
        """Whether different kernels explain it. `dtype`: of the model's input."""
        tolerance = SCORE_TOLERANCE_FLOAT if dtype == "float32" else SCORE_TOLERANCE_INT8
        return self.score <= tolerance and self.iou >= LEAST_AGREEING_IOU


def against_truth(cards: Iterable[Card]) -> Truth:
    """Best score first, each detection takes the object of its label that it covers best."""
    objects = found = invented = 0
    worst = 1.0
    for card in cards:
        left = list(card.drawn)
        objects += len(left)
        for detection in card.seen:
            if detection.score < MIN_SCORE:
                continue
            overlap, best = max(
                ((iou(detection.box, box), at) for at, (label, box) in enumerate(left) if label == detection.label),
                default=(0.0, -1),
            )
            if overlap < MIN_IOU:
                invented += 1
                continue
            del left[best]
            found += 1
            worst = min(worst, overlap)
    return Truth(objects=objects, found=found, invented=invented, worst_iou=worst if found else 0.0)


def against_plain(cards: Sequence[Card], plain: Sequence[Card]) -> Agreement:
    """`cards` and `plain`: the same ones, in the same order. What both report at less than MIN_SCORE does not count."""
    score, overlap = 0.0, 1.0
    for card, reference in zip(cards, plain, strict=True):
        left = list(reference.seen)
        for detection in card.seen:
            other = _other(detection, left)
            if other is not None:
                left.remove(other)
                if max(detection.score, other.score) >= MIN_SCORE:
                    score = max(score, abs(detection.score - other.score))
                    overlap = min(overlap, iou(detection.box, other.box))
            elif detection.score >= MIN_SCORE:
                score, overlap = max(score, detection.score), 0.0
        for detection in left:
            if detection.score >= MIN_SCORE:
                score, overlap = max(score, detection.score), 0.0
    return Agreement(score=score, iou=overlap)


def _other(detection: RawDetection, among: list[RawDetection]) -> RawDetection | None:
    """The one that stands for the same object."""
    same = [one for one in among if one.label == detection.label and iou(one.box, detection.box) >= MIN_IOU]
    return max(same, key=lambda one: iou(one.box, detection.box), default=None)
