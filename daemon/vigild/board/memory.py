"""What the daemon's processes use.

    usage = memory_of({"hub": 100, "detector": 101})
    usage.processes["hub"], usage.total_bytes, usage.source       # 14_680_064, 112_640_000, "pss"

Pss shares the pages of a library between those that map it, so its sum is what would be freed if
the daemon went. Kernels without smaps_rollup (before 4.14) give Rss, which counts them repeatedly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Source = Literal["pss", "rss"]

_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_RSS = re.compile(rb"^VmRSS:\s+(\d+) kB", re.MULTILINE)


class Usage(NamedTuple):
    """Memory of some processes, in bytes."""

    processes: dict[str, int]
    source: Source

    @property
    def total_bytes(self) -> int:
        return sum(self.processes.values())


def memory_of(pids: Mapping[str, int], proc: Path = Path("/proc")) -> Usage:
    """What the processes use that still exist, by their names in `pids`."""
    processes: dict[str, int] = {}
    source: Source = "pss"
    for name, pid in pids.items():
        kib = _field(proc / str(pid) / "smaps_rollup", _PSS)
        if kib is None:
            kib = _field(proc / str(pid) / "status", _RSS)
            if kib is None:
                continue
            source = "rss"
        processes[name] = kib * 1024
    return Usage(processes, source)


def _field(path: Path, pattern: re.Pattern[bytes]) -> int | None:
    try:
        match = pattern.search(path.read_bytes())
    except OSError:
        return None
    return int(match[1]) if match else None
