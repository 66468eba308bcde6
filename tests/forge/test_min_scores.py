"""The score from which a class is worth reporting: by hand-made detections."""

from __future__ import annotations

import numpy as np
import pytest

from forge.evaluation.evaluate import Detection
from forge.training.min_scores import FEWEST_OBJECTS, Outcome, in_pictures

HERE, FAR = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)


def outcome(right: list[float], wrong: list[float], missed: int = 0) -> Outcome:
    found = Outcome()
    for score in right:
        found.add(np.array([HERE], np.float32), [Detection("cat", score, HERE)])
    for score in wrong:
        found.add(np.zeros((0, 4), np.float32), [Detection("cat", score, FAR)])
    for _ in range(missed):
        found.add(np.array([HERE], np.float32), [])
    return found


def test_precision_recall_and_f1_at_a_threshold():
    point = outcome([0.9, 0.6, 0.3], [0.8, 0.2], missed=1).at(0.5)
    assert (point.precision, point.recall) == (pytest.approx(2 / 3), 2 / 4)
    assert point.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_an_object_is_found_once_and_by_the_best():
    found = Outcome()
    found.add(np.array([HERE], np.float32), [Detection("cat", 0.4, HERE), Detection("cat", 0.9, HERE)])
    assert found.at(0.3)[1:3] == (0.5, 1.0)
    assert found.at(0.5)[1:3] == (1.0, 1.0)


def test_the_best_lies_between_the_wrong_and_the_right():
    best = outcome([0.6] * 20, [0.4] * 20).best()
    assert best is not None and 0.4 < best.score <= 0.6
    assert (best.precision, best.recall) == (1.0, 1.0)


def test_too_few_objects_say_nothing():
    assert outcome([0.6] * (FEWEST_OBJECTS - 1), []).best() is None
    assert outcome([0.6] * FEWEST_OBJECTS, []).best() is not None


class Told:
    """A runner that sees what the picture's mean says."""

    def detect(self, image: np.ndarray, min_score: float) -> list[Detection]:
        score = float(image.mean()) / 255
        return [Detection("cat", score, HERE)] if score >= min_score else []


def test_only_pictures_without_the_class_count_as_false_reports():
    pictures = [
        (np.full((2, 2, 3), value, np.uint8), there)
        for value, there in ((255, frozenset()), (255, frozenset({"cat"})), (0, frozenset({"dog"})))
    ]
    assert in_pictures(Told(), pictures, {"cat": 0.5})["cat"] == (1, 2)
