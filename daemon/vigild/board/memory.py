"""What the daemon uses of the memory, and how short memory is.

    usage = Processes(Path("/proc")).exact({"hub": 100, "detector": 101})     # once
    usage.processes["hub"], usage.total_bytes, usage.source       # 14_680_064, 112_640_000, "pss"

    memory = MemoryReader(Board(Path("/")))                              # again and again
    memory.read(now_ns, {"hub": 100, "detector": 101}, budget)    # Memory(used_bytes=..., words="...", ...)

Pss shares the pages of a library between those that map it, so its sum is what would be freed if
the daemon went. Kernels without smaps_rollup (before 4.14) give Rss, which counts them repeatedly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from vigild.board.board import Board
from vigild.board.cgroup import Group
from vigild.board.pace import MemoryPace
from vigild.board.pressure import Stall, read_pressure
from vigild.board.readings import Memory, MemorySource, PressureSource
from vigild.board.tree import Kept, Trouble, fetch

Source = Literal["pss", "rss"]

_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_SWAP_PSS = re.compile(rb"^SwapPss:\s+(\d+) kB", re.MULTILINE)
_AVAILABLE = re.compile(rb"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
_RSS = re.compile(rb"^VmRSS:\s+(\d+) kB", re.MULTILINE)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Memory of some processes, in bytes."""

    processes: dict[str, int]
    source: Source

    @property
    def total_bytes(self) -> int:
        return sum(self.processes.values())


class _Counted(NamedTuple):
    """An exact count of a process, and what it had of its own then."""

    total: int
    private: int


class Processes:
    """Memory of processes: counted exactly, and in between moved on by what is cheap to read.

    An exact count walks all page tables of a process. `statm` costs nothing, but tells resident and shared pages
    only. What a process grows by are pages of its own (a leak, a buffer), so the last exact count plus the growth of
    resident less shared is right but for what it newly shares: 40 MiB more of the heap come out as 40 MiB, where
    multiplying by the last ratio of the two counts would make 70 of it in a process with many libraries.
    """

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._last: dict[int, _Counted] = {}
        self._statm: dict[int, Kept] = {}
        self._source: Source = "pss"
        self.swap_bytes = 0
        """As of the last exact count."""

    def exact(self, pids: Mapping[str, int]) -> Usage:
        """Those that still exist, by their names."""
        processes: dict[str, int] = {}
        last: dict[int, _Counted] = {}
        self._source, self.swap_bytes = "pss", 0
        for name, pid in pids.items():
            content = fetch(f"{self._proc}/{pid}/smaps_rollup")
            kib = _field(content, _PSS)
            if kib is None:
                kib = _field(fetch(f"{self._proc}/{pid}/status"), _RSS)
                if kib is None:
                    continue
                self._source = "rss"
            self.swap_bytes += (_field(content, _SWAP_PSS) or 0) * 1024
            processes[name] = kib * 1024
            last[pid] = _Counted(kib * 1024, self._private(pid) or 0)
        self._last = last
        self._statm = {pid: kept for pid, kept in self._statm.items() if pid in last}
        return Usage(processes, self._source)

    def estimate(self, pids: Mapping[str, int]) -> Usage:
        """The same without walking page tables."""
        processes: dict[str, int] = {}
        for name, pid in pids.items():
            private = self._private(pid)
            if private is None:
                continue
            before = self._last.get(pid)
            processes[name] = private if before is None else max(0, before.total + private - before.private)
        return Usage(processes, self._source)

    def _private(self, pid: int) -> int | None:
        """Resident pages that are not shared with anything, in bytes; None: it has ended."""
        kept = self._statm.get(pid)
        if kept is None:
            kept = self._statm[pid] = Kept(f"{self._proc}/{pid}/statm")
        content = kept.fetch()
        if isinstance(content, Trouble):
            return None
        try:
            _, resident, shared = map(int, content.split()[:3])
        except ValueError:
            return None
        return max(0, resident - shared) * _PAGE


class MemoryReader:
    """Reads all there is of memory, each at its pace, and says where it is from."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # A tree of sensors alone has no processes: ours are where they always are.
        self._proc = board.root / "proc" if (board.root / "proc").is_dir() else Path("/proc")
        self._processes = Processes(self._proc)
        self._meminfo = Kept(f"{board.root}/proc/meminfo")
        self._board_pressure = Kept(f"{board.root}/proc/pressure/memory")
        self._pace = MemoryPace()
        self._group: Group | None = None
        self._own = False
        """The group holds the daemon and nothing else, so that what is charged to it is the daemon's."""
        self._visited = False
        """At the last exact count somebody else was in it, and before that nobody: systemd runs ExecReload= in it."""
        self._beyond = 0
        """What is charged to it less what its processes hold: page tables, sockets, files in memory."""
        self._total = board.memory_bytes
        self._memory = Memory()
        self._woken = False

    def wake(self) -> None:
        """systemd's watch says that memory is short: the next count is made soon, and says so."""
        self._woken = True
        self._pace.hurry()

    @property
    def due_ns(self) -> int:
        """When something is to be counted again, as long as the processes are the same."""
        return self._pace.due_ns()

    def read(self, now_ns: int, pids: Mapping[str, int], budget: int | None) -> Memory:
        """`pids`: the hub and its workers, by name. `budget`: in bytes; near it, it is looked at more often."""
        how = self._pace.due(now_ns, pids.values())
        if how is None:
            return self._memory
        if how == "exact" or self._visited:
            self._find_group(pids, lasting=how == "exact")
        usage = self._processes.exact(pids) if how == "exact" else self._processes.estimate(pids)
        self._memory = self._put_together(usage, pids, estimated=how == "estimate")
        self._pace.counted(now_ns, how, pids.values(), self._memory.used_bytes, budget)
        return self._memory

    def _find_group(self, pids: Mapping[str, int], lasting: bool) -> None:
        """`lasting`: whoever is in it for the second time stays. Else another source for a few seconds would make the
        daemon look smaller and then larger, and lose its counters."""
        before, self._group = self._group, self._board.group()
        if self._group is None:
            self._own = self._visited = False
        elif self._group.holds_only(set(pids.values()), self._proc):
            self._own, self._visited = True, False
        elif lasting:
            self._visited = self._own and not self._visited and before is not None and before.path == self._group.path
            self._own = self._visited

    def _charged(self, usage: Usage) -> int | None:
        if self._group is None or not self._own:
            return None
        if self._visited:
            return usage.total_bytes + self._beyond
        charged = self._group.used()
        if charged is not None:
            self._beyond = charged - usage.total_bytes
        return charged

    def _put_together(self, usage: Usage, pids: Mapping[str, int], estimated: bool) -> Memory:
        group = self._group
        charged = self._charged(usage)
        swapped = group.swap if group is not None and self._own else None
        stall, stall_source = self._pressure()
        woken, self._woken = self._woken, False
        available = _field(self._meminfo.fetch(), _AVAILABLE)
        limit = group.limit() if group is not None else None
        source: MemorySource = usage.source if charged is None else "cgroup"
        return Memory(
            used_bytes=usage.total_bytes if charged is None else charged,
            source=source,
            estimated=(estimated and charged is None) or self._visited,
            processes=usage.processes,
            pids={name: pids[name] for name in usage.processes},
            swap_bytes=self._processes.swap_bytes if swapped is None else swapped,
            limit_bytes=limit,
            available_bytes=None if available is None else available * 1024,
            total_bytes=self._total,
            pressure_percent=stall.percent if stall else None,
            pressure_stall_us=stall.total_us if stall else None,
            pressure_source=stall_source,
            woken=woken,
            events=group.events() if group is not None and self._own else None,
            words=words(source, group if self._own else None, stall_source, available is not None),
        )

    def _pressure(self) -> tuple[Stall | None, PressureSource]:
        if self._group is not None and self._own:
            stall = read_pressure(self._group.kept("memory.pressure"))
            if stall is not None:
                return stall, "cgroup"
        stall = read_pressure(self._board_pressure)
        return (stall, "psi") if stall is not None else (None, "none")


_USED = {
    "pss": "Pss of the hub and its workers",
    "rss": "Rss of the hub and its workers (their Pss cannot be read: shared pages count several times)",
}
_PRESSURE = {
    "cgroup": "its memory.pressure",
    "psi": "the board's PSI",
}


def words(source: MemorySource, group: Group | None, pressure: PressureSource, available: bool) -> str:
    """The sources in use, for people."""
    parts = [f"the control group {group.shown}" if source == "cgroup" and group else _USED.get(source, source)]
    if pressure != "none":
        parts.append(_PRESSURE[pressure])
    if available:
        parts.append("MemAvailable")
    lacking = [
        what
        for what, missing in (
            ("no memory control group of its own", source != "cgroup"),
            ("no PSI", pressure == "none"),
        )
        if missing
    ]
    told = ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"{told}; there is {' and '.join(lacking)}" if lacking else told


def _field(content: bytes | Trouble, pattern: re.Pattern[bytes]) -> int | None:
    match = None if isinstance(content, Trouble) else pattern.search(content)
    return int(match[1]) if match else None
