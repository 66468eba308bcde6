"""`forge pytorch`: any module to a float32 .tflite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The module, its input, what makes a detector of it."""
    add = parser.add_argument
    add("--module", required=True, metavar="PKG.MOD:CALLABLE", help="what returns the module when it is called")
    add("--checkpoint", type=Path, help="state dict to load into it")
    add("--input", required=True, metavar="1,C,H,W", help="shape of the image that it takes")
    add("--out", type=Path, required=True, help="the .tflite to write")
    add("--anchors", type=Path, metavar="FILE", help="JSON as beside a model without the op: adds it (docs/models.md)")
    add("--labels", type=Path, help="label file, to be packed in; with --anchors")
    add("--mean", type=float, help="the image is (p - mean) / std; default 127.5")
    add("--std", type=float)


def _shape(text: str) -> tuple[int, int, int, int]:
    from forge.errors import ForgeError

    try:
        batch, channels, height, width = (int(side) for side in text.split(","))
    except ValueError:
        raise ForgeError(f"--input is {text!r}; expected four numbers, as 1,3,320,320") from None
    if batch != 1 or min(channels, height, width) < 1:
        raise ForgeError(f"--input is {text!r}; expected a batch of 1 and sides of at least 1")
    return batch, channels, height, width


def run(options: argparse.Namespace) -> int:
    """Convert, compare, and add the op where anchors are given."""
    from forge.errors import ForgeError
    from forge.model.network import open_network
    from forge.quantization.settings import parse
    from forge.routes.pytorch import convert, largest_difference, load_module
    from forge.variants.make import SIDECAR, make_variant

    if (options.anchors is None) != (options.labels is None):
        raise ForgeError("--anchors and --labels belong together: the post-process op needs both")
    shape = _shape(options.input)
    sys.path.insert(0, "")  # a module beside the caller, as with python -m
    module = load_module(options.module, options.checkpoint)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    convert(module, shape, options.out)
    print(f"{options.out}: differs from the module by at most {largest_difference(module, shape, options.out):.2g}")
    if options.anchors is not None:
        beside = options.out.with_name(options.out.name + SIDECAR)
        beside.write_bytes(options.anchors.read_bytes())
        mean, std = (None if value is None else (value,) * 3 for value in (options.mean, options.std))
        network = open_network(options.out, options.labels, mean, std)
        beside.unlink()
        make_variant(network, parse("float32"), None, options.out, network.card)
        print(f"{options.out}: with the post-process op and {len(network.labels)} labels; forge variants takes it")
    return 0
