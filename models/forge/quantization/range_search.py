"""From the values that an activation took to the range that int8 shall hold, by name of the method.

low, high = METHODS["mse"](histogram)

Values beyond the range saturate, those inside are rounded to one of 256 steps; a search weighs the one
against the other. All ranges contain 0, which TFLite's quantisation must represent exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from forge.quantization.histogram import Histogram

Range = tuple[float, float]

_STEPS = 255
_SHRINKING = np.linspace(1.0, 0.3, 71)
"""Shares of the observed minimum and maximum that a search tries."""


def min_max(histogram: Histogram) -> Range:
    """All that was seen."""
    return min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)


def percentile(histogram: Histogram, share: float = 1e-5) -> Range:
    """All but the smallest and the greatest `share` of the values that are not 0."""
    total = histogram.counts.sum()
    if not total:
        return min_max(histogram)
    running = np.cumsum(histogram.counts) / total
    width = 2 * histogram.limit / len(histogram.counts)
    low = np.searchsorted(running, share, side="right") * width - histogram.limit
    high = (np.searchsorted(running, 1 - share) + 1) * width - histogram.limit
    least, most = min_max(histogram)
    return max(min(float(low), 0.0), least), min(max(float(high), 0.0), most)


def mse(histogram: Histogram) -> Range:
    """The least mean squared error of what int8 makes of the values."""
    return _search(histogram, _squared_error)


def entropy(histogram: Histogram) -> Range:
    """The least Kullback-Leibler divergence of the distribution that int8 leaves (as TensorRT does)."""
    return _search(histogram, _divergence)


def _search(histogram: Histogram, cost: Callable[[NDArray[np.float64], NDArray[np.float64], Range], float]) -> Range:
    """The cheapest shrunk range: each end in turn, twice, as the other one moves the step."""
    least, most = min_max(histogram)
    there = histogram.counts > 0
    values, counts = histogram.centres[there], histogram.counts[there].astype(np.float64)
    if not len(values):
        return least, most
    low, high = least, most
    for _ in range(2):
        high = min((share * most for share in _SHRINKING), key=lambda end: cost(values, counts, (low, end)))
        low = min((share * least for share in _SHRINKING), key=lambda end: cost(values, counts, (end, high)))
    return low, high


def _squared_error(values: NDArray[np.float64], counts: NDArray[np.float64], ends: Range) -> float:
    low, high = ends
    step = (high - low) / _STEPS
    if step <= 0:
        return float("inf")
    zero = np.round(-low / step)
    kept = (np.clip(np.round(values / step) + zero, 0, _STEPS) - zero) * step
    return float(counts @ (values - kept) ** 2)


def _divergence(values: NDArray[np.float64], counts: NDArray[np.float64], ends: Range) -> float:
    """KL(p || q): p the values with what saturates heaped on the ends, q spread evenly over each step."""
    low, high = ends
    step = (high - low) / _STEPS
    if step <= 0:
        return float("inf")
    inside = (values >= low) & (values <= high)
    if not inside.any():
        return float("inf")
    p = counts[inside].copy()
    p[0] += counts[values < low].sum()
    p[-1] += counts[values > high].sum()
    bins = np.round((values[inside] - low) / step).astype(int)
    inner = counts[inside]
    heights = np.bincount(bins, inner, _STEPS + 1) / np.maximum(np.bincount(bins, minlength=_STEPS + 1), 1)
    q = heights[bins]
    p, q = p / p.sum(), q / q.sum()
    return float(p @ np.log(p / np.maximum(q, 1e-12)))


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min_max": min_max,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
