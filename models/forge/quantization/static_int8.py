"""A float32 model and ranges to signed int8: weights per channel, int8 input and outputs.

data = static_int8(Path("float32.tflite"), qsvs)
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from numpy.typing import NDArray

from forge.quantization.calibrate import Qsvs
from forge.tflite import flatbuffer
from forge.tflite.dead_channels import CHANNEL_AXIS, revive

_STEPS = 127
"""A symmetric int8 weight has as many on either side of 0."""


def static_int8(source: Path | bytes, qsvs: Qsvs, *, keep_float: Iterable[str] = ()) -> bytes:
    """The quantised file. Operators without an int8 kernel, as the post-process op, stay float32.

    keep_float: names of output tensors whose operators stay float32 too.
    """
    model = flatbuffer.load(source)
    revive(model)
    graph = model.subgraphs[0]
    maker = quantizer.Quantizer(bytearray(flatbuffer.pack(model)))
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    for name in keep_float:
        maker.update_quantization_recipe(
            f"^{re.escape(name)};?$",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    if any(graph.tensors[i].name.decode() not in qsvs for i in graph.outputs):
        # The post-process op's: nobody observes them, and its kernel gives float32 only.
        maker.update_quantization_recipe(".*", qtyping.TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # of the memory that keeping all tensors takes
        result = maker.quantize(
            {name: dict(qsv) for name, qsv in qsvs.items()}, enable_progress_bar=False, enable_progress_report=False
        )
    quantised = flatbuffer.load(bytes(result.quantized_model))
    flatbuffer.bypass(quantised, _is_idle)
    return flatbuffer.pack(quantised)


def weight_ranges(model: Any, steps: Mapping[str, NDArray[np.float32]]) -> Qsvs:
    """Ranges that put weights which were 8 bits wide before on their old grid, where that loses nothing.

    steps: of `Dequantized`. A channel whose values are at most 127 old steps keeps the old scale and so its
    exact values; a finer scale would round them. For `static_int8`, beside the ranges of the activations.
    """
    graph = model.subgraphs[0]
    found: Qsvs = {}
    for operator in graph.operators:
        axis = CHANNEL_AXIS.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is None:
            continue
        weights = int(operator.inputs[1])
        name = graph.tensors[weights].name.decode()
        if name not in steps:
            continue
        values = flatbuffer.real_values(model, weights)
        others = tuple(i for i in range(values.ndim) if i != axis)
        most = np.abs(values).max(others, keepdims=True)
        along = [1] * values.ndim
        along[axis] = -1
        grid = _STEPS * np.broadcast_to(steps[name].reshape(along), most.shape)
        bound = np.where(most <= grid * (1 + 1e-5), grid, most).astype(np.float32)
        found[name] = {"min": -bound, "max": bound}
    return found


def _is_idle(model: Any, operator: Any) -> bool:
    """Whether this is a QUANTIZE between equal scales: the quantizer puts some in front of concatenations."""
    if model.operatorCodes[operator.opcodeIndex].builtinCode != schema.BuiltinOperator.QUANTIZE:
        return False
    tensors = model.subgraphs[0].tensors
    taken, given = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
    if taken.type != given.type or taken.quantization.zeroPoint[0] != given.quantization.zeroPoint[0]:
        return False
    # To the last bit of a float32: both were computed from one range.
    return abs(float(taken.quantization.scale[0] / given.quantization.scale[0]) - 1) < 1e-6
