"""What a process holds: memory, descriptors, threads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_KIB = re.compile(r"^(?:Anonymous|Swap):\s+(\d+) kB", re.MULTILINE)


class Holding(NamedTuple):
    own_bytes: int
    """Anonymous memory, in place or swapped out: what it has allocated or written to. Pages of files are left out: they
    become its own or cease to be when some other process that maps the same library ends or begins."""
    descriptors: int
    threads: int


def holding(pid: int) -> Holding:
    """Raises OSError when there is no such process."""
    proc = Path(f"/proc/{pid}")
    return Holding(
        own_bytes=1024 * sum(int(kib) for kib in _KIB.findall((proc / "smaps_rollup").read_text())),
        descriptors=len(list((proc / "fd").iterdir())),
        threads=len(list((proc / "task").iterdir())),
    )
