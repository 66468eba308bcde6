"""`forge variants`: every tensor setting out of one network."""

from __future__ import annotations

import argparse
from pathlib import Path

from forge.commands import judging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The network, its classes, how ranges are chosen; and what judging shares."""
    parser.add_argument("model", type=Path, help=".tflite of an SSD: float, or quantised, which is dequantised first")
    parser.add_argument("--classes", default="", help="keep only these classes, separated by commas")
    parser.add_argument(
        "--ranges",
        help="of activations: file (a quantised file's own), min_max, percentile, mse, entropy;"
        " default: file if it has them, else min_max",
    )
    judging.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Make, judge, time, write."""
    from forge.model.network import open_network
    from forge.model.prune import prune
    from forge.quantization import settings

    if options.list:
        return judging.show(settings.SETTINGS)
    network = open_network(options.model, options.labels, *judging.normalisation(options))
    if options.classes:
        network = prune(network, options.classes.split(","))
    chosen = tuple(map(settings.parse, options.only.split(","))) if options.only else settings.SETTINGS
    return judging.ship_all(
        judging.adjusted(network, options), chosen, judging.plan_of(options, options.ranges), options
    )
