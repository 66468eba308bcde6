"""Which detections the detector passes on, and what they are called. What is reported, `perception.filter` decides."""

from __future__ import annotations

from collections.abc import Sequence

from vigild.minscores import MinScores


class Selection:
    """Threshold and limit; `label(class)` is None for what is no class."""

    def __init__(self, labels: Sequence[str], min_score: float | MinScores, max_results: int) -> None:
        scores = min_score if isinstance(min_score, MinScores) else MinScores(configured=min_score)
        self.min_score = scores.least()
        """Below it nothing is passed on, of whatever class."""
        self._scores = scores
        self._least = [scores.of(name) for name in labels]
        self.max_results = max_results
        self._labels = list(labels)

    def label(self, class_: int) -> str | None:
        """The class's name, class_N beyond the labels, None when it is negative."""
        if 0 <= class_ < len(self._labels):
            return self._labels[class_]
        return f"class_{class_}" if class_ >= 0 else None

    def least(self, class_: int) -> float:
        """The score from which a class is passed on."""
        return self._least[class_] if 0 <= class_ < len(self._least) else self._scores.of(f"class_{class_}")
