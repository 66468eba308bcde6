"""What waits for one client that reads more slowly than the hub writes. No I/O.

Three kinds of lines, sent in the order they came:

detections  bounded; beyond the bound the oldest goes and is counted: of live results the newest matter
latest      heartbeat per camera, health: a newer one takes the place of the one that waits
firm        answers, errors, events: never dropped; the hub closes the connection instead

`seq` is given when a line comes in and `dropped` is read when it goes out. Since only the oldest are
ever dropped, `dropped` then says exactly how many of the numbers below `seq` the client will not see.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from vigild.wire.policy import detections_line

QUEUE_LINES = 128
"""4 s at 30 frames/s; whoever is further behind wants to know what is there now."""

QUEUE_BYTES = 192 * 1024
"""Below READ_PAUSE_BYTES (clients.py), so that a client with a full queue can still send `unwatch`."""

_HEAD_BYTES = 48
"""What `type`, `seq` and `dropped` add to a tail, about."""


class _Waiting(NamedTuple):
    order: int
    seq: int
    tail: bytes


class Outbox:
    """The lines that wait for one client; `len()` is their number."""

    def __init__(self, queue_lines: int = QUEUE_LINES, queue_bytes: int = QUEUE_BYTES) -> None:
        self._queue_lines = queue_lines
        self._queue_bytes = queue_bytes
        self._order = 0
        self._detections: deque[_Waiting] = deque()
        self._detections_bytes = 0
        self._firm: deque[tuple[int, bytes]] = deque()
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._others_bytes = 0
        self.dropped = 0
        """`detections` lines thrown away so far."""

    def __len__(self) -> int:
        return len(self._detections) + len(self._firm) + len(self._latest)

    @property
    def pending_bytes(self) -> int:
        return self._detections_bytes + self._others_bytes

    def add_detections(self, seq: int, tail: bytes) -> None:
        """Queue a line; beyond the bounds the oldest go (the new one stays in any case)."""
        self._order += 1
        self._detections.append(_Waiting(self._order, seq, tail))
        self._detections_bytes += len(tail) + _HEAD_BYTES
        while len(self._detections) > 1 and (
            len(self._detections) > self._queue_lines or self._detections_bytes > self._queue_bytes
        ):
            oldest = self._detections.popleft()
            self._detections_bytes -= len(oldest.tail) + _HEAD_BYTES
            self.dropped += 1

    def add_firm(self, line: bytes) -> None:
        """Queue a line that is never dropped."""
        self._order += 1
        self._firm.append((self._order, line))
        self._others_bytes += len(line)

    def add_latest(self, key: str, line: bytes) -> None:
        """Queue a line that takes the place of the one with the same key, if that still waits."""
        waiting = self._latest.get(key)
        if waiting is None:
            self._order += 1
            order = self._order
        else:
            # It keeps the old one's turn: one that moved to the back each time would never be sent.
            order = waiting[0]
            self._others_bytes -= len(waiting[1])
        self._latest[key] = (order, line)
        self._others_bytes += len(line)

    def forget_stream(self) -> None:
        """The client no longer watches: what it has not got of the stream is not wanted."""
        self._others_bytes -= sum(len(line) for _order, line in self._latest.values())
        self._detections.clear()
        self._latest.clear()
        self._detections_bytes = 0

    def pop(self) -> tuple[bytes, bool] | None:
        """The next line to send, and whether it is a `detections` line; None when nothing waits."""
        turns = []
        if self._detections:
            turns.append(self._detections[0].order)
        if self._firm:
            turns.append(self._firm[0][0])
        if self._latest:
            key = next(iter(self._latest))  # dicts keep their order, and a replaced value its place
            turns.append(self._latest[key][0])
        if not turns:
            return None
        first = min(turns)
        if self._detections and self._detections[0].order == first:
            waiting = self._detections.popleft()
            self._detections_bytes -= len(waiting.tail) + _HEAD_BYTES
            return detections_line(waiting.tail, waiting.seq, self.dropped), True
        line = self._firm.popleft()[1] if self._firm and self._firm[0][0] == first else self._latest.pop(key)[1]
        self._others_bytes -= len(line)
        return line, False
