"""What accuracy is judged on: a folder of pictures, or the test card.

    pictures = Pictures.of(folder="", limit=200, wanted=None)
    for picture in pictures: picture.name, picture.pixels, picture.orientation, picture.truth

Imports NumPy and OpenCV, so it is for the process that may die.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

from vigild.camera.frames import BadFrame, Buffers
from vigild.camera.orientation import Orientation, Pixels
from vigild.camera.sources.images import ImagesSource
from vigild.camera.testcard import LABELS, TestCard
from vigild.tune.agreement import Found

CARD_SIZE = (640, 480)
CARD_SEEDS = (1, 2, 3, 4)
CARD_FRAMES = (0, 90, 180, 270, 360, 450)
"""CARDS pictures of 6 shapes each, an eighth of their orbit apart, on four backgrounds."""

CARD_LABELS = frozenset(LABELS)


class Picture(NamedTuple):
    name: str
    """Of the file; of the test card's, "SEED/FRAME"."""
    pixels: Pixels
    """BGR, as stored."""
    orientation: Orientation
    """What makes it upright."""
    truth: list[Found] | None
    """What is in it, where that is known."""


def pictures(folder: str, limit: int, wanted: Set[str] | None = None) -> Iterator[Picture]:
    """Up to `limit` pictures spread evenly over the folder; of the test card when `folder` is empty.

    `wanted`: only files of these names. Files that are no pictures are left out. Raises SourceFailed.
    """
    return _from_folder(folder, limit, wanted) if folder else _test_cards(limit)


def _test_cards(limit: int) -> Iterator[Picture]:
    plan = [(seed, frame) for frame in CARD_FRAMES for seed in CARD_SEEDS][:limit]
    cards = {seed: TestCard(*CARD_SIZE, seed=seed) for seed in CARD_SEEDS}
    for seed, frame in plan:
        image, truths = cards[seed].render(frame)
        truth = [Found(one.label, 1.0, one.box) for one in truths]
        yield Picture(f"{seed}/{frame}", image, Orientation(), truth)


def _from_folder(folder: str, limit: int, wanted: Set[str] | None) -> Iterator[Picture]:
    source = ImagesSource(folder, None)
    source.open()
    chosen = spread(source.names if wanted is None else [name for name in source.names if name in wanted], limit)
    buffers = Buffers(1)
    keep = frozenset(chosen)
    for name in source.names:
        source.grab()
        if name not in keep:
            continue
        try:
            picture = source.retrieve(buffers)
            pixels = picture.decode()
        except BadFrame:
            continue
        yield Picture(picture.file, pixels, picture.orientation, None)


def spread(names: list[str], limit: int) -> list[str]:
    """Up to `limit` of them, evenly spaced."""
    if len(names) <= limit:
        return names
    return [names[index * len(names) // limit] for index in range(limit)]
