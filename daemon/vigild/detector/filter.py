"""Which detections are reported, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vigild.minscores import MinScores


class Filter:
    """Threshold, limit and label lists; `label(class)` is None for a class that is not reported."""

    def __init__(
        self,
        labels: Sequence[str],
        min_score: float | MinScores,
        max_results: int,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
    ) -> None:
        scores = min_score if isinstance(min_score, MinScores) else MinScores(configured=min_score)
        self.min_score = scores.least()
        """Below it nothing is reported, of whatever class."""
        self._scores = scores
        self._least = [scores.of(name) for name in labels]
        self.max_results = max_results
        self._allowed, self._denied = frozenset(allowed), frozenset(denied)
        self._labels = [name if self._reports(name) else None for name in labels]

    def _reports(self, name: str) -> bool:
        return (not self._allowed or name in self._allowed) and name not in self._denied

    def label(self, class_: int) -> str | None:
        """The class's name, class_N beyond the labels, None when it is filtered out or negative."""
        if 0 <= class_ < len(self._labels):
            return self._labels[class_]
        name = f"class_{class_}"
        return name if class_ >= 0 and self._reports(name) else None

    def least(self, class_: int) -> float:
        """The score from which a class is reported."""
        return self._least[class_] if 0 <= class_ < len(self._least) else self._scores.of(f"class_{class_}")

    def unknown(self, labels: Sequence[str]) -> list[str]:
        """Names asked for or denied that no class has: probably misspelt."""
        return sorted((self._allowed | self._denied) - set(labels))
