"""How sure an AP is: the interval holds it, is narrow with many pictures and wide with few."""

from __future__ import annotations

import numpy as np

from forge.evaluation.bootstrap import ap50_interval
from forge.evaluation.evaluate import Detection, Truths, judge_label, summary


def pictures(count: int, hit_rate: float) -> tuple[Truths, list[list[Detection]]]:
    rng = np.random.default_rng(3)
    truths: Truths = []
    results: list[list[Detection]] = []
    for _ in range(count):
        x, y = rng.uniform(0, 0.5, 2).tolist()
        box = (x, y, x + 0.3, y + 0.4)
        elsewhere = (0.9 - x, 0.9 - y, 0.99, 0.99)
        truths.append([("person", box)])
        results.append([Detection("person", float(rng.uniform()), box if rng.random() < hit_rate else elsewhere)])
    return truths, results


def interval(count: int) -> tuple[float, float, float]:
    judge, objects = judge_label("person", *pictures(count, 0.6))
    assert objects == count
    _, ap50 = summary(judge)
    low, high = ap50_interval(judge)
    assert summary(judge)[1] == ap50  # the judge is as it was
    return low, ap50, high


def test_the_interval_holds_the_ap_and_narrows_with_more_pictures() -> None:
    low, ap50, high = interval(200)
    assert 0 < low < ap50 < high < 1
    few_low, _, few_high = interval(12)
    assert few_high - few_low > 1.5 * (high - low)


def test_a_class_without_objects_has_no_judge() -> None:
    truths, results = pictures(3, 1.0)
    assert judge_label("bus", truths, results) == (None, 0)
    assert judge_label("person", truths, [[], [], []]) == (None, 3)
