"""What a model is worth on photographs that were held out of its training.

scores = on_held_out(Path("model.tflite"), held_out, ("person", "car"))
print(table({"int8": scores}))
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from forge.evaluation.bootstrap import ap50_interval
from forge.evaluation.evaluate import Detection, Runner, Truths, judge_label, summary
from forge.training.photos import Photo


class Score(NamedTuple):
    """Of one class. low, high: the 95 % bootstrap interval of AP50."""

    ap: float
    ap50: float
    low: float
    high: float
    objects: int
    pictures: int


def on_held_out(path: Path, photos: list[Photo], labels: tuple[str, ...]) -> dict[str, Score]:
    """label to its score; each picture is judged for the classes people labelled in it."""
    runner = Runner(path)
    truths: Truths = []
    results: list[list[Detection]] = []
    for photo in photos:
        truths.append([(c, tuple(box)) for c, box in zip(photo.classes, photo.boxes.tolist(), strict=True)])
        results.append(runner.detect(photo.image))
    judged = [photo.judged for photo in photos]
    scores: dict[str, Score] = {}
    for label in labels:
        pictures = sum(label in classes for classes in judged)
        judge, objects = judge_label(label, truths, results, judged=judged)
        if judge is not None:
            scores[label] = Score(*summary(judge), *ap50_interval(judge), objects, pictures)
        elif objects:
            scores[label] = Score(0.0, 0.0, 0.0, 0.0, objects, pictures)
    return scores


def mean_ap(scores: dict[str, Score]) -> float:
    """Mean AP over the classes."""
    return float(np.mean([score.ap for score in scores.values()]))


def table(variants: dict[str, dict[str, Score]]) -> str:
    """Markdown: a row a class, AP and AP50 of each variant, the interval for the first."""
    names = list(variants)
    first = variants[names[0]]
    rows = [
        "| class | objects in pictures | "
        + " | ".join(f"{name} AP, AP50" for name in names)
        + f" | {names[0]} AP50, 95 % |",
        "|" + "---|" * (len(names) + 3),
    ]
    for label, score in first.items():
        cells = [f"{variants[name][label].ap:.3f}, {variants[name][label].ap50:.3f}" for name in names]
        interval = f"{score.low:.2f} to {score.high:.2f}"
        rows.append(f"| {label} | {score.objects} in {score.pictures} | " + " | ".join(cells) + f" | {interval} |")
    means = [f"{mean_ap(variants[name]):.4f}" for name in names]
    rows.append("| mean AP | | " + " | ".join(means) + " | |")
    return "\n".join(rows)
