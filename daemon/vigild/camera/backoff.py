"""When to try again: exponential back-off with jitter.

    backoff = Backoff(max_s=30.0)
    delay_s = backoff.failed(ran_s=0.0)

It has no clock of its own; the random source can be given.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_S = 0.25
HEALTHY_S = 10.0
"""A source that ran this long before it failed starts again from the shortest wait."""

_JITTER = 0.25
"""Each wait is shortened by up to this share, so that cameras lost together do not come back together."""


class Backoff:
    """Waits between attempts: 0.25 s, doubled each time, never above `max_s`."""

    def __init__(self, max_s: float, rand: Callable[[], float] = random.random) -> None:
        self._max_s = max_s
        self._rand = rand
        self._failures = 0

    def failed(self, ran_s: float) -> float:
        """The wait (s) after a failure; `ran_s`: how long the source had worked before it."""
        if ran_s >= HEALTHY_S:
            self._failures = 0
        # The exponent is bounded only to keep the power finite.
        delay_s = min(self._max_s, FIRST_S * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay_s * (1.0 - _JITTER * self._rand())
