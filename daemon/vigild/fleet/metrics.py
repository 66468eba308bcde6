"""Rates and percentiles for `health`. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

WINDOW = 256
"""Samples a percentile is taken over: some 8 s at 30 frames/s."""


def percentile(ordered: list[float], q: float) -> float:
    """The q-quantile (0..1) of a sorted list by the nearest-rank rule; 0 for an empty one."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Samples:
    """The newest WINDOW values of one quantity."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values: deque[float] = deque(values, maxlen=WINDOW)

    @classmethod
    def together(cls, parts: Iterable[Samples]) -> Samples:
        """The samples of several, an equal share of each."""
        parts = [part for part in parts if len(part)]
        share = WINDOW // max(len(parts), 1)
        return cls(value for part in parts for value in list(part._values)[-share:])

    def add(self, value: float) -> None:
        self._values.append(value)

    def percentiles(self) -> tuple[float, float, float]:
        """p50, p95, p99."""
        ordered = sorted(self._values)
        return percentile(ordered, 0.50), percentile(ordered, 0.95), percentile(ordered, 0.99)

    def __len__(self) -> int:
        return len(self._values)


class Rate:
    """Events per second over the last seconds."""

    def __init__(self, window_s: float = 3.0) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque()

    def tick(self, now_s: float) -> None:
        self._times.append(now_s)
        self._trim(now_s)

    def per_second(self, now_s: float) -> float:
        self._trim(now_s)
        if len(self._times) < 2:
            return 0.0
        span_s = now_s - self._times[0]
        return (len(self._times) - 1) / span_s if span_s > 0 else 0.0

    def between(self) -> float | None:
        """Events per second from the first to the last in the window; None if there are not two.

        Unlike `per_second` it does not sink between two events of a slow source.
        """
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) / (self._times[-1] - self._times[0])

    def _trim(self, now_s: float) -> None:
        while self._times and now_s - self._times[0] > self._window_s:
            self._times.popleft()
