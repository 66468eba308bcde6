"""NCHW input for an NHWC model: one TRANSPOSE in front.

TensorFlow Lite has no NCHW convolution, so the layout is only that of the input: it spares a caller
whose frames are planar the transposition, and costs the network one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from forge.errors import ForgeError
from forge.tflite import flatbuffer

_TO_NHWC = (0, 2, 3, 1)


def take_nchw(model: Any) -> None:
    """Give `model` (a `ModelT`), in place, an input [1, C, H, W] of the same type and quantisation."""
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.tensors[graph.inputs[0]].shape) != 4:
        raise ForgeError("the model does not take one image [1, H, W, C]; nothing can be turned in front of it")
    image = graph.tensors[graph.inputs[0]]
    batch, height, width, channels = (int(side) for side in image.shape)
    planes = flatbuffer.add_tensor(model, image.name.decode() + "_nchw", (batch, channels, height, width), image.type)
    graph.tensors[planes].quantization = image.quantization
    order = flatbuffer.add_tensor(
        model, "nchw_to_nhwc", (len(_TO_NHWC),), schema.TensorType.INT32, np.array(_TO_NHWC, "<i4").tobytes()
    )
    operator = schema.OperatorT()
    # The first versions that take these types (tflite/tools/versioning/op_version.cc).
    version = {schema.TensorType.INT8: 2, schema.TensorType.INT16: 5}.get(image.type, 1)
    operator.opcodeIndex = flatbuffer.add_operator_code(model, schema.BuiltinOperator.TRANSPOSE, version)
    operator.inputs = np.array([planes, order], np.int32)
    operator.outputs = np.array([graph.inputs[0]], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.TransposeOptions
    operator.builtinOptions = schema.TransposeOptionsT()
    graph.operators.insert(0, operator)
    for signature in model.signatureDefs or []:
        for entry in signature.inputs:
            if signature.subgraphIndex == 0 and entry.tensorIndex == graph.inputs[0]:
                entry.tensorIndex = planes
    graph.inputs = np.array([planes], np.int32)
