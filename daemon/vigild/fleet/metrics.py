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


STAGES = ("decode", "convert", "wait", "copy", "invoke", "post", "total")
"""What a frame goes through; `total` is from its capture to the hub."""

FrameTimes = tuple[int, int, int, int, int, int, int]
"""Of one frame, nanoseconds, in the order of STAGES."""


class StageTimes:
    """The times of the newest WINDOW frames. To add some costs next to nothing; what it comes to is worked out when
    it is asked for."""

    def __init__(self, frames: Iterable[FrameTimes] = ()) -> None:
        self._frames: deque[FrameTimes] = deque(frames, maxlen=WINDOW)
        self.add = self._frames.append
        """Takes in the times of one more frame."""

    @classmethod
    def together(cls, parts: Iterable[StageTimes]) -> StageTimes:
        """The frames of several, an equal share of each."""
        parts = [part for part in parts if part._frames]
        share = WINDOW // max(len(parts), 1)
        return cls(frame for part in parts for frame in list(part._frames)[-share:])

    def percentiles(self) -> dict[str, tuple[float, float, float]]:
        """p50, p95 and p99 in ms, by stage; empty before the first frame."""
        found = {}
        for stage, column in zip(STAGES, zip(*self._frames, strict=True), strict=False):
            ordered = sorted(ns / 1e6 for ns in column)
            found[stage] = percentile(ordered, 0.50), percentile(ordered, 0.95), percentile(ordered, 0.99)
        return found


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
