"""Adding the operator TFLite_Detection_PostProcess to a model that ends in box codes and scores.

Outputs afterwards, in TF1's order: boxes [1, K, 4] (ymin, xmin, ymax, xmax), classes [1, K] (0-based),
scores [1, K], count [1]; all float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from forge import flatbuffer
from forge.anchors import CODING_SCALES


@dataclass(frozen=True)
class PostProcess:
    """What the operator is told. It is frozen into the file, so the score threshold lies below any that
    a user may set, and not at 1e-8, which costs 0.2 ms and fills the results with noise."""

    max_detections: int = 25
    score_threshold: float = 0.1
    iou_threshold: float = 0.5


def _options(settings: PostProcess, classes: int) -> NDArray[np.uint8]:
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", settings.max_detections)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", settings.max_detections)
        builder.Bool("use_regular_nms", False)
        builder.Float("nms_score_threshold", settings.score_threshold)
        builder.Float("nms_iou_threshold", settings.iou_threshold)
        builder.Int("num_classes", classes)
        for name, scale in zip(("y_scale", "x_scale", "h_scale", "w_scale"), CODING_SCALES, strict=True):
            builder.Float(name, scale)
    return np.frombuffer(bytes(builder.Finish()), np.uint8)


def _as_float(model: Any, index: int) -> int:
    """The tensor as float32: itself, or behind a DEQUANTIZE."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[index]
    if tensor.type == schema.TensorType.FLOAT32:
        return index
    result = flatbuffer.add_tensor(
        model, tensor.name.decode() + "_float", tuple(tensor.shape), schema.TensorType.FLOAT32
    )
    operator = schema.OperatorT()
    operator.opcodeIndex = flatbuffer.add_operator_code(model, schema.BuiltinOperator.DEQUANTIZE, 2)
    operator.inputs = np.array([index], np.int32)
    operator.outputs = np.array([result], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    graph.operators.append(operator)
    return result


def add_postprocess(model: Any, anchors: NDArray[np.float32], settings: PostProcess) -> None:
    """Edit `model` (a `ModelT`) in place. It must have two outputs, [1, A, 4] and [1, A, C], in any order.

    anchors: float32 [A, 4], centre y, centre x, height, width, relative.
    """
    graph = model.subgraphs[0]
    count = len(anchors)
    found = {int(graph.tensors[i].shape[2]): int(i) for i in graph.outputs if len(graph.tensors[i].shape) == 3}
    shapes = [list(graph.tensors[i].shape) for i in graph.outputs]
    if len(found) != 2 or 4 not in found or any(shape[1] != count for shape in shapes):
        # With four classes both look alike; then the codes come first, as forge.net gives them.
        if len(shapes) != 2 or any(shape[1:] != [count, 4] for shape in shapes):
            raise ValueError(f"the outputs are {shapes}; expected [1, {count}, 4] and [1, {count}, classes]")
        codes, scores, classes = int(graph.outputs[0]), int(graph.outputs[1]), 4
    else:
        codes = found.pop(4)
        classes, scores = next(iter(found.items()))
    inputs = [
        _as_float(model, codes),
        _as_float(model, scores),
        flatbuffer.add_tensor(model, "anchors", (count, 4), schema.TensorType.FLOAT32, anchors.astype("<f4").tobytes()),
    ]
    most = settings.max_detections
    results = []
    for index, shape in enumerate(((1, most, 4), (1, most), (1, most), (1,))):
        name = "TFLite_Detection_PostProcess" + (f":{index}" if index else "")
        results.append(flatbuffer.add_tensor(model, name, shape, schema.TensorType.FLOAT32))
    operator = schema.OperatorT()
    operator.opcodeIndex = flatbuffer.add_operator_code(
        model, schema.BuiltinOperator.CUSTOM, 1, "TFLite_Detection_PostProcess"
    )
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array(results, np.int32)
    operator.customOptions = _options(settings, classes)
    operator.customOptionsFormat = schema.CustomOptionsFormat.FLEXBUFFERS
    graph.operators.append(operator)
    graph.outputs = np.array(results, np.int32)
    model.signatureDefs = []  # they name the old outputs, and no runtime needs them
