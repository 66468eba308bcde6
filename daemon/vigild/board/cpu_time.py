"""How busy the processor is with our work and with that of others: heat that comes whatever vigild does.

    cpu_time = CpuTime(CpuClocks(Path("/")))
    cpu_time.busy(now_ns, [1234, 1240])        # None the first time, then cores: Busy(own=1.5, foreign=0.25, ...)

All that is busy is counted in ticks of the kernel's clock (proc(5): /proc/stat), 100 a second nearly everywhere: so
a second's figure is good to a hundredth of a core. A process's share is asked of its CPU clock, which
costs no file; /proc/PID/stat is for trees whose /proc is not this machine's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vigild.board.tree import Kept, Trouble, fetch

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


class Counted(NamedTuple):
    """CPU time so far, seconds of all cores together."""

    busy_s: float
    stolen_s: float
    own_s: dict[int, float]
    """By process, of those asked for that there are."""


class CpuClocks:
    """What the kernel counts. Asked twice for one moment it is read once."""

    def __init__(self, root: Path) -> None:
        self._proc = str(root / "proc")
        self._stat = Kept(f"{self._proc}/stat")
        self._here = os.path.realpath(f"{self._proc}/stat") == "/proc/stat"
        self._ticks_s = os.sysconf("SC_CLK_TCK")
        self._at_ns: int | None = None
        self._counted: Counted | None = None

    def count(self, now_ns: int, pids: Iterable[int]) -> Counted | None:
        """None where the kernel does not say. `pids`: the own processes."""
        if now_ns != self._at_ns:
            self._at_ns = now_ns
            self._counted = self._count(pids)
        return self._counted

    def _count(self, pids: Iterable[int]) -> Counted | None:
        found = self._stat.fetch()
        if isinstance(found, Trouble) or not found.startswith(b"cpu "):
            return None
        ticks = found[: found.find(b"\n")].split()[1:]
        try:
            busy = sum([int(ticks[at]) for at in _BUSY])
            stolen = int(ticks[_STOLEN])
        except (ValueError, IndexError):
            return None
        own = {pid: used for pid in pids if (used := self._of_s(pid)) is not None}
        return Counted(busy / self._ticks_s, stolen / self._ticks_s, own)

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


class CpuTime:
    """Remembers what was counted the last time."""

    def __init__(self, clocks: CpuClocks, least_s: float = LEAST_S) -> None:
        """`least_s`: between two looks; asked sooner it gives the same again."""
        self._clocks = clocks
        self._least_ns = least_s * 1e9
        self._at_ns: int | None = None
        self._before: Counted | None = None
        self._found: Busy | None = None

    def busy(self, now_ns: int, pids: Iterable[int]) -> Busy | None:
        """Since the last look; None while that is not known.

        `pids`: the own processes. A tree without /proc (a test's) knows nothing.
        """
        if self._at_ns is not None and now_ns - self._at_ns < self._least_ns:
            return self._found
        now, before = self._clocks.count(now_ns, pids), self._before
        self._before, self._found = now, None
        if now is not None and before is not None and self._at_ns is not None:
            seconds = (now_ns - self._at_ns) / 1e9
            # One that is new began since: all that it used was in this time.
            used_s = sum([max(used - before.own_s.get(pid, 0.0), 0.0) for pid, used in now.own_s.items()])
            self._found = Busy(
                own=used_s / seconds,
                foreign=max(now.busy_s - before.busy_s - used_s, 0.0) / seconds,
                stolen=max(now.stolen_s - before.stolen_s, 0.0) / seconds,
            )
        self._at_ns = None if now is None else now_ns
        return self._found
