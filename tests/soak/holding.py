"""What a process holds: memory, descriptors, threads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_KIB = re.compile(r"^(?:Private_Clean|Private_Dirty|Swap):\s+(\d+) kB", re.MULTILINE)


class Holding(NamedTuple):
    private_bytes: int
    """Of its own, in memory or swapped out: what would be free without it. Shared pages come and go with others."""
    descriptors: int
    threads: int


def holding(pid: int) -> Holding:
    """Raises OSError when there is no such process."""
    proc = Path(f"/proc/{pid}")
    return Holding(
        private_bytes=1024 * sum(int(kib) for kib in _KIB.findall((proc / "smaps_rollup").read_text())),
        descriptors=len(list((proc / "fd").iterdir())),
        threads=len(list((proc / "task").iterdir())),
    )
