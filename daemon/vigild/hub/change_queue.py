"""Changes, one after the other, with a rest after those that took long.

    changes = ChangeQueue(clock)
    text = await changes.run(lambda: api.swap(request), gone)

What a change costs is mostly not the hub's time: another model or a setting of the detector starts a worker, which
keeps a core busy for as long as it loads. Where several wait, they get half of that time at most; one who waits for
each answer before the next request notices nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vigild.wire.requests import RequestError

T = TypeVar("T")

LONG_S = 0.1
"""From here on a change was more than figures put in other places."""

LONGEST_REST_S = 2.0

MOST_WAITING = 32
"""Beyond it a change is refused: it would wait for a minute, and connections that come and go could pile them up."""


class ChangeQueue:
    """At most one change at a time."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._rests_until_s = 0.0

    async def run(self, change: Callable[[], Awaitable[T]], gone: Callable[[], bool] = lambda: False) -> T:
        """Make the change when its turn has come, unless who asked for it is `gone` by then.

        Raises what it raises, and RequestError "busy".
        """
        if self._waiting >= MOST_WAITING:
            raise RequestError("busy", f"{self._waiting} changes wait for their turn; try again in a few seconds")
        self._waiting += 1
        try:
            return await self._in_turn(change, gone)
        finally:
            self._waiting -= 1

    async def _in_turn(self, change: Callable[[], Awaitable[T]], gone: Callable[[], bool]) -> T:
        had_to_wait = self._lock.locked()
        async with self._lock:
            rest_s = self._rests_until_s - self._clock()
            if rest_s > 0:
                had_to_wait = True
                await self._sleep(rest_s)
            if had_to_wait and gone():
                raise RequestError("busy", "the client has gone before its turn came; nothing was changed")
            began_s = self._clock()
            try:
                return await change()
            finally:
                took_s = self._clock() - began_s
                if took_s > LONG_S and self._waiting > 1:  # this one is still counted
                    self._rests_until_s = self._clock() + min(took_s, LONGEST_REST_S)
