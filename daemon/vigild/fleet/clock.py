"""Time as the fleet sees it: given from outside, so that days pass in milliseconds in a test.

clock = LoopClock(asyncio.get_running_loop())
timer = clock.call_later(0.5, start)
timer.cancel()
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Decisions use `now_ns`; `wall_ns` is for people."""

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        ...

    def wall_ns(self) -> int:
        """CLOCK_REALTIME: it may jump."""
        ...

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer: ...


class LoopClock:
    """The machine's clocks and an event loop's timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        return self._loop.call_later(delay_s, call)
