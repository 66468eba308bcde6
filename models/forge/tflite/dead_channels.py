"""Channels whose weights are all (nearly) 0: given a weight that int8 can scale by.

A channel that training has given up keeps a bias only. ai-edge-quantizer then takes a scale of 1e-11 for
it, and the bias, divided by that, overflows int32 without a word: SSD-MobileNet v2 FPN-lite comes out at
a quarter of its AP because of a dozen such channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from forge.tflite import flatbuffer

_FLOOR = 2.0**-14
"""Of the layer's greatest weight: too small to be seen behind 8 bits, and large enough that a bias of
2^17 steps of the strongest channel still fits in 32 bits."""

CHANNEL_AXIS = {schema.BuiltinOperator.CONV_2D: 0, schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3}


def revive(model: Any) -> int:
    """Edit `model` (a float32 `ModelT`) in place; how many channels there were."""
    graph = model.subgraphs[0]
    done: set[int] = set()
    count = 0
    for operator in graph.operators:
        axis = CHANNEL_AXIS.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        weights = int(operator.inputs[1]) if axis is not None else -1
        if axis is None or weights in done or not flatbuffer.is_constant(model, weights):
            continue
        done.add(weights)
        if graph.tensors[weights].type != schema.TensorType.FLOAT32:
            continue
        values = np.moveaxis(flatbuffer.real_values(model, weights), axis, 0).copy()
        flat = values.reshape(len(values), -1)
        floor = np.float32(np.abs(flat).max() * _FLOOR)
        dead = np.abs(flat).max(1) < floor
        if dead.any():
            flat[dead, 0] = floor
            flatbuffer.set_values(model, weights, np.moveaxis(values, 0, axis))
            count += int(dead.sum())
    return count
