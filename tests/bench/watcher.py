"""A process that watches the board as the hub does, and says what it cost: for the row `watching`.

python -m bench.watcher ROOT BUDGET_CELSIUS TICK_S SECONDS NAME=PID...
"""

from __future__ import annotations

import json
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
    root, celsius, tick_s, seconds, *processes = sys.argv[1:]
    pids = {name: int(pid) for name, _, pid in (process.partition("=") for process in processes)}
    before_kib = _own_kib()
    from vigild.board.board import Board
    from vigild.board.budgets import Budgets
    from vigild.board.reader import BoardReader

    reader = BoardReader(Board(Path(root)), Budgets(temperature=float(celsius), memory=2**40))
    reader.read(time.monotonic_ns(), pids)
    ticks = round(float(seconds) / float(tick_s))
    begun, cpu_s = time.monotonic(), time.process_time()
    for tick in range(ticks):
        time.sleep(max(0.0, begun + (tick + 1) * float(tick_s) - time.monotonic()))
        reader.read(time.monotonic_ns(), pids)
    share = (time.process_time() - cpu_s) / (time.monotonic() - begun)
    kib = _own_kib() - before_kib
    # The hub ticks anyway: what waking up costs, with cold caches, is not the cost of watching.
    begun, cpu_s = time.monotonic(), time.process_time()
    for tick in range(max(ticks // 2, 1)):
        time.sleep(max(0.0, begun + (tick + 1) * float(tick_s) - time.monotonic()))
    idle = (time.process_time() - cpu_s) / (time.monotonic() - begun)
    print(json.dumps({"share": max(0.0, share - idle), "kib": kib}))


if __name__ == "__main__":
    main()
