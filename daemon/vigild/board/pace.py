"""How often to look: pure decisions, with the time from outside.

The whole of it is meant to cost less than 0.3 % of one core. A temperature costs some 10 µs, an exact count of one
process's memory 0.3 to 0.7 ms (the kernel walks its page tables), an estimate some 10 µs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

SENSORS_S = 1.0
"""As often as the governor decides."""
GLANCE_S = 0.25
NEAR_CELSIUS = 5.0
"""So close under the budget one glances at what other programs take of the processor between two readings."""

EXACT_S = 10.0
ESTIMATE_S = 1.0
NEAR_SHARE = 0.9
"""From this share of the budget on the memory is counted exactly, and more often."""
EXACT_NEAR_S = 1.0
EXACT_NEAR_EACH_S = 0.35
"""For each process: at 0.7 ms it stays at 0.2 % of a core however many there are."""
HURRIED_S = 0.5
"""Between two exact counts that somebody asks for, however often they ask."""
SETTLING_S = 1.0
"""Sooner after a process came or went: one that has just started is still small."""

Count = Literal["exact", "estimate"]


def is_near(hottest: float | None, budget: float | None) -> bool:
    """Whether a temperature is near its budget, °C."""
    return hottest is not None and budget is not None and hottest >= budget - NEAR_CELSIUS


class MemoryPace:
    """Whether memory is to be counted now, and how."""

    def __init__(self) -> None:
        self._pids: frozenset[int] = frozenset()
        self._exact_ns: int | None = None
        self._counted_ns = 0
        self._settled = True
        self._share = 0.0
        self._hurried = False

    def hurry(self) -> None:
        """Memory is said to be short: count exactly, as soon as that costs little enough."""
        self._hurried = True

    def due(self, now_ns: int, pids: Collection[int]) -> Count | None:
        """What to do now, for these processes; None: nothing. To be followed by `counted`."""
        if now_ns >= self._exact_due_ns() or frozenset(pids) != self._pids:
            return "exact"
        return "estimate" if now_ns >= self._estimate_due_ns() else None

    def due_ns(self) -> int:
        """When there is something to do, as long as the processes are the same."""
        return min(self._exact_due_ns(), self._estimate_due_ns())

    def _exact_due_ns(self) -> int:
        if self._exact_ns is None:
            return 0
        every_s = self._exact_every_s()
        return self._exact_ns + round((min(every_s, HURRIED_S) if self._hurried else every_s) * 1e9)

    def _estimate_due_ns(self) -> int:
        return self._counted_ns + round(ESTIMATE_S * 1e9)

    def counted(self, now_ns: int, how: Count, pids: Collection[int], used: int, budget: int | None) -> None:
        """It was done; `used` of `budget` bytes came out."""
        self._counted_ns = now_ns
        self._share = used / budget if budget else 0.0
        if how == "exact":
            self._settled = frozenset(pids) == self._pids
            self._pids = frozenset(pids)
            self._exact_ns = now_ns
            self._hurried = False

    def _exact_every_s(self) -> float:
        if not self._settled:
            return SETTLING_S
        if self._share >= NEAR_SHARE:
            return max(EXACT_NEAR_S, EXACT_NEAR_EACH_S * len(self._pids))
        return EXACT_S
