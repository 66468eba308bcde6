"""When to start a dead worker again.

    restarts = Restarts(random.random)
    delay_s = restarts.died(now_s)        # 0 after work, then doubling with jitter
    restarts.works(now_s)                 # it did something useful: start over

Only deaths that follow one another without work in between back off: a worker that gave a result since
its last start is started again at once, however often that happens. What kills it again and again after
a little work is for the ladder of delegates to notice (`unsettled`).

Pure: time and randomness come from the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FIRST_DELAY_S = 0.25
MAX_DELAY_S = 30.0
WINDOW_S = 60.0
MOST_PER_MINUTE = 5
"""What is still a hiccup; shown beside the count, so that a reader knows whether to worry."""

SETTLED_S = 10.0
"""A worker that worked for this long before it died had settled: what killed it is nothing it does each time."""

HOT_PER_MINUTE = 60
HOT_DELAY_S = 0.5
"""Each start takes a core for half a second: with more deaths than this in a minute, work in between or not, the
board would do nothing else."""


class Restarts:
    """Back-off of one worker."""

    def __init__(self, random: Callable[[], float], max_delay_s: float = MAX_DELAY_S) -> None:
        """`random` gives numbers from 0 to 1."""
        self._random = random
        self._max_delay_s = max_delay_s
        self._deaths: deque[float] = deque(maxlen=1000)
        self.in_a_row = 0
        """Deaths since it last worked."""
        self.unsettled = 0
        """Deaths of its own making since it last worked for SETTLED_S."""
        self._works_since: float | None = None
        self.total = 0

    def died(self, now_s: float, *, outside: bool = False, started: bool = True) -> float:
        """Count a death; returns how long to wait before the next start, in seconds.

        The first restart is immediate. The next ones wait 0.25 s, 0.5 s, ... up to the maximum, each
        shortened by up to a quarter at random, so that several workers that failed together do not come
        back together. `outside`: somebody killed it, which says nothing of what it does. `started`:
        False when there was no process, because none could be started; that is never tried again at once.
        """
        if self._works_since is not None:
            self.in_a_row = 0
            if now_s - self._works_since >= SETTLED_S:
                self.unsettled = 0
        self._works_since = None
        self.in_a_row += 1
        self.unsettled += not outside and started
        self.total += 1
        self._deaths.append(now_s)
        steps = self.in_a_row - 2 + (not started)
        if steps >= 0:
            delay_s = min(FIRST_DELAY_S * 2.0 ** min(steps, 30), self._max_delay_s)
        else:
            delay_s = HOT_DELAY_S if self.in_last_minute(now_s) > HOT_PER_MINUTE else 0.0
        return delay_s * (1.0 - 0.25 * self._random())

    def works(self, now_s: float) -> None:
        """The worker delivered something."""
        if self._works_since is None:
            self._works_since = now_s

    def start_over(self) -> None:
        """What failed is done in another way from now on."""
        self.in_a_row = self.unsettled = 0

    def in_last_minute(self, now_s: float) -> int:
        """Deaths within the last 60 s."""
        return sum(1 for death in self._deaths if now_s - death < WINDOW_S)

    def in_words(self, now_s: float, delay_s: float) -> str:
        """ "restarted, 1 of 5 in the last minute"."""
        again = "restarted" if delay_s == 0 else f"starting again in {delay_s:.1f} s"
        count = self.in_last_minute(now_s)
        return f"{again}, {count}{f' of {MOST_PER_MINUTE}' if count <= MOST_PER_MINUTE else ''} in the last minute"
