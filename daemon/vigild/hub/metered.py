"""A coroutine whose own time is measured.

    loop.create_task(Metered(work, clock, lambda seconds: turns.spend(client, seconds)))

What it costs the event loop is told after each step; what it waits for costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any


class Metered(Coroutine[Any, Any, None]):
    """Runs as `work` does; `spent(seconds)` is called after each step of it."""

    def __init__(
        self, work: Coroutine[Any, Any, None], clock: Callable[[], float], spent: Callable[[float], None]
    ) -> None:
        self._work = work
        self._clock = clock
        self._spent = spent

    def send(self, value: Any) -> Any:
        """A step: until it waits for something, or ends."""
        began_s = self._clock()
        try:
            return self._work.send(value)
        finally:
            self._spent(self._clock() - began_s)

    def throw(self, *exception: Any) -> Any:
        """A step that begins with an exception, as when it is cancelled."""
        began_s = self._clock()
        try:
            return self._work.throw(*exception)
        finally:
            self._spent(self._clock() - began_s)

    def close(self) -> None:
        """End it where it is."""
        self._work.close()

    def __await__(self) -> Any:
        return (yield from self._work.__await__())
