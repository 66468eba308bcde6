"""The quantizer at work: a float32 network and a setting in, the bytes of its variant out.

ranges = observe_network(network, pictures)
data = quantize(network, parse("int8"), ranges)
"""

from __future__ import annotations

from collections.abc import Iterable

from forge.errors import ForgeError
from forge.model.network import Network
from forge.quantization.bias_room import with_room
from forge.quantization.calibrate import Image, Observed, Qsvs, observe, ranges
from forge.quantization.settings import Setting
from forge.tflite import flatbuffer
from forge.tflite.dead_channels import revive

FROM_FILE = "file"
"""The method that keeps the ranges of activations that a quantised file was trained with."""


def observe_network(network: Network, pictures: Iterable[Image]) -> Observed:
    """What the network's tensors hold over the pictures (uint8 [H, W, 3], RGB, of the input's size)."""
    return observe(network.data, pictures)


def quantize(network: Network, setting: Setting, observed: Observed | None, method: str | None = None) -> bytes:
    """The network in that setting's scheme and input and output types: NHWC, without the post-process op.

    observed: needed by the schemes with fixed ranges. method: FROM_FILE or one of `range_search`, for 8-bit
    activations; None: the file's if it has any, else the whole range. 16 bits lose nothing to the whole range.
    Weights that were 8 bits wide stay on their old grid where int8 has room for it.
    """
    if setting.scheme.plan is None:
        return network.data
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    from forge.quantization.static_int8 import weight_ranges

    model = flatbuffer.load(network.data)
    if setting.needs_calibration:
        revive(model)
    maker = quantizer.Quantizer(bytearray(flatbuffer.pack(model)))
    setting.scheme.plan(maker)
    if setting.float_io:
        for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            maker.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    found = None
    if observed is not None and setting.needs_calibration:
        found = _ranges(network, setting, observed, method)
        if setting.scheme.per_channel:
            found |= weight_ranges(model, network.steps)
            if setting.scheme.activation_bits > 8:
                found |= with_room(model, found)
    result = maker.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _ranges(network: Network, setting: Setting, observed: Observed, method: str | None) -> Qsvs:
    if setting.scheme.activation_bits > 8:
        return ranges(observed)
    if method == FROM_FILE and not network.ranges:
        raise ForgeError("the model was not quantised before, so it has no ranges to keep; choose another method")
    if method in (None, FROM_FILE):
        return ranges(observed, given=network.ranges)
    return ranges(observed, method)
