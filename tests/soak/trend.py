"""A slope and its interval, from samples that follow one another. Pure.

slope = trend([(0.0, 10.0), (1.0, 10.5), ...])
slope.per_unit, slope.low, slope.high
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

NORMAL_975 = 1.959964
"""97.5 % quantile of the standard normal distribution; samples are many."""


class Slope(NamedTuple):
    per_unit: float
    low: float
    high: float
    """Ends of its 95 % interval."""


def trend(samples: Sequence[tuple[float, float]]) -> Slope:
    """Least squares over (x, y). What memory is now depends on what it was a moment ago, so the interval is Newey and
    West's (Econometrica 55, 1987), with their rule of thumb for the lags; without it, it would be far too narrow.

    Raises ValueError for fewer than 3 samples, or if all x are the same.
    """
    count = len(samples)
    if count < 3:
        raise ValueError(f"a slope needs 3 samples, and there are {count}")
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    if spread == 0:
        raise ValueError("a slope needs samples at different places")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    scores = [(x - mean_x) * (y - mean_y - slope * (x - mean_x)) for x, y in samples]
    lags = min(count - 1, math.floor(4 * (count / 100) ** (2 / 9)))
    variance = sum(score * score for score in scores)
    for lag in range(1, lags + 1):
        weight = 1 - lag / (lags + 1)
        variance += 2 * weight * sum(a * b for a, b in zip(scores[lag:], scores[:-lag], strict=True))
    margin = NORMAL_975 * math.sqrt(max(0.0, variance)) / spread
    return Slope(slope, slope - margin, slope + margin)
