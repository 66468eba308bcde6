"""`forge testcard`: the model of the test card's shapes."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from forge.commands.common import REPOSITORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the run is kept, how long it is."""
    parser.add_argument("--run", type=Path, default=REPOSITORY / "build" / "testcard", help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "testcard" / "out")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2)


def run(options: argparse.Namespace) -> int:
    """Train and export."""
    from forge.training import build
    from forge.training.recipes import TESTCARD

    config = dataclasses.replace(TESTCARD, threads=options.threads, steps=options.steps or TESTCARD.steps)
    build.testcard(config, options.run, options.out)
    return 0
