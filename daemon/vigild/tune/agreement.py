"""Whether two builds of a network see the same, and whether one sees what is there.

    agreed = compare(mine, reference, MinScores())     # a list of detections for each picture
    agreed.share, agreed.score_error
    tally(truth, mine, MinScores())                    # found, missed, invented

Boxes are relative [xmin, ymin, xmax, ymax].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vigild.geometry import Box, iou
from vigild.minscores import MinScores

MIN_IOU = 0.5
SLACK = 0.1
"""A detection just above the threshold is not missed by one that has it just below."""


class Found(NamedTuple):
    """One detection."""

    label: str
    score: float
    box: Box


class Agreement(NamedTuple):
    share: float | None
    """0..1: of the detections of both that the other has too; None when neither saw anything."""
    score_error: float | None
    """Mean difference of the scores of what both saw; None without any."""


class Tally(NamedTuple):
    found: int
    missed: int
    invented: int


def compare(mine: Sequence[Sequence[Found]], reference: Sequence[Sequence[Found]], scores: MinScores) -> Agreement:
    """Detections of the same pictures in the same order, down to the least score - SLACK."""
    seen = agreed = 0
    errors: list[float] = []
    for these, those in zip(mine, reference, strict=True):
        for from_, to in ((these, those), (those, these)):
            wanted = [one for one in from_ if one.score >= scores.of(one.label)]
            matched = _match(wanted, [one for one in to if one.score >= scores.of(one.label) - SLACK])
            seen += len(wanted)
            agreed += len(matched)
            errors += [abs(one.score - other.score) for one, other in matched]
    return Agreement(agreed / seen if seen else None, sum(errors) / len(errors) if errors else None)


def tally(truth: Sequence[Found], detections: Sequence[Found], scores: MinScores) -> Tally:
    """What of `truth` (scores do not matter) is among the detections, and what is there beside it."""
    claimed = [one for one in detections if one.score >= scores.of(one.label)]
    found = len(_match(claimed, truth))
    return Tally(found, len(truth) - found, len(claimed) - found)


def _match(these: Sequence[Found], those: Sequence[Found]) -> list[tuple[Found, Found]]:
    """Best score first, each of `these` takes the free one of `those` that it overlaps most; same label only."""
    free = list(those)
    matched = []
    for one in sorted(these, key=lambda found: -found.score):
        overlap, at = max(
            ((iou(one.box, other.box), index) for index, other in enumerate(free) if other.label == one.label),
            default=(0.0, -1),
        )
        if overlap >= MIN_IOU:
            matched.append((one, free.pop(at)))
    return matched
