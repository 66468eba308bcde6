"""`vigild`, which counts what its hub spends on watching the board: for the row `watching`.

python -m bench.watched run ...     # as `vigild run ...`; SIGUSR1: count anew; SIGUSR2: write it down

In the hub itself, because what a reading costs depends on what else the process does: one that does nothing but watch
comes to every reading with cold caches, which the hub pays for its frames and clients anyway.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOLD = "VIGILD_BENCH_TOLD"
"""Names the file that it is written down in: CPU seconds of `watching` and `deciding`, and `seconds` gone by."""


class Spent:
    """CPU time of the hub's thread within some functions; what it costs to ask for it is in it, and next to nothing."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self.count_anew()

    def count_anew(self, *_: object) -> None:
        self._spent_ns = dict.fromkeys(self._names, 0)
        self._begun = time.monotonic()

    def write_down(self, *_: object) -> None:
        told = {name: ns / 1e9 for name, ns in self._spent_ns.items()}
        told["seconds"] = time.monotonic() - self._begun
        file = Path(os.environ[TOLD])
        part = file.with_suffix(".part")
        part.write_text(json.dumps(told))
        part.replace(file)

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with its time counted under this name."""

        def call(*arguments: Any, **more: Any) -> Any:
            begun = time.thread_time_ns()
            try:
                return function(*arguments, **more)
            finally:
                self._spent_ns[name] += time.thread_time_ns() - begun

        return call


def count() -> None:
    """Put the clocks in."""
    from vigild.board.reader import BoardReader
    from vigild.hub.budget_keeper import BudgetKeeper

    spent = Spent(["watching", "deciding"])
    BoardReader.read = spent.counted("watching", BoardReader.read)  # type: ignore[method-assign]
    BudgetKeeper.tick = spent.counted("deciding", BudgetKeeper.tick)  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, spent.count_anew)
    signal.signal(signal.SIGUSR2, spent.write_down)


if __name__ == "__main__":
    # The workers are started as modules of their own: they are as always.
    from vigild import lean

    lean.without_openssl()
    lean.import_msgspec()
    count()

    from vigild.cli.main import main

    sys.exit(main())
