"""What other programs take of the processor just now: soon known, and not for every gust.

    glance = Glance(CpuClocks(Path("/")))
    glance.foreign(now_ns, [1234, 1240])       # None at first, then cores

Looks are a quarter of a second apart (`pace.GLANCE_S`). What is told is the lesser of the last two: a jump is
known within half a second and what is left of the quarter that it falls into, and what was there in one of the two
alone (a program's short work, a worker of ours that ended between two looks, ticks that were counted at the wrong end)
is not. A span of its own, so that whoever wants figures of a second from `CpuTime` is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterable

from vigild.board.cpu_time import CpuClocks, CpuTime

LEAST_S = 0.15
"""Between two looks: 15 ticks of the kernel's clock. The hub's round of 0.1 s makes the quarter 0.2 or 0.3 s."""
MOST_S = 1.0
"""A look so long after the one before says nothing of just now; it begins anew."""


class Glance:
    """Remembers the last two looks."""

    def __init__(self, clocks: CpuClocks) -> None:
        self._cpu_time = CpuTime(clocks, LEAST_S)
        self._at_ns: int | None = None
        self._last: float | None = None
        self._found: float | None = None

    def foreign(self, now_ns: int, pids: Iterable[int]) -> float | None:
        """Cores that programs other than `pids` kept busy in each of the last two spans, at the least."""
        since_s = MOST_S if self._at_ns is None else (now_ns - self._at_ns) / 1e9
        if since_s < LEAST_S:
            return self._found
        busy = self._cpu_time.busy(now_ns, pids)
        before, self._last = self._last, None if busy is None or since_s >= MOST_S else busy.foreign
        self._found = None if before is None or self._last is None else min(before, self._last)
        self._at_ns = now_ns
        return self._found
