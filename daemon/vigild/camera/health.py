"""Pictures that say the camera is broken: frozen, or one single colour.

    watch = PictureWatch(frozen_after_s=1.5, blank_after_s=1.5)
    fault = watch.look(fingerprint(pixels), is_blank(pixels), now_s)

Sensors have noise, so a working camera does not give the same picture twice to the last bit. Pure:
no clock.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from vigild.camera.orientation import Pixels

SAMPLE_ROWS, SAMPLE_COLUMNS = 96, 128
"""A sub-sample this fine sees the change of a clock's digit, and costs some 20 µs."""

BLANK_SPREAD = 2
"""Levels by which the pixels of "one colour" may differ: what a lossy codec leaves of a constant."""

_JPEG_STEP = 61
"""Every 61st byte of a JPEG. One changed pixel moves all entropy-coded bits behind it."""


class Fault(NamedTuple):
    """Why the source should be opened again."""

    cause: Literal["frozen", "blank"]
    reason: str


def sample(pixels: Pixels) -> Pixels:
    """A grid of at most about SAMPLE_ROWS x SAMPLE_COLUMNS pixels of the picture, [rows, columns, 3]."""
    height, width = pixels.shape[:2]
    return pixels[:: max(height // SAMPLE_ROWS, 1), :: max(width // SAMPLE_COLUMNS, 1)]


def fingerprint(pixels: Pixels) -> int:
    """Equal for equal pictures."""
    return hash(sample(pixels).tobytes())


def jpeg_fingerprint(data: bytes) -> int:
    """Equal for equal JPEGs."""
    return hash((len(data), data[::_JPEG_STEP]))


def is_blank(pixels: Pixels) -> bool:
    """Whether the picture is one single colour, within BLANK_SPREAD levels in each channel."""
    grid = sample(pixels)
    # The middle row settles it for nearly every picture.
    row = grid[grid.shape[0] // 2]
    if bool((np.ptp(row, axis=0) > BLANK_SPREAD).any()):
        return False
    return bool((np.ptp(grid, axis=(0, 1)) <= BLANK_SPREAD).all())


class PictureWatch:
    """Times how long a picture has been the same, or blank. 0 s turns a check off."""

    def __init__(self, frozen_after_s: float, blank_after_s: float) -> None:
        self._frozen_after_s = frozen_after_s
        self._blank_after_s = blank_after_s
        self._fingerprint: int | None = None
        self._same_since_s = 0.0
        self._blank_since_s: float | None = None

    def look(self, mark: int, blank: bool | None, now_s: float) -> Fault | None:
        """Take in a picture seen at `now_s`. `blank` None: not known this time."""
        if mark != self._fingerprint:
            self._fingerprint = mark
            self._same_since_s = now_s
        if blank is not None:
            if not blank:
                self._blank_since_s = None
            elif self._blank_since_s is None:
                self._blank_since_s = now_s
        if self._blank_after_s and self._blank_since_s is not None:
            blank_s = now_s - self._blank_since_s
            if blank_s >= self._blank_after_s:
                return Fault("blank", f"the picture has been one single colour for {blank_s:.1f} s")
        same_s = now_s - self._same_since_s
        if self._frozen_after_s and same_s >= self._frozen_after_s:
            return Fault("frozen", f"the picture has not changed by a single bit for {same_s:.1f} s")
        return None
