"""Opening and writing .tflite files as objects that can be edited.

model = load(Path("in.tflite"))      # ai_edge_litert.schema_py_generated.ModelT
save(model, Path("out.tflite"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_FILE_IDENTIFIER = b"TFL3"


def load(source: Path | bytes) -> Any:
    """The model as a `ModelT`, with all weights inside its buffers.

    ai-edge-quantizer stores weights behind the flatbuffer (`Buffer.offset` and `size` count from the
    file's start); repacking would move them, so they are pulled in first.
    """
    data = source.read_bytes() if isinstance(source, Path) else bytes(source)
    if data[4:8] != _FILE_IDENTIFIER:
        raise ValueError(f"{source if isinstance(source, Path) else 'the data'} is not a TFLite model: no TFL3 mark")
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
