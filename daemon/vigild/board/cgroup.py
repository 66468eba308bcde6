"""The daemon's own control group (v2): what the kernel counts for it, and where it slows it down or kills.

    group = own_group(Path("/"))          # None: there is none, or without the memory controller
    group.current, group.limit(), group.events()
    group.holds_only(pids, Path("/proc")) # a service's does, a login session's does not

Source: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from vigild import plain
from vigild.board.readings import MemoryEvents
from vigild.board.tree import File, Folder, Trouble, fetch, number_or_max

# Of the unified hierarchy, and of one beside v1.
_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")

_INACTIVE_FILE = re.compile(r"^inactive_file (\d+)$", re.MULTILINE)


def _inactive_file(text: str) -> int:
    match = _INACTIVE_FILE.search(text)
    if match is None:
        raise ValueError(text)
    return int(match[1])


def _pairs(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def _numbers(text: str) -> list[int]:
    return [int(line) for line in text.split()]


class Group(Folder):
    """A control group with the memory controller. Sizes in bytes."""

    current = File("memory.current", int, kept=True)
    swap = File("memory.swap.current", int, kept=True)
    high = File("memory.high", number_or_max)
    max = File("memory.max", number_or_max)
    inactive_file = File("memory.stat", _inactive_file, kept=True)
    counters = File("memory.events", _pairs, kept=True)
    processes = File("cgroup.procs", _numbers)

    def __init__(self, path: str, mount: str, shown: str) -> None:
        super().__init__(path)
        self._mount = mount
        self.shown = shown
        """As /proc/self/cgroup calls it: "/system.slice/vigild.service"."""

    def used(self) -> int | None:
        """What is charged to it, less the file cache that the kernel takes back at once (what Kubernetes calls the
        working set): a clip that was read must not look like a leak."""
        current, inactive = self.current, self.inactive_file
        return None if current is None else current - min(current, inactive or 0)

    def limit(self) -> int | None:
        """The lowest of all memory.high and memory.max that hold for it, its own and those of the groups above."""
        found = [
            value
            for path in self._upwards()
            for name in ("memory.high", "memory.max")
            if isinstance(value := File(name, number_or_max).read(Folder(path)), int)
        ]
        return min(found, default=None)

    def kind_of_limit(self) -> str:
        """Which it is, "memory.high" or "memory.max"; empty without a limit."""
        limit = self.limit()
        for path in self._upwards():
            for name in ("memory.high", "memory.max"):
                if limit is not None and File(name, number_or_max).read(Folder(path)) == limit:
                    return name
        return ""

    def events(self) -> MemoryEvents | None:
        counters = self.counters
        if counters is None:
            return None
        return MemoryEvents(
            high=counters.get("high", 0), max=counters.get("max", 0), oom_kill=counters.get("oom_kill", 0)
        )

    def holds_only(self, pids: Collection[int], proc: Path) -> bool:
        """Whether all processes in it are these or have one of them above; False too where that cannot be read."""
        processes = self.processes
        if not processes:
            return False
        return all(_descends(pid, pids, proc) for pid in processes)

    def _upwards(self) -> Iterator[str]:
        path = self.path
        while path.startswith(self._mount) and path != self._mount:
            yield path
            path = path.rpartition("/")[0]
        yield self._mount  # inside a container its own limit stands here


def own_group(root: Path, pid: int | None = None) -> Group | None:
    """The group of a process, this one if no other is said; None: without the memory controller."""
    found = fetch(str(root / f"proc/{pid or 'self'}/cgroup"))
    if isinstance(found, Trouble):
        return None
    for line in os.fsdecode(found).split("\n"):  # a path, which is bytes
        if line.startswith("0::/"):
            path = line[3:]
            for mount in _MOUNTS:
                top = str(root / mount)
                group = Group(top + path.rstrip("/"), top, plain.name(path))
                if group.current is not None:
                    return group
    return None


def _descends(pid: int, pids: Collection[int], proc: Path) -> bool:
    """Whether it is one of `pids`, or was started by one of them, or by one that was. One that has ended is: it
    holds nothing any more."""
    for _ in range(64):
        if pid in pids:
            return True
        stat = fetch(str(proc / str(pid) / "stat"))
        if isinstance(stat, Trouble):
            return stat is Trouble.GONE
        try:
            pid = int(stat.rpartition(b")")[2].split()[1])
        except (ValueError, IndexError):
            return False
        if pid <= 1:
            return pid in pids
    return False
