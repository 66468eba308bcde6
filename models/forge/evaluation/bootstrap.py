"""How sure an AP is: its spread over sets of pictures drawn again from the evaluated ones.

judge, objects = judge_label("person", truths, results)
low, high = ap50_interval(judge)                      # 95 %
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forge.evaluation.evaluate import summary

_DRAWS = 200
_TAILS_PERCENT = (2.5, 97.5)


def ap50_interval(judge: Any, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of AP50 of an evaluated pycocotools COCOeval with one category.

    The pictures are drawn with replacement (Efron, "Bootstrap methods", 1979); what was matched in each
    stays as it was, so a draw costs no new matching. `judge` is as it was afterwards.
    """
    per_picture, pictures = judge.evalImgs, judge.params.imgIds
    count = len(pictures)
    areas = len(per_picture) // count
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(_DRAWS):
        picks = rng.integers(0, count, count)
        judge.evalImgs = [per_picture[area * count + pick] for area in range(areas) for pick in picks]
        _, ap50 = summary(judge)
        if ap50 >= 0:  # -1: no object at all was drawn
            drawn.append(ap50)
    judge.evalImgs = per_picture
    if not drawn:
        return 0.0, 1.0
    low, high = np.percentile(drawn, _TAILS_PERCENT)
    return float(low), float(high)
