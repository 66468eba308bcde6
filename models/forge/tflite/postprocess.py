"""The operator TFLite_Detection_PostProcess: put behind box codes and scores, or taken off again.

    anchors, settings = take_postprocess(model)      # ends in codes [1, A, 4] and scores [1, A, C] now
    add_postprocess(model, anchors, settings)

Outputs with it, in TF1's order: boxes [1, K, 4] (ymin, xmin, ymax, xmax), classes [1, K] (0-based,
without background), scores [1, K], count [1]; all float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from forge.anchors import CODING_SCALES
from forge.errors import ForgeError
from forge.tflite import flatbuffer
from vigild.detector import flexbuffer
from vigild.detector.facts import POSTPROCESS
from vigild.detector.flatbuffer import OutOfBounds

_SCALE_NAMES = ("y_scale", "x_scale", "h_scale", "w_scale")


@dataclass(frozen=True)
class PostProcess:
    """What the operator is told. It is frozen into the file, so the score threshold lies below any that
    a user may set, and not at 1e-8, which costs 0.2 ms and fills the results with noise.

    background: column 0 of the scores is no class. regular_nms: suppress within each class, instead of
    giving each anchor its best class first (which is several times faster).
    """

    max_detections: int = 25
    score_threshold: float = 0.1
    iou_threshold: float = 0.5
    background: bool = False
    regular_nms: bool = False
    detections_per_class: int = 0
    """At most this many of one class, with regular_nms; 0: max_detections."""
    scales: tuple[float, float, float, float] = CODING_SCALES
    """Divisors of the codes of y, x, h, w."""

    def classes(self, columns: int) -> int:
        """How many classes scores of so many columns have."""
        return columns - self.background


def _options(settings: PostProcess, classes: int) -> NDArray[np.uint8]:
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", settings.max_detections)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", settings.detections_per_class or settings.max_detections)
        builder.Bool("use_regular_nms", settings.regular_nms)
        builder.Float("nms_score_threshold", settings.score_threshold)
        builder.Float("nms_iou_threshold", settings.iou_threshold)
        builder.Int("num_classes", classes)
        for name, scale in zip(_SCALE_NAMES, settings.scales, strict=True):
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
    # The first versions that take these types (tflite/tools/versioning/op_version.cc).
    version = {schema.TensorType.UINT8: 1, schema.TensorType.INT16: 3}.get(tensor.type, 2)
    operator.opcodeIndex = flatbuffer.add_operator_code(model, schema.BuiltinOperator.DEQUANTIZE, version)
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
        # With four classes both look alike; then the codes come first, as forge.training.net gives them.
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
        name = POSTPROCESS + (f":{index}" if index else "")
        results.append(flatbuffer.add_tensor(model, name, shape, schema.TensorType.FLOAT32))
    operator = schema.OperatorT()
    operator.opcodeIndex = flatbuffer.add_operator_code(model, schema.BuiltinOperator.CUSTOM, 1, POSTPROCESS)
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array(results, np.int32)
    operator.customOptions = _options(settings, settings.classes(classes))
    operator.customOptionsFormat = schema.CustomOptionsFormat.FLEXBUFFERS
    graph.operators.append(operator)
    graph.outputs = np.array(results, np.int32)
    model.signatureDefs = []  # they name the old outputs, and no runtime needs them


def find_postprocess(model: Any) -> Any | None:
    """The operator (an `OperatorT`) of the first subgraph, or None."""
    codes = model.operatorCodes
    wanted = POSTPROCESS.encode()
    return next((op for op in model.subgraphs[0].operators if codes[op.opcodeIndex].customCode == wanted), None)


def read_settings(model: Any, operator: Any) -> PostProcess:
    """What the operator of this file was told. Raises ForgeError."""
    try:
        told = flexbuffer.options(bytes(operator.customOptions))
    except OutOfBounds as error:
        raise ForgeError(f"the options of {POSTPROCESS} cannot be read ({error}); the file is damaged") from None
    columns = int(model.subgraphs[0].tensors[operator.inputs[1]].shape[-1])
    classes = int(told.get("num_classes", columns))
    if not 0 <= columns - classes <= 1:
        raise ForgeError(
            f"{POSTPROCESS} is told of {classes} classes, but its scores have {columns} columns; expected as many, "
            "or one more for the background"
        )
    if int(told.get("max_classes_per_detection", 1)) != 1:
        raise ForgeError(f"{POSTPROCESS} gives several classes to one box; only one is supported")
    most = int(told.get("max_detections", 0))
    y, x, h, w = (float(told[name]) for name in _SCALE_NAMES)
    return PostProcess(
        max_detections=most,
        score_threshold=float(told.get("nms_score_threshold", 0.0)),
        iou_threshold=float(told.get("nms_iou_threshold", 0.0)),
        background=columns > classes,
        regular_nms=bool(told.get("use_regular_nms", 0)),
        # 100 is the operator's own default (tflite/kernels/detection_postprocess.cc).
        detections_per_class=int(told.get("detections_per_class", 100)),
        scales=(y, x, h, w),
    )


def take_postprocess(model: Any) -> tuple[NDArray[np.float32], PostProcess]:
    """Take the operator off (in place): the outputs are box codes and scores then. Its anchors and settings.

    anchors: float32 [A, 4], centre y, centre x, height, width, relative. Raises ForgeError when the
    model has no such operator.
    """
    graph = model.subgraphs[0]
    operator = find_postprocess(model)
    if operator is None:
        raise ForgeError(f"the model has no {POSTPROCESS} to take off")
    settings = read_settings(model, operator)
    anchors = flatbuffer.real_values(model, int(operator.inputs[2]))
    graph.operators.remove(operator)
    graph.outputs = np.array([operator.inputs[0], operator.inputs[1]], np.int32)
    flatbuffer.sign(model)
    flatbuffer.drop_unused(model)
    return anchors, settings
