"""Changes, one after the other, with a rest after those that took long.

    lane = Lane(clock)
    text = await lane.run(lambda: api.swap(request))

What a change costs is mostly not the hub's time: another model or a setting of the detector starts a worker, which
keeps a core busy for as long as it loads. Clients that ask for one after the other get half of that time at most; the
one who asks now and then notices nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LONG_S = 0.1
"""From here on a change was more than figures put in other places."""

LONGEST_REST_S = 2.0


class Lane:
    """At most one change at a time."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._rests_until_s = 0.0

    async def run(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make the change when its turn has come. Raises what it raises."""
        async with self._lock:
            rest_s = self._rests_until_s - self._clock()
            if rest_s > 0:
                await self._sleep(rest_s)
            began_s = self._clock()
            try:
                return await change()
            finally:
                took_s = self._clock() - began_s
                if took_s > LONG_S:
                    self._rests_until_s = self._clock() + min(took_s, LONGEST_REST_S)
