"""The cameras of a detector, and whose frame is next.

Frames wait per feed: of a live camera only the newest, of a `keep_every` source all. Whose turn it
is follows start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996): a feed's frame gets a start
tag, max(virtual time, the feed's last finish tag), when the feed begins to wait; the smallest tag
is served, and its finish tag is start + 1 / priority. So a feed with priority 2 gets twice as many
turns as one with 1, an idle one saves none up, and a stalled one delays nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from vigild.ipc.messages import AttachDetector
from vigild.ipc.ring import FilledSlot, RingReader

ACKNOWLEDGED_TOGETHER = 2
"""Of the four slots of such a ring: the camera still has two to fill meanwhile."""


class Feed:
    """One camera's ring."""

    def __init__(self, attach: AttachDetector, ring: RingReader) -> None:
        self.link = attach.link
        self.camera = attach.camera
        self.keep_every = attach.keep_every
        self.priority = attach.priority
        self.ring = ring
        spec = attach.spec
        self.images: list[Any] = [
            np.frombuffer(ring.slot(i), dtype=spec.dtype).reshape(spec.shape) for i in range(attach.slots)
        ]
        """The slots, as arrays of the input tensor's shape."""
        self.waiting: deque[FilledSlot] = deque()
        self._answered: list[FilledSlot] = []
        self.superseded = 0
        """Frames passed over for a newer one since the last result."""
        self.start_tag = 0.0
        self.finish_tag = 0.0
        self.interval_ns = 0.0
        """Smoothed time between frames; 0 before the second."""
        self.last_arrival_ns = 0

    def note_arrival(self, now: int) -> None:
        if self.last_arrival_ns:
            interval = float(now - self.last_arrival_ns)
            self.interval_ns += (interval - self.interval_ns) / 4 if self.interval_ns else interval
        self.last_arrival_ns = now

    def acknowledge(self, frame: FilledSlot) -> None:
        """Give a `keep_every` frame back now that its result is out. Raises RingClosed.

        While more frames wait, two at a time: the camera is woken half as often. A frame whose
        acknowledgement is lost with this process is sent again, and dropped by its number.
        """
        self._answered.append(frame)
        if not self.waiting or len(self._answered) >= ACKNOWLEDGED_TOGETHER:
            while self._answered:
                self.ring.give_back(self._answered.pop(0))

    def close(self) -> None:
        """Drop frames, views and the mapping."""
        self.waiting.clear()
        self.images.clear()
        self.ring.close()


class Turns:
    """Virtual time, and the choice of the next feed."""

    def __init__(self) -> None:
        self.virtual_time = 0.0

    def begin_waiting(self, feed: Feed) -> None:
        """To be called when a feed without frames gets one."""
        feed.start_tag = max(self.virtual_time, feed.finish_tag)

    def next(self, feeds: Iterable[Feed]) -> Feed | None:
        """The feed whose frame is served now; None when no frame waits."""
        best: Feed | None = None
        for feed in feeds:
            if feed.waiting and (best is None or feed.start_tag < best.start_tag):
                best = feed
        if best is not None:
            self.virtual_time = best.start_tag
            best.finish_tag = best.start_tag + 1.0 / best.priority
            best.start_tag = best.finish_tag  # of the frame behind it, if one waits
        return best


def turn_ns(feed: Feed, feeds: Iterable[Feed], frame_ns: float, now: int) -> int:
    """How long from the start of this feed's frame until the detector wants its next one.

    `frame_ns` is what a frame takes. Each other feed gets as many turns in between as its priority
    entitles it to, but no more than it has frames.
    """
    others = [other for other in feeds if other is not feed and other.interval_ns]
    if not others:
        return round(frame_ns)
    cycle = frame_ns * (1 + len(others))
    turns = 0.0
    for other in others:
        interval = max(other.interval_ns, now - other.last_arrival_ns)
        turns += min(other.priority / feed.priority, cycle / interval)
    return round(frame_ns * (1.0 + turns))
