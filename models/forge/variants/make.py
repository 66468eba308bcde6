"""Every tensor setting out of one network, as files.

made = make_variant(network, parse("int8"), observed, Path("out/people_int8.tflite"), card)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from forge.model.network import Network, decoding_of
from forge.quantization.calibrate import Observed
from forge.quantization.quantize import quantize
from forge.quantization.settings import Setting
from forge.tflite import flatbuffer
from forge.tflite.layout import take_nchw
from forge.tflite.metadata import Card, write_with_labels
from forge.tflite.postprocess import PostProcess, add_postprocess

SIDECAR = ".anchors.json"
"""Behind a model's name: the file with its anchors, where the daemon looks for them."""


def make_variant(
    network: Network,
    setting: Setting,
    observed: Observed | None,
    path: Path,
    card: Card,
    *,
    method: str | None = None,
    postprocess: PostProcess | None = None,
) -> None:
    """Write one variant to `path`, labels and metadata inside; its anchors beside it when it has no op.

    method: how ranges are chosen (forge.quantization.range_search). postprocess: instead of the settings the
    network came with.
    """
    model: Any = flatbuffer.load(quantize(network, setting, observed, method))
    write_variant(model, network, setting, path, card, postprocess)


def write_variant(
    model: Any, network: Network, setting: Setting, path: Path, card: Card, postprocess: PostProcess | None = None
) -> None:
    """Write a `ModelT` that takes NHWC and gives codes and scores, in the way that the setting says."""
    if setting.nchw:
        take_nchw(model)
    if setting.raw:
        beside = path.with_name(path.name + SIDECAR)
        beside.write_bytes(msgspec.json.encode(decoding_of(network)) + b"\n")
    else:
        add_postprocess(model, network.anchors, postprocess or network.postprocess)
    write_with_labels(model, path, network.labels, card, network.spec.mean, network.spec.std)
