"""How right a loaded model is on pictures: against another build, known truth, or annotations.

    seen = look(model, pictures, everything=False, scores=MinScores(), limit=20)
    judge(seen, model.labels, MinScores(), reference=[...], reference_name="float32", annotations=None)

Runs in the process that may die; a picture goes through the camera worker's converter, so the model
gets the very bytes that it gets in the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vigild.camera.convert import Converter
from vigild.catalogue.profile import Accuracy
from vigild.detector.model import Model
from vigild.detector.selection import Selection
from vigild.minscores import MinScores
from vigild.tune.agreement import SLACK, Found, compare, tally
from vigild.tune.ap import Detected, Precision, Truth, average_precision
from vigild.tune.cocofile import Annotations, AnnotationsError, Mark
from vigild.tune.pictures import CARD_LABELS, Picture

WHOLE = (0.0, 0.0, 1.0, 1.0)

MIN_AP_SCORE = 0.01
"""Detections below it lengthen the end of the precision curve, where it is next to 0; decoding them takes long."""


class Seen(NamedTuple):
    """One picture and what a model found in it."""

    name: str
    detections: list[Found]
    truth: list[Found] | None


def look(model: Model, pictures: Iterable[Picture], *, everything: bool, scores: MinScores, limit: int) -> list[Seen]:
    """`everything`: down to the scores that AP counts; else down to what `compare` looks at."""
    converter = Converter(model.spec)
    tensor = bytearray(model.spec.nbytes)
    image = np.frombuffer(tensor, model.spec.dtype).reshape(model.spec.shape)
    least = MIN_AP_SCORE if everything else max(scores.least() - SLACK, MIN_AP_SCORE)
    selection = Selection(model.labels, least, limit)
    seen = []
    for picture in pictures:
        view = converter.convert(picture.pixels, picture.orientation, WHOLE, memoryview(tensor))
        np.copyto(model.input_view(), image)
        model.interpreter.invoke()
        detections, _ = model.decode(view, selection)
        found = [Found(one.label, one.score, one.box) for one in detections]
        seen.append(Seen(picture.name, found, picture.truth))
    return seen


def judge(
    seen: list[Seen],
    labels: list[str],
    scores: MinScores,
    reference: list[list[Found]] | None,
    reference_name: str,
    annotations: Annotations | None,
) -> Accuracy:
    """`reference`: what another build saw in the same pictures. Raises AnnotationsError."""
    share = error = None
    if reference is not None:
        share, error = compare([one.detections for one in seen], reference, scores)
    precision = None
    if annotations is not None:
        precision = coco(seen, labels, annotations)
    truths = [one for one in seen if one.truth is not None]
    counts = None
    if truths and set(labels) >= CARD_LABELS:
        tallies = [tally(one.truth or [], one.detections, scores) for one in truths]
        counts = [sum(column) for column in zip(*tallies, strict=True)]
    return Accuracy(
        pictures=len(seen),
        agreement=share,
        score_error=error,
        reference=reference_name if reference is not None else "",
        ap=precision.ap if precision else None,
        ap50=precision.ap50 if precision else None,
        found=counts[0] if counts else None,
        missed=counts[1] if counts else None,
        invented=counts[2] if counts else None,
    )


def coco(seen: list[Seen], labels: list[str], annotations: Annotations) -> Precision | None:
    """AP over the categories that the model has a class for, by their names. Raises AnnotationsError."""
    known = {one.id: one.name for one in annotations.categories if one.name in set(labels)}
    if not known:
        there = ", ".join(one.name for one in annotations.categories[:5])
        raise AnnotationsError(
            f"no class of the model is called as a category of the annotations ({there}, ...); "
            "bring the model's labels with --labels"
        )
    images = {image.file_name: image for image in annotations.images}
    marks: dict[tuple[int, int], list[Mark]] = {}
    for mark in annotations.annotations:
        marks.setdefault((mark.category_id, mark.image_id), []).append(mark)
    truths: dict[int, list[Truth]] = {category: [] for category in known}
    results: dict[int, list[Detected]] = {category: [] for category in known}
    for one in seen:
        image = images[one.name]
        by_label: dict[str, list[Found]] = {}
        for found in one.detections:
            by_label.setdefault(found.label, []).append(found)
        for category, label in known.items():
            there_marks = marks.get((category, image.id), [])
            truths[category].append(
                Truth(
                    np.array([mark.bbox for mark in there_marks], np.float64).reshape(-1, 4),
                    np.array([bool(mark.iscrowd) for mark in there_marks], bool),
                )
            )
            boxes = [_pixels(found, image.width, image.height) for found in by_label.get(label, [])]
            scores = [found.score for found in by_label.get(label, [])]
            results[category].append(Detected(np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64)))
    return average_precision(truths, results)


def _pixels(found: Found, width: int, height: int) -> tuple[float, float, float, float]:
    """x, y, width, height."""
    xmin, ymin, xmax, ymax = found.box
    return xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height
