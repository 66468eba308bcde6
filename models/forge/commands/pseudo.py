"""`forge pseudo`: what a COCO model sees in pictures."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the pictures, the classes."""
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="one class a line")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--classes", help="separated by commas; without, all: what else there is, is of use too")
    parser.add_argument("--out", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Look, and write it down."""
    from forge.training import pseudo

    classes = frozenset(options.classes.split(",")) if options.classes else None
    found = pseudo.look(options.model, options.labels, options.images, classes)
    pseudo.write(found, options.out)
    return 0
