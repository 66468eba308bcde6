"""Figures: samples, what they have to reach, and the verdict.

A sample is what one window gave (one value, or many, as latencies), with the foreign load during it. Windows in
which others used the machine are shown, but do not count; a figure with too few quiet ones is not judged. What
decides is the load alone, never the value.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

QUIET_CORES = 0.10
"""More foreign load than this and a window does not count."""


@dataclass
class Sample:
    values: list[float]
    foreign: float
    """Cores."""
    disturbed: str = ""
    """Another reason why it does not count."""

    @property
    def quiet(self) -> bool:
        return self.foreign <= QUIET_CORES and not self.disturbed


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank: the smallest value that at least a share q of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-q * len(ordered) // 1) - 1))]


def p50(values: Sequence[float]) -> float:
    return quantile(values, 0.50)


def p99(values: Sequence[float]) -> float:
    return quantile(values, 0.99)


STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "p50": p50,
    "p99": p99,
    "max": max,
    "min": min,
}


@dataclass
class Figure:
    """One line of the table. `limit` None: shown for comparison, not judged."""

    row: str
    name: str
    unit: str = ""
    statistic: str = "median"
    at_least: bool = False
    limit: float | None = None
    needed: int = 1
    """Quiet samples without which it is not judged."""
    samples: list[Sample] = field(default_factory=list)
    skipped: str = ""
    """Why it could not be measured."""
    beyond: Figure | None = None
    """Another figure whose value is subtracted."""
    unfit: str = ""
    """Why it says nothing on this machine although it was measured."""
    digits: int = 3

    def add(self, value: float | Sequence[float], foreign: float, disturbed: str = "") -> None:
        values = [float(value)] if isinstance(value, int | float) else [float(v) for v in value]
        self.samples.append(Sample(values, foreign, disturbed))

    @property
    def quiet(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.quiet]

    @property
    def enough(self) -> bool:
        return len(self.quiet) >= self.needed

    @property
    def settled(self) -> bool:
        """Enough, or no use to go on: not one of as many samples as it needs was quiet."""
        return self.enough or (len(self.samples) >= self.needed and not self.quiet)

    @property
    def counted(self) -> list[float]:
        """The values that count: of the quiet samples, or of all when too few are quiet."""
        return [value for sample in (self.quiet if self.enough else self.samples) for value in sample.values]

    @property
    def value(self) -> float | None:
        if not self.counted:
            return None
        value = STATISTICS[self.statistic](self.counted)
        return value if self.beyond is None else value - (self.beyond.value or 0.0)

    def verdict(self, judge: bool) -> tuple[Literal["reached", "missed", "not judged", "compare"], str]:
        """The word, and why when it is not a judgement."""
        if self.limit is None:
            return "compare", ""
        if self.skipped or self.value is None:
            return "not judged", self.skipped or "no samples"
        if self.unfit:
            return "not judged", self.unfit
        if not self.enough:
            reasons = sorted({s.disturbed or "foreign load" for s in self.samples if not s.quiet})
            return "not judged", f"{len(self.quiet)} of {self.needed} samples undisturbed: {'; '.join(reasons)}"
        if not judge:
            return "not judged", "quick run"
        good = self.value >= self.limit if self.at_least else self.value <= self.limit
        return ("reached" if good else "missed"), ""

    def as_json(self, judge: bool) -> dict[str, Any]:
        verdict, why = self.verdict(judge)
        return {
            "row": self.row,
            "figure": self.name,
            "unit": self.unit,
            "statistic": self.statistic,
            "to_reach": None if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit}",
            "measured": self.value,
            "verdict": verdict,
            "why": why,
            "samples": [
                {
                    "values": sample.values,
                    "foreign_cores": round(sample.foreign, 4),
                    "counts": sample.quiet,
                    **({"disturbed": sample.disturbed} if sample.disturbed else {}),
                }
                for sample in self.samples
            ],
        }
