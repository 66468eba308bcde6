"""`forge prune`: fewer classes."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The network, the classes, where it goes."""
    parser.add_argument("model", type=Path, help=".tflite of an SSD: float, or quantised, which is dequantised first")
    parser.add_argument("--classes", required=True, help="those to keep, separated by commas")
    parser.add_argument("--labels", type=Path, help="label file, if the model has none inside")
    parser.add_argument("--out", type=Path, required=True, help="the float32 .tflite to write; make variants of it")
    parser.add_argument("--rounds", type=int, default=10, help="of timing; 0: none")


def run(options: argparse.Namespace) -> int:
    """Write the smaller network, and print size and time of both as float32."""
    from forge.evaluation.latency import measure
    from forge.model.network import open_network
    from forge.model.prune import prune
    from forge.quantization.settings import parse
    from forge.variants.make import make_variant

    network = open_network(options.model, options.labels)
    fewer = prune(network, options.classes.split(","))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    make_variant(fewer, parse("float32"), None, options.out, fewer.card)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.tflite"
        make_variant(network, parse("float32"), None, whole, network.card)
        files = [whole, options.out]
        times = measure(files, "litert", options.rounds, None) if options.rounds else [None, None]
        for one, path, time in zip((network, fewer), files, times, strict=True):
            took = f", {time.min_ms:.2f} ms at best, {time.cpu_ms:.2f} ms of CPU" if time is not None else ""
            print(f"{len(one.labels)} classes: {path.stat().st_size} bytes{took}")
    return 0
