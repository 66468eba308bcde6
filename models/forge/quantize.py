"""The quantizer at work: a float32 network and a setting in, the bytes of its variant out.

ranges = observe_network(network, pictures)
data = quantize(network, parse("int8"), ranges)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from forge import flatbuffer
from forge.calibrate import Image, Observed, observe, ranges
from forge.dead_channels import revive
from forge.network import Network
from forge.settings import Setting


def observe_network(network: Network, pictures: Iterable[Image]) -> Observed:
    """What the network's tensors hold over the pictures (uint8 [H, W, 3], RGB, of the input's size)."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "float32.tflite"
        path.write_bytes(network.data)
        return observe(path, pictures)


def quantize(network: Network, setting: Setting, observed: Observed | None, method: str = "min_max") -> bytes:
    """The network in that setting's scheme and input and output types: NHWC, without the post-process op.

    observed: needed by the schemes with fixed ranges. method: of `range_search`, for 8-bit activations;
    16 bits lose nothing to a wide range, so theirs is always the whole one.
    """
    if setting.scheme.plan is None:
        return network.data
    data = network.data
    if setting.needs_calibration:
        model = flatbuffer.load(data)
        if revive(model):
            data = flatbuffer.pack(model)
    maker = quantizer.Quantizer(data)
    setting.scheme.plan(maker)
    if setting.float_io:
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            maker.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    found = None
    if observed is not None and setting.needs_calibration:
        found = ranges(observed, method if setting.scheme.activation_bits == 8 else "min_max")
    result = maker.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
