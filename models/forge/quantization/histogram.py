"""How often an activation takes which value, counted over many pictures in little memory.

histogram = Histogram()
histogram.add(tensor)                             # float32, any shape; again for each picture
histogram.minimum, histogram.maximum
histogram.counts, histogram.centres
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 4096
"""16 for each of the 256 steps of an int8 tensor whose range fills the histogram."""


@dataclass
class Histogram:
    """Equal bins over [-limit, limit]. When a value lies beyond, the limit doubles and bins merge in pairs.

    Exact zeros are not counted: every quantisation represents them without error, and behind a ReLU
    they are most of the tensor.
    """

    limit: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        """Count `values`; what is not finite is left out."""
        flat = values.ravel()
        low, high = float(flat.min()), float(flat.max())
        if not math.isfinite(low + high):
            flat = flat[np.isfinite(flat)]
            if not len(flat):
                return
            low, high = float(flat.min()), float(flat.max())
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        extent = max(-low, high)
        if extent == 0:
            return
        if self.limit == 0:
            self.limit = 2.0 ** math.ceil(math.log2(extent))
        while extent > self.limit:
            self.limit, self.counts = 2 * self.limit, _halved(self.counts)
        flat = flat[flat != 0]
        bins = ((flat + np.float32(self.limit)) * np.float32(BINS / (2 * self.limit))).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def merge(self, other: Histogram) -> None:
        """Count what `other` counted too."""
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        limit, counts = self.limit, self.counts
        there, extra = other.limit, other.counts
        if there == 0:
            return
        if limit == 0:
            limit = there
        while limit < there:
            limit, counts = 2 * limit, _halved(counts)
        while there < limit:
            there, extra = 2 * there, _halved(extra)
        self.limit, self.counts = limit, counts + extra

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        width = 2 * self.limit / BINS
        return np.asarray((np.arange(BINS) + 0.5) * width - self.limit)


def _halved(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same counts in bins of double the width."""
    wide = np.zeros(BINS, np.int64)
    wide[BINS // 4 : BINS // 4 * 3] = counts.reshape(-1, 2).sum(1)
    return wide
