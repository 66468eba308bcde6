"""Weight steps that leave room for the biases, with 16-bit activations.

A bias is kept in steps of (input step x weight step), and ai-edge-quantizer 0.10 cuts it to 32 bits for int16
activations too, though the kernels take 64. Their input step is 256 times finer than int8's, so the bias
of a channel with small weights is cut off without a word: AP 0.072 instead of 0.297 for FPN-lite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from forge.quantization.calibrate import Qsvs
from forge.tflite import flatbuffer
from forge.tflite.dead_channels import CHANNEL_AXIS

_MOST_STEPS = 2.0**30
"""Half of what 32 bits hold."""
_WEIGHT_STEPS = 127
_ACTIVATION_STEPS = 32767


def with_room(model: Any, qsvs: Qsvs) -> Qsvs:
    """Ranges of the weights whose channels need a coarser step, beside those in `qsvs`, which hold the activations'.

    Weights stay what they are; only channels whose bias is some thousand times their weights are kept less finely.
    """
    graph = model.subgraphs[0]
    found: Qsvs = {}
    for operator in graph.operators:
        axis = CHANNEL_AXIS.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        source, weights, bias = (int(index) for index in operator.inputs[:3])
        taken = qsvs.get(graph.tensors[source].name.decode())
        if taken is None or graph.tensors[weights].type != schema.TensorType.FLOAT32:
            continue
        step = max(float(np.abs(taken[end]).max()) for end in ("min", "max")) / _ACTIVATION_STEPS
        values = flatbuffer.real_values(model, weights)
        along = [1] * values.ndim
        along[axis] = -1
        name = graph.tensors[weights].name.decode()
        # Weights that several convolutions share get the range that the neediest of them wants.
        known = found.get(name, qsvs.get(name))
        others = tuple(index for index in range(values.ndim) if index != axis)
        bound = known["max"] if known is not None else np.abs(values).max(others, keepdims=True)
        needed = np.abs(flatbuffer.real_values(model, bias)) / (step * _MOST_STEPS) * _WEIGHT_STEPS
        wide = np.maximum(bound, needed.reshape(along)).astype(np.float32)
        if known is not None or (wide > bound).any():
            found[name] = {"min": -wide, "max": wide}
    return found
