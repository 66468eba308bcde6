"""`forge evaluate`: COCO AP of model files."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models, the annotated pictures."""
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument(
        "--images", type=Path, action="append", required=True, metavar="FOLDER", help="may be given several times"
    )
    parser.add_argument(
        "--annotations", type=Path, action="append", required=True, metavar="FILE", help="COCO's, one for each --images"
    )
    parser.add_argument("--labels", type=Path, help="label file, for models that have none inside")
    parser.add_argument("--classes", action="store_true", help="print each class too")


def run(options: argparse.Namespace) -> int:
    """Print AP and AP50 of each model."""
    from forge.evaluation.coco import annotated_sets
    from forge.evaluation.evaluate import Runner, on_coco
    from forge.progress import ProgressLine

    pictures = annotated_sets(options.images, options.annotations)
    objects = sum(len(each.truth) for _, each in pictures)
    print(f"{len(pictures)} pictures, {objects} objects")
    for path in options.models:
        report = on_coco(Runner(path, options.labels), pictures, ProgressLine())
        ap, ap50, _ = report.pop("all")
        print(f"{path}: AP {ap:.4f}, AP50 {ap50:.4f}")
        if options.classes:
            for label, (ap, ap50, count) in report.items():
                print(f"  {label}: AP {ap:.3f}, AP50 {ap50:.3f} ({count} objects)")
    return 0
