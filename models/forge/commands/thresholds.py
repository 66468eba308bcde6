"""`forge thresholds`: from which score on to report each class, and what that costs where there is nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.evaluation.evaluate import Runner
    from forge.training.min_scores import Image, Point, Reports

CLASSES = ("person", "car", "motorcycle", "bus", "truck")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models, the held-out pictures, and what shows nothing."""
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="as for photos: its held-out pictures decide")
    parser.add_argument("--labels", type=Path, help="label file, for models that have none inside")
    parser.add_argument("--classes", default=",".join(CLASSES), help="default: %(default)s")
    parser.add_argument(
        "--images", type=Path, action="append", default=[], metavar="FOLDER", help="to count false reports in"
    )
    parser.add_argument(
        "--annotations", type=Path, action="append", default=[], metavar="FILE", help="COCO's, one for each --images"
    )
    parser.add_argument(
        "--video",
        action="append",
        default=[],
        metavar="FILE=CLASS,CLASS",
        help="to count false reports in, and which of the classes it shows (none: FILE=)",
    )


def run(options: argparse.Namespace) -> int:
    """Print a table for each model, and the line for its manifest."""
    from forge.evaluation.evaluate import Runner
    from forge.training.min_scores import on_photos
    from forge.training.photos import load_photos

    classes = tuple(options.classes.split(","))
    _, held_out = load_photos(options.data, {}, classes)
    pictures = _pictures(options.images, options.annotations)
    print(f"{len(held_out)} held-out pictures decide, {len(pictures)} others count false reports")
    for path in options.models:
        runner = Runner(path, options.labels)
        outcomes = on_photos(runner, held_out, classes)
        best = {label: point for label in classes if (point := outcomes[label].best()) is not None}
        usual = {label: outcomes[label].at(0.5) for label in best}
        print(f"\n{path.name}\n" + _table(runner, best, usual, pictures, options.video))
        print("min_score = { " + ", ".join(f"{label} = {point.score:.2f}" for label, point in best.items()) + " }")
    return 0


def _pictures(folders: Sequence[Path], files: Sequence[Path]) -> list[tuple[Image, frozenset[str]]]:
    import cv2
    import numpy as np

    from forge.errors import ForgeError
    from forge.evaluation.coco import annotated_sets

    found: list[tuple[Image, frozenset[str]]] = []
    for path, objects in annotated_sets(folders, files) if folders else []:
        image = cv2.imread(str(path))
        if image is None:
            raise ForgeError(f"{path} cannot be read as a picture")
        there = frozenset(label for label, _ in [*objects.truth, *objects.ignored])
        found.append((np.asarray(image, np.uint8), there))
    return found


def _table(
    runner: Runner,
    best: Mapping[str, Point],
    usual: Mapping[str, Point],
    pictures: Sequence[tuple[Image, frozenset[str]]],
    videos: Sequence[str],
) -> str:
    """Markdown: a row a class; in each cell at its own threshold, and at 0.5."""
    from forge.training.min_scores import in_pictures

    both = [{label: point.score for label, point in points.items()} for points in (best, usual)]
    still = [in_pictures(runner, pictures, scores) for scores in both]
    moving = [_in_videos(runner, videos, scores) for scores in both]
    lines = [
        "| class | min_score | precision (at 0.5) | recall (at 0.5) | F1 (at 0.5) | pictures without one that report it"
        " (at 0.5) | false reports an hour of video without one (at 0.5) |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, own in best.items():
        half = usual[label]
        shown = [f"{a:.2f} ({b:.2f})" for a, b in zip(own[1:], half[1:], strict=True)]
        of = still[0][label].of
        shown.append(f"{still[0][label].count} ({still[1][label].count}) of {of:.0f}")
        shown.append(f"{_per_hour(moving[0][label])} ({_per_hour(moving[1][label])})")
        lines.append(f"| {label} | {own.score:.2f} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _in_videos(runner: Runner, videos: Sequence[str], scores: Mapping[str, float]) -> dict[str, Reports]:
    from forge.training.min_scores import Reports, in_video

    total = {label: Reports(0, 0.0) for label in scores}
    for given in videos:
        name, _, shown = given.partition("=")
        without = {label: score for label, score in scores.items() if label not in shown.split(",")}
        if not without:
            continue
        for label, here in in_video(runner, Path(name), without).items():
            total[label] = Reports(total[label].count + here.count, total[label].of + here.of)
    return total


def _per_hour(reports: Reports) -> str:
    """A rate with what it rests on: "240 (2 in 0.5 min)"."""
    if not reports.of:
        return "not measured"
    return f"{reports.count / reports.of:.0f}: {reports.count} in {60 * reports.of:.1f} min"
