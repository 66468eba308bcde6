"""What a model file says about itself, read without running it.

    facts = read(file.data)
    facts.tensors[facts.inputs[0]].shape     # (1, 300, 300, 3)
    facts.postprocess                        # the detection op, with its options, or None

Schema: tensorflow/lite/schema/schema.fbs, version 3. Tensor indexes are those of the first
subgraph, which are also the interpreter's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from vigild.detector import flexbuffer, metadata
from vigild.detector.errors import ModelError
from vigild.detector.flatbuffer import OutOfBounds, Table
from vigild.detector.metadata import Metadata

POSTPROCESS = "TFLite_Detection_PostProcess"
EDGETPU = "edgetpu-custom-op"

DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    17: "int4",
}
"""enum TensorType."""

CONCATENATION, DEQUANTIZE, LOGISTIC, RESHAPE, SOFTMAX = 2, 6, 14, 22, 25
CUSTOM, TRANSPOSE, SQUEEZE, STRIDED_SLICE, SLICE, EXPAND_DIMS, QUANTIZE = 32, 39, 43, 45, 65, 70, 114
"""enum BuiltinOperator: the operators whose meaning matters here."""

MAX_OPTION = 10_000
"""Detections or classes; a list is made for each class, so a damaged number must not be believed."""

_PASS_THROUGH = {CONCATENATION, DEQUANTIZE, RESHAPE, TRANSPOSE, SQUEEZE, STRIDED_SLICE, SLICE, EXPAND_DIMS, QUANTIZE}
"""Operators that move or recode values without changing what they mean."""


class TensorFacts(msgspec.Struct, frozen=True):
    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    """real = scale * (q - zero_point); empty for tensors that are not quantised."""

    @property
    def size(self) -> int:
        """Number of elements; unknown dimensions count as 1."""
        return math.prod(max(dim, 1) for dim in self.shape)


class Operator(NamedTuple):
    code: int
    custom: str
    """Name of a custom operator; empty for the built-in ones."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class PostProcess(NamedTuple):
    """The op TFLite_Detection_PostProcess (tflite/kernels/detection_postprocess.cc).

    Its outputs are always boxes, classes, scores, count in that order, whatever order the graph
    gives them.
    """

    outputs: tuple[int, ...]
    max_detections: int
    classes_per_detection: int
    num_classes: int
    """Without background; 0 when the file does not say."""
    score_threshold: float


class Signature(NamedTuple):
    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]


class ModelFacts(NamedTuple):
    tensors: list[TensorFacts]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]
    postprocess: PostProcess | None
    signatures: list[Signature]
    metadata: Metadata | None
    warnings: list[str]

    @property
    def edgetpu(self) -> bool:
        """Compiled for the Edge TPU: runs nowhere else."""
        return any(op.custom == EDGETPU for op in self.operators)

    def ends_in(self, tensor: int) -> int | None:
        """The operator that gives a tensor's values their meaning, e.g. LOGISTIC or SOFTMAX.

        Follows the first input of operators that only move or recode values; None when it leads to
        the graph's input.
        """
        made_by = {output: op for op in self.operators for output in op.outputs}
        for _ in range(len(self.operators)):
            op = made_by.get(tensor)
            if op is None:
                return None
            if op.code not in _PASS_THROUGH or not op.inputs:
                return op.code
            tensor = op.inputs[0]
        return None


def read(data: memoryview) -> ModelFacts:
    """Read a file's facts. Raises ModelError ("truncated" or "corrupt")."""
    try:
        return _read(data)
    except OutOfBounds as error:
        raise ModelError(
            "truncated", f"The model file is truncated or damaged: {error}; fetch it again and compare its SHA-256."
        ) from None


def _read(data: memoryview) -> ModelFacts:
    model = Table.root(data)
    graphs = model.tables(2)
    if not graphs:
        raise ModelError("corrupt", "The model file holds no graph; it is damaged or empty, fetch it again.")
    graph = graphs[0]
    buffers = model.tables(4)
    for table in buffers:
        _buffer(data, table)
    codes = [(max(code.scalar(0, "b"), code.scalar(3, "i")), code.string(1)) for code in model.tables(1)]
    tensors = [_tensor(index, table) for index, table in enumerate(graph.tables(0))]
    operators: list[Operator] = []
    postprocess: PostProcess | None = None
    for table in graph.tables(3):
        index = table.scalar(0, "I")
        if index >= len(codes):
            raise ModelError("corrupt", f"The model file uses operator {index} of {len(codes)}; it is damaged.")
        code, custom = codes[index]
        op = Operator(code, custom if code == CUSTOM else "", tuple(table.vector(1, "i")), tuple(table.vector(2, "i")))
        operators.append(op)
        if op.custom == POSTPROCESS:
            postprocess = _postprocess(op, bytes(table.bytes_at(5)))
    inputs, outputs = tuple(graph.vector(1, "i")), tuple(graph.vector(2, "i"))
    for tensor in (*inputs, *outputs, *(postprocess.outputs if postprocess else ())):
        if not 0 <= tensor < len(tensors):
            raise ModelError("corrupt", f"The model file refers to tensor {tensor} of {len(tensors)}; it is damaged.")
    warnings: list[str] = []
    return ModelFacts(
        tensors,
        inputs,
        outputs,
        operators,
        postprocess,
        [
            Signature(table.string(2), _tensor_map(table, 0, len(tensors)), _tensor_map(table, 1, len(tensors)))
            for table in model.tables(7)
            if table.scalar(4, "I") == 0
        ],
        _metadata(data, model, buffers, warnings),
        warnings,
    )


def _buffer(data: memoryview, table: Table) -> memoryview:
    """A buffer's bytes; large files keep them behind the FlatBuffer, by offset and size."""
    offset, size = table.scalar(1, "Q"), table.scalar(2, "Q")
    if offset > 1:  # 0: absent, 1: a placeholder that the converter left
        if offset + size > len(data):
            raise OutOfBounds(f"weights lie at bytes {offset} to {offset + size}, but it has {len(data)}")
        return data[offset : offset + size]
    return table.bytes_at(0)


def _tensor(index: int, table: Table) -> TensorFacts:
    quantization = table.table(4)
    scale = tuple(quantization.vector(2, "f")) if quantization is not None else ()
    zero_point = tuple(quantization.vector(3, "q")) if quantization is not None else ()
    shape, signature = tuple(table.vector(0, "i")), tuple(table.vector(7, "i"))
    if len(signature) == len(shape):  # -1 in the signature marks a dimension that may change
        sizes = enumerate(zip(shape, signature, strict=True))
        shape = tuple(-1 if sig < 0 and dim <= 1 and at else dim for at, (dim, sig) in sizes)
    kind = table.scalar(1, "b")
    return TensorFacts(index, table.string(3), shape, DTYPES.get(kind, f"type {kind}"), scale, zero_point)


def _tensor_map(table: Table, number: int, tensors: int) -> dict[str, int]:
    pairs = ((entry.string(0), entry.scalar(1, "I")) for entry in table.tables(number))
    return {name: index for name, index in pairs if index < tensors}


def _postprocess(op: Operator, data: bytes) -> PostProcess:
    if len(op.outputs) != 4:
        raise ModelError("corrupt", f"The model's {POSTPROCESS} has {len(op.outputs)} outputs instead of 4.")
    try:
        options = flexbuffer.options(data)
    except OutOfBounds as error:
        raise ModelError("corrupt", f"The options of the model's {POSTPROCESS} cannot be read: {error}.") from None
    return PostProcess(
        op.outputs,
        _whole(options, "max_detections", 0),
        max(_whole(options, "max_classes_per_detection", 1), 1),
        _whole(options, "num_classes", 0),
        float(options.get("nms_score_threshold", 0.0)),
    )


def _whole(options: dict[str, float], name: str, default: int) -> int:
    value = options.get(name, default)
    if not 0 <= value <= MAX_OPTION:  # nor when it is NaN
        raise ModelError(
            "corrupt", f"The option {name} of the model's {POSTPROCESS} is {value}; expected 0 to {MAX_OPTION}."
        )
    return int(value)


def _metadata(data: memoryview, model: Table, buffers: list[Table], warnings: list[str]) -> Metadata | None:
    for entry in model.tables(6):
        index = entry.scalar(1, "I")
        if entry.string(0) == metadata.BUFFER_NAME and index < len(buffers):
            try:
                return metadata.read(_buffer(data, buffers[index]))
            except OutOfBounds as error:
                warnings.append(f"the model's metadata is damaged and was ignored: {error}")
    return None
