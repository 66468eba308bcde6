"""What every source is: something to open, to grab from, and to close.

    source = make_source(config)                   # of `make`
    opened = source.open()
    while source.grab() is Grab.FRAME:
        picture = source.retrieve(buffers)

`grab` fixes the moment of capture and costs little; `retrieve` decodes and may be left out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, Protocol

from vigild import plain
from vigild.camera.frames import Buffers, Picture

Cause = Literal["open", "read", "frozen", "blank", "shape", "exit", "removed"]

POLL_S = 0.25
"""A stream's grab returns this often without a frame, so that its thread can see to other things."""

MAX_BURST_FRAMES = 64
"""Frames taken at a time from a sender that is faster than it should be."""


class SourceFailed(Exception):
    """The source must be opened again; the message is a sentence without credentials."""

    def __init__(self, cause: Cause, reason: str) -> None:
        reason = plain.sentence(reason)
        super().__init__(reason)
        self.cause: Cause = cause
        self.reason = reason


class Grab(enum.Enum):
    """What a grab brought."""

    FRAME = 1
    NOTHING = 2
    """Not yet; try again."""
    END = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known behind a successful open."""

    fps: float
    """Nominal; 0 when the source has none."""
    detail: str
    """For people: backend, format, what was given. No credentials."""

    def __post_init__(self) -> None:
        # It quotes names of files and devices, which are bytes.
        object.__setattr__(self, "detail", plain.sentence(self.detail))


class Source(Protocol):
    """A source of pictures, used by one thread."""

    live: bool
    """Frames come whether or not anyone takes them."""
    paced: bool
    """Frames are there as soon as they are asked for: whoever reads keeps the time."""
    skipped: int
    """Frames that came and went inside `grab` since the source was made: newer ones were there already."""

    def open(self) -> Opened:
        """Raises SourceFailed."""

    def grab(self) -> Grab:
        """Take the next frame (of a live source: the newest). Raises SourceFailed."""

    def retrieve(self, buffers: Buffers) -> Picture:
        """The grabbed frame. Raises BadFrame for one that cannot be decoded, SourceFailed."""

    def skip(self, frames: int) -> int:
        """Pass over some frames, at most `frames`; returns how many, 0 at the end. Takes no longer than a few grabs."""

    def rewind(self) -> None:
        """Start again at the first frame (only sources that end). Raises SourceFailed."""

    def missing(self) -> int:
        """Behind the end: frames that were promised and could not be read."""

    def set_rate(self, fps: float | None) -> Opened | None:
        """`camera.fps` changed. What is known of the source from now on, if its own rate follows while it is open;
        None if that is unchanged, or has to wait for the next opening."""

    def close(self) -> None:
        """Release the device, end children. Never raises."""
