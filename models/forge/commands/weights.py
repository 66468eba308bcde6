"""`forge weights`: a checkpoint's weights for another framework."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, where the weights go."""
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training run")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")


def run(options: argparse.Namespace) -> int:
    """Write them."""
    from forge.training.train import load_detector
    from forge.weights import save_weights

    save_weights(load_detector(options.checkpoint), options.out)
    return 0
