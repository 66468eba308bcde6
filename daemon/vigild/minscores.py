"""From which score on a detection is reported: the configured one, else the model's own of each class.

scores = MinScores(own={"person": 0.39}, configured=config.model.min_score)
scores.of("person")                      # 0.39 while nothing is configured
scores.least()                           # 0.39: what a decoder need not look below
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

DEFAULT = 0.5
"""Of a class nobody chose one for: a detector is meant to be more sure than not."""


class MinScores(NamedTuple):
    """The thresholds of one model, 0..1."""

    own: Mapping[str, float] = MappingProxyType({})
    """By label: what the manifest says of the model."""
    configured: float | None = None
    """`model.min_score`: stands for all of them."""

    def of(self, label: str) -> float:
        """The least score of this class that is reported."""
        return self.own.get(label, DEFAULT) if self.configured is None else self.configured

    def least(self) -> float:
        """The lowest of all classes': what a decoder need not look below."""
        return min((DEFAULT, *self.own.values())) if self.configured is None else self.configured
