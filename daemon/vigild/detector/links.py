"""The cameras of a detector, and whose frame is next.

Frames wait per link: of a live camera only the newest, of a `keep_every` source all. Whose turn it
is follows start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996): a link's frame gets a start
tag, max(virtual time, the link's last finish tag), when the link begins to wait; the smallest tag
is served, and its finish tag is start + 1 / priority. So a link with priority 2 gets twice as many
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


class Link:
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
    """Virtual time, and the choice of the next link."""

    def __init__(self) -> None:
        self.virtual_time = 0.0

    def begin_waiting(self, link: Link) -> None:
        """To be called when a link without frames gets one."""
        link.start_tag = max(self.virtual_time, link.finish_tag)

    def next(self, links: Iterable[Link]) -> Link | None:
        """The link whose frame is served now; None when no frame waits."""
        best: Link | None = None
        for link in links:
            if link.waiting and (best is None or link.start_tag < best.start_tag):
                best = link
        if best is not None:
            self.virtual_time = best.start_tag
            best.finish_tag = best.start_tag + 1.0 / best.priority
            best.start_tag = best.finish_tag  # of the frame behind it, if one waits
        return best


def turn_ns(link: Link, links: Iterable[Link], frame_ns: float, now: int) -> int:
    """How long from the start of this link's frame until the detector wants its next one.

    `frame_ns` is what a frame takes. Each other link gets as many turns in between as its priority
    entitles it to, but no more than it has frames.
    """
    others = [other for other in links if other is not link and other.interval_ns]
    if not others:
        return round(frame_ns)
    cycle = frame_ns * (1 + len(others))
    turns = 0.0
    for other in others:
        interval = max(other.interval_ns, now - other.last_arrival_ns)
        turns += min(other.priority / link.priority, cycle / interval)
    return round(frame_ns * (1.0 + turns))
