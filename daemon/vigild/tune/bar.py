"""How far a run is: a bar on a terminal; elsewhere a line now and then.

[########----------------]  33 %  41 of 123, about 4 min left; round 1: int8, xnnpack, 2 threads
"""

from __future__ import annotations

import math
import time
from typing import TextIO

from vigild import stdio, terminal
from vigild.tune.race import Progress

BAR_CHARACTERS = 24
LINE_EVERY_S = 10.0
"""Where nothing can be drawn over."""


class Bar:
    """Told of each step before it is begun. That it cannot be seen (a terminal that is gone) stops nothing."""

    def __init__(self, out: TextIO, every_s: float = LINE_EVERY_S) -> None:
        """`every_s`: between two lines, where nothing can be drawn over."""
        self._out = out
        self._every_s = every_s
        self._terminal = out.isatty()
        self._drawn = False
        self._told_s = -math.inf

    def update(self, progress: Progress) -> None:
        text = line(progress)
        if self._terminal:
            width = terminal.columns()
            self._write(f"\r\x1b[K{text[: width - 1]}")
        elif time.monotonic() - self._told_s >= self._every_s:
            self._write(text + "\n")
            self._told_s = time.monotonic()
        self._drawn = True

    def next(self) -> None:
        """Something else begins: the next update is written, however soon it comes."""
        self._told_s = -math.inf

    def end(self) -> None:
        """Take the bar away."""
        if self._terminal and self._drawn:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            stdio.hush(self._out)


def line(progress: Progress) -> str:
    if not progress.left_s:
        return progress.now
    share = progress.done / progress.total
    filled = int(BAR_CHARACTERS * share)
    bar = "#" * filled + "-" * (BAR_CHARACTERS - filled)
    done = f"{progress.done} of {progress.total}"
    return f"[{bar}] {100 * share:3.0f} %  {done}, {left(progress.left_s)} left; {progress.now}"


def left(seconds: float) -> str:
    """ "about 4 min" """
    if seconds < 60:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
