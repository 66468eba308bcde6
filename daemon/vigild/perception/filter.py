"""The first step: which detections are reported.

    Filter(scores=MinScores(configured=0.5), max_results=20, allowed=["person"])

It stands in the hub, not in the detector, because steps that follow may need what it leaves out (a tracker
that looks twice keeps an object with its low scores). Detections come best first, so the work is that of
what is reported, not of what there was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from vigild.config.schema import ModelConfig
from vigild.ipc.messages import RawDetection
from vigild.minscores import MinScores
from vigild.perception.observation import Observation


class Filter:
    """Threshold, limit and label lists. Remembers nothing."""

    name = "filter"

    def __init__(
        self,
        *,
        scores: MinScores,
        max_results: int,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
    ) -> None:
        """`scores`: from which score on a detection of each label is reported."""
        self._scores = scores
        self._least = scores.least()
        self._max_results = max_results
        self._allowed, self._denied = frozenset(allowed), frozenset(denied)

    def begin(self) -> None:
        """It has no state."""

    def __call__(self, state: None, observation: Observation, now_ns: int) -> tuple[None, Observation]:
        kept: list[RawDetection] = []
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
        if len(kept) == len(observation.detections) and truncated == observation.truncated:
            return None, observation
        return None, msgspec.structs.replace(observation, detections=kept, truncated=truncated)

    def _reports(self, detection: RawDetection) -> bool:
        label = detection.label
        if detection.score < self._scores.of(label):
            return False
        return (not self._allowed or label in self._allowed) and label not in self._denied


def filter_of(config: ModelConfig, own: Mapping[str, float]) -> Filter:
    """The filter that [model] asks for; `own`: the thresholds of the model itself, by label."""
    return Filter(
        scores=MinScores(own, config.min_score),
        max_results=config.max_results,
        allowed=config.labels_allowed,
        denied=config.labels_denied,
    )
