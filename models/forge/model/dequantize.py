"""A quantised .tflite to the float32 .tflite of the same network.

    plain = dequantize(open_source(Path("uint8.tflite")))
    plain.save(Path("float32.tflite"))
    plain.ranges["concat"]                          # (-15.1, 5.06): what the file let the tensor hold

Takes full uint8 (2018) and int8 files, dynamic-range and weight-only int8 files, float16 weights, and
float32 files, which come back as they are. The post-process op stays, fed with float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from forge.errors import ForgeError
from forge.model.source import Source, card_of
from forge.tflite import flatbuffer
from forge.tflite.metadata import set_description
from vigild.tensor import TensorSpec

_ACTIVATIONS = {
    schema.TensorType.UINT8: (0, 255),
    schema.TensorType.INT8: (-128, 127),
    schema.TensorType.INT16: (-32768, 32767),
}
"""What a computed tensor can be quantised to, and its least and greatest step."""
_RELUS = {
    schema.ActivationFunctionType.RELU: (0.0, float("inf")),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}
_RECODE = {schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE}


class Dequantized(NamedTuple):
    model: Any
    """`ModelT`, float32 throughout."""
    spec: TensorSpec
    """Its input."""
    ranges: dict[str, tuple[float, float]]
    """Computed tensor to the least and greatest real value that its quantisation could hold; empty for a float file."""
    steps: dict[str, NDArray[np.float32]]
    """8-bit constant to its scale, one or one per channel: its values are whole multiples of it."""

    def save(self, path: Path) -> None:
        """Write it."""
        flatbuffer.save(self.model, path)


def dequantize(source: Source) -> Dequantized:
    """Edits `source.model` in place. Raises ForgeError for what cannot be read back."""
    model = source.model
    graph = model.subgraphs[0]
    ranges: dict[str, tuple[float, float]] = {}
    steps: dict[str, NDArray[np.float32]] = {}
    for index, tensor in enumerate(graph.tensors):
        if flatbuffer.is_constant(model, index):
            if tensor.type == schema.TensorType.FLOAT16 or _is_quantised(tensor):
                values = flatbuffer.real_values(model, index)
                if tensor.type in (schema.TensorType.UINT8, schema.TensorType.INT8):
                    steps[_name(tensor)] = np.asarray(tensor.quantization.scale, np.float32)
                flatbuffer.set_values(model, index, values)
        elif _is_quantised(tensor):
            scale, zero_point = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
            if tensor.type in _ACTIVATIONS:
                low, high = (float(scale * (limit - zero_point)) for limit in _ACTIVATIONS[tensor.type])
                ranges[_name(tensor)] = (low, high)
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
    _restore_activations(graph, ranges)
    flatbuffer.bypass(model, _recodes)  # they only copy now
    for tensor in (graph.tensors[i] for operator in graph.operators for i in operator.inputs if i >= 0):
        if tensor.type in _ACTIVATIONS:
            raise ForgeError(
                f"the tensor {_name(tensor)!r} is {_type_name(tensor.type)} without a scale, so what its numbers mean"
                " is unknown; convert the model again with full quantisation."
            )
    _name_apart(graph)
    if not model.signatureDefs:
        flatbuffer.sign(model)  # ai-edge-quantizer refuses a model without
    spec = TensorSpec(
        width=source.spec.width,
        height=source.spec.height,
        dtype="float32",
        layout=source.spec.layout,
        color=source.spec.color,
        mean=source.spec.mean,
        std=source.spec.std,
    )
    card = card_of(source, "float32")
    set_description(model, card, spec.mean, spec.std)
    flatbuffer.drop_unused(model)
    return Dequantized(model, spec, ranges, steps)


def _name(tensor: Any) -> str:
    return str(tensor.name.decode())


def _type_name(kind: int) -> str:
    return next(name for name, value in vars(schema.TensorType).items() if value == kind).lower()


def _is_quantised(tensor: Any) -> bool:
    quantization = tensor.quantization
    return quantization is not None and quantization.scale is not None and len(quantization.scale) > 0


def _restore_activations(graph: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Make explicit what only saturation did, and narrow `ranges` to what the activation lets through.

    The converter of 2018 left a ReLU6 out where the output's quantisation held 0..6 anyway; without it
    the float32 network would run away (values of 1e7 in the COCO model).
    """
    none = schema.ActivationFunctionType.NONE
    for operator in graph.operators:
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", None)
        name = _name(graph.tensors[operator.outputs[0]])
        if fused is None or name not in ranges:
            continue
        low, high = ranges[name]
        if fused == none and low == 0:
            step = high / 255
            is_relu6 = abs(high - 6) <= step
            fused = schema.ActivationFunctionType.RELU6 if is_relu6 else schema.ActivationFunctionType.RELU
            operator.builtinOptions.fusedActivationFunction = fused
        if fused in _RELUS:
            least, most = _RELUS[fused]
            ranges[name] = max(low, least), min(high, most)


def _recodes(model: Any, operator: Any) -> bool:
    return model.operatorCodes[operator.opcodeIndex].builtinCode in _RECODE


def _name_apart(graph: Any) -> None:
    """ai-edge-quantizer tells tensors apart by name, but a converter may give one twice."""
    seen: set[bytes] = set()
    for index, tensor in enumerate(graph.tensors):
        if tensor.name in seen:
            tensor.name += f"_{index}".encode()
        seen.add(tensor.name)
