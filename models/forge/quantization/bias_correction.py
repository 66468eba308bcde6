"""Moving the biases of a float32 network so that its int8 build errs to neither side.

correct(model, spec, qsvs, pictures)              # edits the ModelT in place

Rounding weights to 8 bits and cutting activations off shifts the mean of each output channel. A few
layers at a time, from the first to the last: run the int8 network over pictures, and take from each
convolution's bias the mean error of its outputs against float32, but for what it inherits from layers
that are corrected at the same time (Nagel et al., Data-Free Quantization Through Weight Equalization and
Bias Correction, 2019, section 4.2, with measured means).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from forge.progress import Progress
from forge.quantization.calibrate import Image, Qsvs, int8_input, tensor_of, watching
from forge.quantization.static_int8 import static_int8
from forge.tflite import flatbuffer
from vigild.tensor import TensorSpec

CHUNK = 6
"""Layers that are corrected at once. All of them at once overshoot: through a dozen ReLUs, what a layer inherits
is not what its weights make of the inputs' mean error."""
_FEWEST_ACTIVE = 0.02
"""Share of a channel's outputs that a ReLU lets through; below, its bias hardly moves the mean."""

_CEILINGS = {
    schema.ActivationFunctionType.RELU: np.inf,
    schema.ActivationFunctionType.RELU6: 6.0,
}


class _Layer(NamedTuple):
    input: str
    output: str
    bias: int
    gain: NDArray[np.float64]
    """What a shift of an input channel's mean does to an output channel's: [out, in], or [channels] if depthwise."""
    ceiling: float
    """Of the fused ReLU; NaN without one."""


class _Means(NamedTuple):
    mean: dict[str, NDArray[np.float64]]
    """Tensor to the mean of each channel."""
    active: dict[str, NDArray[np.float64]]
    """Layer's output to the share of each channel strictly between its ReLU's bounds."""


def correct(
    model: Any,
    spec: TensorSpec,
    qsvs: Qsvs,
    pictures: Sequence[Image],
    chunk: int = CHUNK,
    keep_float: Collection[str] = (),
    progress: Progress = lambda *_: None,
) -> int:
    """Edit the biases of `model` (a float32 `ModelT`); quantise it with the same qsvs and keep_float then.

    spec: of its input. pictures: uint8 [H, W, 3], RGB, of its size. chunk: layers at a time.
    Returns how many layers there were.
    """
    layers = _layers(model)
    wanted = _float_means(flatbuffer.pack(model), spec, layers, pictures)
    for first in range(0, len(layers), chunk):
        progress("correcting biases", first, len(layers))
        data = static_int8(flatbuffer.pack(model), qsvs, keep_float=keep_float)
        got = _int8_means(data, int8_input(spec), layers, pictures)
        now = layers[first : first + chunk]
        moving = _behind(model, {layer.output for layer in now})
        for layer in now:
            active = np.maximum(wanted.active.get(layer.output, np.ones(1)), _FEWEST_ACTIVE)
            own = (got[layer.output] - wanted.mean[layer.output]) / active
            if layer.input in moving:
                inherited = got[layer.input] - wanted.mean[layer.input]
                own = own - (layer.gain @ inherited if layer.gain.ndim == 2 else layer.gain * inherited)
            bias = flatbuffer.real_values(model, layer.bias)
            flatbuffer.set_values(model, layer.bias, (bias - own).astype(np.float32))
    progress("correcting biases", len(layers), len(layers))
    flatbuffer.drop_unused(model)
    return len(layers)


def _behind(model: Any, names: set[str]) -> set[str]:
    """These tensors and all that are computed from them: their mean errors change with this chunk's biases."""
    graph = model.subgraphs[0]
    moving = set(names)
    for operator in graph.operators:
        if any(i >= 0 and graph.tensors[i].name.decode() in moving for i in operator.inputs):
            moving |= {graph.tensors[i].name.decode() for i in operator.outputs}
    return moving


def _layers(model: Any) -> list[_Layer]:
    """The convolutions in order, each with a bias of its own (heads share theirs between feature maps)."""
    graph = model.subgraphs[0]
    found: list[_Layer] = []
    taken: set[int] = set()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code not in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
            continue
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        weights = flatbuffer.real_values(model, int(operator.inputs[1])).astype(np.float64)
        depthwise = code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
        bias = int(operator.inputs[2])
        if bias in taken:
            old = graph.tensors[bias]
            values = flatbuffer.real_values(model, bias)
            name = f"{old.name.decode()}_{len(graph.tensors)}"
            bias = flatbuffer.add_tensor(
                model, name, values.shape, schema.TensorType.FLOAT32, values.astype("<f4").tobytes()
            )
            operator.inputs = np.array([operator.inputs[0], operator.inputs[1], bias], np.int32)
        taken.add(bias)
        found.append(
            _Layer(
                graph.tensors[operator.inputs[0]].name.decode(),
                graph.tensors[operator.outputs[0]].name.decode(),
                bias,
                weights.sum((0, 1, 2)) if depthwise else weights.sum((1, 2)),
                _CEILINGS.get(operator.builtinOptions.fusedActivationFunction, np.nan),
            )
        )
    return found


def _channel_mean(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.reshape(-1, values.shape[-1]).mean(0, dtype=np.float64))


def _float_means(data: bytes, spec: TensorSpec, layers: list[_Layer], pictures: Sequence[Image]) -> _Means:
    interpreter = watching(data)
    indices = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    names = {layer.input for layer in layers} | {layer.output for layer in layers}
    mean = {name: np.zeros(1) for name in names}
    active = {layer.output: np.zeros(1) for layer in layers if not np.isnan(layer.ceiling)}
    ceilings = {layer.output: layer.ceiling for layer in layers}
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor_of(spec, picture))
        interpreter.invoke()
        for name in names:
            values = interpreter.get_tensor(indices[name])
            mean[name] = mean[name] + _channel_mean(values) / len(pictures)
            if name in active:
                inside = (values > 0) & (values < ceilings[name])
                active[name] = active[name] + _channel_mean(inside) / len(pictures)
    return _Means(mean, active)


def _int8_means(
    data: bytes, spec: TensorSpec, layers: list[_Layer], pictures: Sequence[Image]
) -> dict[str, NDArray[np.float64]]:
    interpreter = watching(data)
    details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    names = {layer.input for layer in layers} | {layer.output for layer in layers}
    mean = {name: np.zeros(1) for name in names}
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor_of(spec, picture))
        interpreter.invoke()
        for name in names:
            mean[name] = mean[name] + _channel_mean(interpreter.get_tensor(details[name]["index"])) / len(pictures)
    for name in names:
        scale, zero_point = details[name]["quantization"]
        if scale:
            mean[name] = (mean[name] - zero_point) * scale
    return mean
