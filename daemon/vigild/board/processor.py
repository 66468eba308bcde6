"""How busy the processor is with others' work: heat that comes whatever vigild does.

    processor = Processor(Path("/"))
    processor.busy(now_ns, [1234, 1240])       # None the first time, then e.g. Busy(own=1.5, foreign=0.25), in cores

Counted in ticks of the kernel's clock (proc(5): /proc/stat and /proc/PID/stat), 100 a second nearly everywhere, so that
a second's figure is good to a hundredth of a core.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vigild.board.tree import Trouble, fetch

LEAST_S = 0.5
"""Between two looks: ticks are too coarse for less."""

_BUSY = (0, 1, 2, 5, 6)
"""Of the line "cpu": user, nice, system, irq, softirq. Not idle, not what waits for a disk, and not what a hypervisor
took away. Guests are in user already."""
_UTIME = 11
"""Of /proc/PID/stat, behind the name in brackets (which may hold blanks): utime; stime follows."""


class Busy(NamedTuple):
    """Cores that were kept busy, 0 and more."""

    own: float
    foreign: float
    """By programs other than vigild."""


class Processor:
    """Remembers what was counted the last time."""

    def __init__(self, root: Path) -> None:
        self._proc = f"{root}/proc" if str(root) != "/" else "/proc"
        self._ticks_s = os.sysconf("SC_CLK_TCK")
        self._at_ns: int | None = None
        self._busy = 0
        self._own: dict[int, int] = {}
        self._found: Busy | None = None

    def busy(self, now_ns: int, pids: Iterable[int]) -> Busy | None:
        """Since the last look; None while that is not known.

        `pids`: the own processes. A tree without /proc (a test's) knows nothing.
        """
        if self._at_ns is not None and now_ns - self._at_ns < LEAST_S * 1e9:
            return self._found
        busy = self._all()
        own = {pid: ticks for pid in pids if (ticks := self._of(pid)) is not None}
        if busy is None:
            self._at_ns = self._found = None
            return None
        if self._at_ns is not None:
            seconds = (now_ns - self._at_ns) / 1e9
            # One that is new began since: all that it used was in this time.
            used = sum(max(ticks - self._own.get(pid, 0), 0) for pid, ticks in own.items())
            a_core = self._ticks_s * seconds
            self._found = Busy(used / a_core, max(busy - self._busy - used, 0) / a_core)
        self._at_ns, self._busy, self._own = now_ns, busy, own
        return self._found

    def _all(self) -> int | None:
        found = fetch(f"{self._proc}/stat")
        if isinstance(found, Trouble) or not found.startswith(b"cpu "):
            return None
        ticks = found.split(b"\n", 1)[0].split()[1:]
        try:
            return sum(int(ticks[at]) for at in _BUSY)
        except (ValueError, IndexError):
            return None

    def _of(self, pid: int) -> int | None:
        found = fetch(f"{self._proc}/{pid}/stat")
        if isinstance(found, Trouble):
            return None
        fields = found.rpartition(b")")[2].split()
        try:
            return int(fields[_UTIME]) + int(fields[_UTIME + 1])
        except (ValueError, IndexError):
            return None
