"""Head pruning: a detector that knows fewer classes, by leaving columns out of its class convolutions.

    few = prune(network, ["person", "car", "dog"])

What stays is computed as before: each anchor's codes, and its scores of the kept classes. The detections
of the kept classes are the same with regular NMS (within each class). The op's fast NMS gives each anchor
its best class first and then suppresses across classes, so an object that another class hid may appear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from forge.errors import ForgeError
from forge.model.network import Network
from forge.tflite import flatbuffer

_Op = schema.BuiltinOperator
_PASSING = {_Op.LOGISTIC, _Op.RESHAPE, _Op.CONCATENATION}
"""What stands between the class convolutions and the scores, and treats each column alike."""


def prune(network: Network, classes: Iterable[str]) -> Network:
    """The network with these classes only, in its own order. Raises ForgeError."""
    wanted = set(classes)
    unknown = sorted(wanted - set(network.labels))
    if unknown or not wanted:
        missing = ", ".join(map(repr, unknown)) or "among none"
        raise ForgeError(f"the model has no class {missing}; it has {', '.join(network.labels)}")
    kept = [number for number, label in enumerate(network.labels) if label in wanted]
    background = network.postprocess.background
    columns = [0, *(number + 1 for number in kept)] if background else kept
    model = flatbuffer.load(network.data)
    _keep_columns(model, int(model.subgraphs[0].outputs[1]), len(network.labels) + background, columns)
    flatbuffer.drop_unused(model)
    return replace(network, data=flatbuffer.pack(model), labels=tuple(network.labels[number] for number in kept))


def _keep_columns(model: Any, scores: int, count: int, columns: Sequence[int]) -> None:
    """Reduce the last dimension of `scores`, [1, A, count], to these columns, back to the convolutions behind it."""
    graph = model.subgraphs[0]
    made_by = {int(output): operator for operator in graph.operators for output in operator.outputs}
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers[int(index)] = readers.get(int(index), 0) + 1
    heads: dict[int, Any] = {}
    waiting = [scores]
    while waiting:
        index = waiting.pop()
        operator = made_by.get(index)
        code = model.operatorCodes[operator.opcodeIndex].builtinCode if operator is not None else None
        if index != scores and readers.get(index, 0) > 1:
            raise ForgeError("the scores are used elsewhere in the graph too; its classes cannot be left out")
        if code == _Op.CONV_2D:
            heads[index] = operator
        elif code in _PASSING:
            if code == _Op.RESHAPE:
                _reshape(model, operator, count, len(columns))
            shape = graph.tensors[index].shape
            if int(shape[-1]) != count:
                raise ForgeError(f"a tensor of scores is {list(shape)}; expected {count} columns, one a class")
            _set_last(graph.tensors[index], len(columns))
            waiting.extend(int(i) for i in (operator.inputs[:1] if code == _Op.RESHAPE else operator.inputs))
        else:
            raise ForgeError(
                f"the scores come from operator {code}, which forge cannot look through; expected convolutions,"
                " reshaped, joined and put through a sigmoid"
            )
    done: set[int] = set()
    for output, operator in heads.items():
        _slice_head(model, operator, output, count, columns, done)


def _reshape(model: Any, operator: Any, count: int, kept: int) -> None:
    """Give a RESHAPE to [..., count] a target of its own (it may share one) that ends in `kept`."""
    target = None
    if len(operator.inputs) > 1:
        target = flatbuffer.real_values(model, int(operator.inputs[1])).astype(np.int32)
    elif operator.builtinOptions is not None:
        target = np.array(operator.builtinOptions.newShape, np.int32)
    if target is None or int(target[-1]) not in (count, -1):
        raise ForgeError(f"scores are reshaped to {target}; expected {count} columns, one a class")
    target[-1] = kept
    constant = flatbuffer.add_tensor(
        model, f"kept_{int(operator.outputs[0])}", target.shape, schema.TensorType.INT32, target.astype("<i4").tobytes()
    )
    operator.inputs = np.array([operator.inputs[0], constant], np.int32)
    if operator.builtinOptions is not None:
        operator.builtinOptions.newShape = target


def _slice_head(model: Any, operator: Any, output: int, count: int, columns: Sequence[int], done: set[int]) -> None:
    """Leave channels out of a class convolution: of every anchor of a cell the same columns."""
    graph = model.subgraphs[0]
    channels = int(graph.tensors[output].shape[-1])
    if channels % count:
        raise ForgeError(f"a class convolution gives {channels} channels; expected a multiple of {count}")
    rows = [anchor * count + column for anchor in range(channels // count) for column in columns]
    _set_last(graph.tensors[output], len(rows))
    for index in (int(i) for i in operator.inputs[1:3]):
        if index in done:  # a head that all levels share
            continue
        done.add(index)
        values = np.ascontiguousarray(flatbuffer.real_values(model, index)[rows])
        flatbuffer.set_values(model, index, values)
        graph.tensors[index].shape = np.array(values.shape, np.int32)


def _set_last(tensor: Any, side: int) -> None:
    """Another last dimension."""
    shape = np.array(tensor.shape, np.int32)
    shape[-1] = side
    tensor.shape = shape
    if tensor.shapeSignature is not None and len(tensor.shapeSignature):
        signature = np.array(tensor.shapeSignature, np.int32)
        signature[-1] = side
        tensor.shapeSignature = signature
