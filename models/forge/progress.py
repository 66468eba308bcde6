"""A line on the terminal that says what is being done and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Progress = Callable[[str, int, int], object]
"""Told what is being done, how many steps of it are done, of how many."""

Item = TypeVar("Item")

_WIDTH = 24
_EVERY_S = 0.1


class ProgressLine:
    """On stderr, rewritten in place; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._due = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` steps of `what`."""
        now = time.monotonic()
        if not self._shown or (now < self._due and done < total):
            return
        self._due = now + _EVERY_S
        filled = _WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (_WIDTH - filled)
        sys.stderr.write(f"\r\033[K[{bar}] {what} {done}/{total}")
        if done >= total:
            sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def counted(what: str, items: Iterable[Item], total: int, progress: Progress) -> Iterator[Item]:
    """The items, one by one, with `progress` told of each that is done with."""
    for number, item in enumerate(items):
        progress(what, number, total)
        yield item
    progress(what, total, total)
