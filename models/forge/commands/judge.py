"""`forge judge`: models against the test card's truth."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The models, how many cards."""
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--cards", type=int, default=10, help="cards of each size")


def run(options: argparse.Namespace) -> int:
    """Print what each finds, misses and invents."""
    from forge.evaluation import judge

    for path in options.models:
        print(judge.on_test_card(path, options.cards))
    return 0
