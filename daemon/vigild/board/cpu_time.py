"""How busy the processor is with our work and with that of others: heat that comes whatever vigild does.

    cpu_time = CpuTime(Path("/"))
    cpu_time.busy(now_ns, [1234, 1240])        # None the first time, then cores: Busy(own=1.5, foreign=0.25, ...)

All that is busy is counted in ticks of the kernel's clock (proc(5): /proc/stat), 100 a second nearly everywhere: so
a second's figure is good to a hundredth of a core. A process's share is asked of its CPU clock, which
costs no file; /proc/PID/stat is for trees that are not this machine's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vigild.board.tree import Trouble, fetch

LEAST_S = 0.5
"""Between two looks: a tick more or less is then a fiftieth of a core."""

_BUSY, _STOLEN = (0, 1, 2, 5, 6), 7
"""Of the line "cpu": user, nice, system, irq, softirq; and what a hypervisor took away, which warms other cores than
ours. Not idle, and not what waits for a disk. Guests are in user already."""
_UTIME = 11
"""Of /proc/PID/stat, behind the name in brackets (which may hold blanks): utime; stime follows."""
_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED of linux/posix-timers.h: with ~pid << 3 the clock of all threads of a process, as
clock_getcpuclockid(3) makes it, which Python has no name for."""


class Busy(NamedTuple):
    """Cores that were kept busy, 0 and more."""

    own: float
    foreign: float
    """By programs other than vigild."""
    stolen: float
    """Asked for and not given, by a hypervisor: no heat, but lost time."""


class CpuTime:
    """Remembers what was counted the last time."""

    def __init__(self, root: Path, least_s: float = LEAST_S) -> None:
        """`least_s`: between two looks; asked sooner it gives the same again."""
        self._least_ns = least_s * 1e9
        self._here = str(root) == "/"
        self._proc = "/proc" if self._here else f"{root}/proc"
        self._ticks_s = os.sysconf("SC_CLK_TCK")
        self._at_ns: int | None = None
        self._all = (0.0, 0.0)
        self._own: dict[int, float] = {}
        """Seconds of CPU time so far, by process."""
        self._found: Busy | None = None

    def busy(self, now_ns: int, pids: Iterable[int]) -> Busy | None:
        """Since the last look; None while that is not known.

        `pids`: the own processes. A tree without /proc (a test's) knows nothing.
        """
        if self._at_ns is not None and now_ns - self._at_ns < self._least_ns:
            return self._found
        everyone = self._everyone_s()
        own = {pid: used for pid in pids if (used := self._of_s(pid)) is not None}
        if everyone is None:
            self._at_ns = self._found = None
            return None
        if self._at_ns is not None:
            seconds = (now_ns - self._at_ns) / 1e9
            # One that is new began since: all that it used was in this time.
            used_s = sum(max(used - self._own.get(pid, 0.0), 0.0) for pid, used in own.items())
            busy_s, stolen_s = (now - before for now, before in zip(everyone, self._all, strict=True))
            self._found = Busy(used_s / seconds, max(busy_s - used_s, 0.0) / seconds, max(stolen_s, 0.0) / seconds)
        self._at_ns, self._all, self._own = now_ns, everyone, own
        return self._found

    def _everyone_s(self) -> tuple[float, float] | None:
        """(busy, stolen) of all cores since the start."""
        found = fetch(f"{self._proc}/stat")
        if isinstance(found, Trouble) or not found.startswith(b"cpu "):
            return None
        ticks = found.split(b"\n", 1)[0].split()[1:]
        try:
            return sum(int(ticks[at]) for at in _BUSY) / self._ticks_s, int(ticks[_STOLEN]) / self._ticks_s
        except (ValueError, IndexError):
            return None

    def _of_s(self, pid: int) -> float | None:
        if self._here:
            try:
                return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)
            except (OSError, OverflowError):
                return None
        found = fetch(f"{self._proc}/{pid}/stat")
        if isinstance(found, Trouble):
            return None
        fields = found.rpartition(b")")[2].split()
        try:
            return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / self._ticks_s
        except (ValueError, IndexError):
            return None
