"""Opening and writing .tflite files as objects that can be edited.

model = load(Path("in.tflite"))      # ai_edge_litert.schema_py_generated.ModelT
save(model, Path("out.tflite"))
real_values(model, index), set_values(model, index, values)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from forge.errors import ForgeError

SIGNATURE = "serving_default"
"""How litert-torch and TensorFlow call a model's only signature."""

_DTYPES = {
    schema.TensorType.FLOAT32: "<f4",
    schema.TensorType.FLOAT16: "<f2",
    schema.TensorType.INT32: "<i4",
    schema.TensorType.UINT8: "u1",
    schema.TensorType.INT8: "i1",
    schema.TensorType.INT16: "<i2",
}
_FILE_IDENTIFIER = b"TFL3"


def load(source: Path | bytes) -> Any:
    """The model as a `ModelT`, with all weights inside its buffers.

    ai-edge-quantizer stores weights behind the flatbuffer (`Buffer.offset` and `size` count from the
    file's start); repacking would move them, so they are pulled in first.
    """
    data = source.read_bytes() if isinstance(source, Path) else bytes(source)
    if data[4:8] != _FILE_IDENTIFIER:
        raise ForgeError(f"{source if isinstance(source, Path) else 'the data'} is not a TFLite model: no TFL3 mark")
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for code in model.operatorCodes:
        # Files of before 2020 carry only the old field; without this every operator is taken for ADD.
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return model


def pack(model: Any) -> bytes:
    """The file's bytes."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def save(model: Any, path: Path) -> None:
    """Write the model to `path`."""
    path.write_bytes(pack(model))


def add_buffer(model: Any, data: bytes = b"") -> int:
    """A new buffer; its index."""
    buffer = schema.BufferT()
    if data:
        buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_tensor(model: Any, name: str, shape: tuple[int, ...], kind: int, data: bytes = b"") -> int:
    """A new tensor of the first subgraph, constant if it has data; its index."""
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = np.array(shape, np.int32)
    tensor.type = kind
    # Every variable tensor may share the empty buffer 0; a constant has one of its own.
    tensor.buffer = add_buffer(model, data) if data else 0
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def add_operator_code(model: Any, builtin: int, version: int, custom: str = "") -> int:
    """A new operator code; its index."""
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = min(builtin, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    code.version = version
    if custom:
        code.customCode = custom.encode()
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def real_values(model: Any, index: int) -> NDArray[np.float32]:
    """A constant tensor of the first subgraph as float32, in its shape; integers by scale and zero point."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type not in _DTYPES:
        raise ForgeError(f"the tensor {tensor.name.decode()} is no constant of numbers; the graph is not as expected")
    values = np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(tuple(tensor.shape))
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return values.astype(np.float32)
    along = [1] * values.ndim
    if len(quantization.scale) > 1:
        along[quantization.quantizedDimension] = -1
    scale = np.asarray(quantization.scale, np.float32).reshape(along)
    zero_point = np.asarray(quantization.zeroPoint, np.float32).reshape(along)
    return (values.astype(np.float32) - zero_point) * scale


def is_constant(model: Any, index: int) -> bool:
    """Whether the tensor of the first subgraph has its values in the file."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return data is not None and len(data) > 0


def set_values(model: Any, index: int, values: NDArray[np.float32]) -> None:
    """Make the tensor a float32 constant with a buffer of its own, as other tensors may share the old one."""
    tensor = model.subgraphs[0].tensors[index]
    tensor.type = schema.TensorType.FLOAT32
    tensor.quantization = None
    tensor.buffer = add_buffer(model, values.astype("<f4").tobytes())


def bypass(model: Any, idle: Callable[[Any, Any], bool]) -> None:
    """Take out the operators of which `idle(model, operator)` says that they only copy; in place.

    Their users read what they read. Where one writes an output of the graph, the operator that made its
    input writes the output instead.
    """
    graph = model.subgraphs[0]
    outputs = {int(i) for i in graph.outputs}
    instead: dict[int, int] = {}
    kept: list[Any] = []
    for operator in graph.operators:
        operator.inputs = np.array([instead.get(int(i), int(i)) for i in operator.inputs], np.int32)
        if not idle(model, operator):
            kept.append(operator)
            continue
        taken, given = int(operator.inputs[0]), int(operator.outputs[0])
        if given in outputs:
            taken, given = given, taken
            for earlier in kept:
                for side in ("inputs", "outputs"):
                    setattr(
                        earlier, side, np.array([taken if i == given else i for i in getattr(earlier, side)], np.int32)
                    )
        instead[given] = taken
    graph.operators = kept
    drop_unused(model)


def sign(model: Any) -> None:
    """Give the first subgraph the one signature "serving_default": args_0, … to output_0, …; others go."""
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE.encode()
    signature.subgraphIndex = 0
    signature.inputs = _name_tensors("args", graph.inputs)
    signature.outputs = _name_tensors("output", graph.outputs)
    model.signatureDefs = [signature]


def _name_tensors(stem: str, indexes: Any) -> list[Any]:
    named = []
    for number, index in enumerate(indexes):
        entry = schema.TensorMapT()
        entry.name = f"{stem}_{number}".encode()
        entry.tensorIndex = int(index)
        named.append(entry)
    return named


def drop_unused(model: Any) -> None:
    """Remove, in place, the tensors, buffers and operator codes that nothing refers to any more."""
    graphs = model.subgraphs
    for position, graph in enumerate(graphs):
        kept = {int(i) for i in (*graph.inputs, *graph.outputs)}
        for operator in graph.operators:
            for group in (operator.inputs, operator.outputs, operator.intermediates):
                kept.update(int(i) for i in (group if group is not None else ()) if i >= 0)
        new = {old: at for at, old in enumerate(sorted(kept))}
        graph.tensors = [graph.tensors[old] for old in new]
        _renumber(graph, ("inputs", "outputs"), new)
        for operator in graph.operators:
            _renumber(operator, ("inputs", "outputs", "intermediates"), new)
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == position:
                for entry in (*signature.inputs, *signature.outputs):
                    entry.tensorIndex = new[entry.tensorIndex]
    tensors = [tensor for graph in graphs for tensor in graph.tensors]
    # Buffer 0 is always the empty one.
    used = sorted({0} | {int(entry.buffer) for entry in (*tensors, *(model.metadata or []))})
    at = {old: number for number, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for entry in (*tensors, *(model.metadata or [])):
        entry.buffer = at[int(entry.buffer)]
    model.metadataBuffer = None  # of before 2020; `metadata` says it better
    operators = [operator for graph in graphs for operator in graph.operators]
    codes = sorted({int(operator.opcodeIndex) for operator in operators})
    model.operatorCodes = [model.operatorCodes[old] for old in codes]
    for operator in operators:
        operator.opcodeIndex = codes.index(int(operator.opcodeIndex))


def _renumber(table: Any, fields: tuple[str, ...], new: dict[int, int]) -> None:
    for field in fields:
        if getattr(table, field) is not None:
            setattr(table, field, np.array([new.get(int(i), -1) for i in getattr(table, field)], np.int32))


def keep_needed(model: Any) -> None:
    """Remove, in place, the first subgraph's operators that none of its outputs needs, and what hung on them.

    An interpreter that keeps all tensors, as the calibrator's, trips over a result that nobody reads.
    """
    graph = model.subgraphs[0]
    needed = {int(i) for i in graph.outputs}
    operators = []
    for operator in reversed(graph.operators):
        if needed.intersection(int(i) for i in operator.outputs):
            operators.insert(0, operator)
            needed.update(int(i) for i in operator.inputs if i >= 0)
    graph.operators = operators
    drop_unused(model)
