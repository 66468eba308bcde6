"""A process that watches the board as the hub does, and says what that takes of its memory: for the row `watching`.

python -m bench.watcher ROOT READINGS NAME=PID...
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

# What the hub has loaded anyway is not the cost of watching.
import asyncio  # noqa: F401  isort: skip
import subprocess  # noqa: F401  isort: skip
import msgspec  # noqa: F401  isort: skip


def _own_kib() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.MULTILINE))


def main() -> None:
    root, readings, *processes = sys.argv[1:]
    pids = {name: int(pid) for name, _, pid in (process.partition("=") for process in processes)}
    before_kib = _own_kib()
    from vigild.board.board import Board
    from vigild.board.budgets import Budgets
    from vigild.board.reader import BoardReader

    reader = BoardReader(Board(Path(root)), Budgets(temperature=90.0, memory=2**40))
    now_ns = time.monotonic_ns()
    for second in range(int(readings)):
        reader.read(now_ns + second * 10**9, pids)
    print(_own_kib() - before_kib)


if __name__ == "__main__":
    main()
