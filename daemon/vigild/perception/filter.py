"""The first step: which detections are reported.

    Filter(min_score=0.5, max_results=20, allowed=["person"])

It stands in the hub, not in the detector, because steps that follow may need what it leaves out (a tracker
that looks twice keeps an object with its low scores). Detections come best first, so the work is that of
what is reported, not of what there was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from vigild.config.schema import ModelConfig
from vigild.ipc.messages import Detection
from vigild.perception.observation import Observation


class Filter:
    """Threshold, limit and label lists. Remembers nothing."""

    name = "filter"

    def __init__(
        self,
        *,
        min_score: float,
        max_results: int,
        min_scores: Mapping[str, float] | None = None,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
    ) -> None:
        """`min_scores`: thresholds of single labels, in place of `min_score`."""
        self._min_scores = dict(min_scores or {})
        self._min_score = min_score
        self._least = min([min_score, *self._min_scores.values()])
        self._max_results = max_results
        self._allowed, self._denied = frozenset(allowed), frozenset(denied)

    def begin(self) -> None:
        """It has no state."""

    def __call__(self, state: None, observation: Observation, now_ns: int) -> tuple[None, Observation]:
        kept: list[Detection] = []
        # What the detector cut off comes after all that is here: it is missed only where none of this is.
        truncated = observation.truncated
        for detection in observation.detections:
            if detection.score < self._least:
                truncated = False
                break
            if not self._reports(detection):
                continue
            if len(kept) == self._max_results:
                truncated = True
                break
            kept.append(detection)
        return None, msgspec.structs.replace(observation, detections=kept, truncated=truncated)

    def _reports(self, detection: Detection) -> bool:
        label = detection.label
        if detection.score < self._min_scores.get(label, self._min_score):
            return False
        return (not self._allowed or label in self._allowed) and label not in self._denied


def filter_of(config: ModelConfig, min_scores: Mapping[str, float] | None = None) -> Filter:
    """The filter that [model] asks for."""
    return Filter(
        min_score=config.min_score,
        max_results=config.max_results,
        min_scores=min_scores,
        allowed=config.labels_allowed,
        denied=config.labels_denied,
    )
