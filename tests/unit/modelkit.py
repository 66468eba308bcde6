"""Tiny real .tflite files, built byte by byte, for tests.

    path = quadrants(tmp_path, dtype="int8")       # a detector that finds coloured quadrants

The quadrant network looks at the mean colour of the four quarters of a 16 x 16 picture (one average
pooling). Red is the background's score, green that of class 0, blue that of class 1; the anchors
are the quarters. So what a picture must give can be said without running anything.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int16": 7, "int8": 9}
ADD, AVERAGE_POOL_2D, DEQUANTIZE, LOGISTIC, RESHAPE, SOFTMAX, CUSTOM = 0, 1, 6, 14, 22, 25, 32
TRANSPOSE, STRIDED_SLICE = 39, 45
POOL_OPTIONS, SOFTMAX_OPTIONS = 5, 9  # union BuiltinOptions

SIDE = 16
QUARTERS = [(0.25, 0.25, 0.5, 0.5), (0.25, 0.75, 0.5, 0.5), (0.75, 0.25, 0.5, 0.5), (0.75, 0.75, 0.5, 0.5)]
"""Anchors (ycenter, xcenter, height, width): top left, top right, bottom left, bottom right."""

_SLOTS = {
    "b": "PrependInt8Slot",
    "B": "PrependUint8Slot",
    "i": "PrependInt32Slot",
    "I": "PrependUint32Slot",
    "f": "PrependFloat32Slot",
    "Q": "PrependUint64Slot",
}
_ITEMS = {
    "i": (4, "PrependInt32"),
    "I": (4, "PrependUint32"),
    "f": (4, "PrependFloat32"),
    "q": (8, "PrependInt64"),
}

Fields = Mapping[int, tuple[Any, ...]]
"""Field number -> ("i", 5), ("str", text), ("bytes", data), ("vec", "i", items), ("table", fields) or
("tables", [fields])."""


def _write(builder: Any, fields: Fields) -> int:
    offsets: dict[int, int] = {}
    for number, (kind, *value) in fields.items():
        if kind == "str":
            offsets[number] = builder.CreateString(value[0])
        elif kind == "bytes":
            builder.StartVector(1, len(value[0]), 16)
            builder.head = builder.Head() - len(value[0])
            builder.Bytes[builder.Head() : builder.Head() + len(value[0])] = value[0]
            offsets[number] = builder.EndVector()
        elif kind == "vec":
            size, prepend = _ITEMS[value[0]]
            builder.StartVector(size, len(value[1]), size)
            for item in reversed(value[1]):
                getattr(builder, prepend)(item)
            offsets[number] = builder.EndVector()
        elif kind == "table":
            offsets[number] = _write(builder, value[0])
        elif kind == "tables":
            tables = [_write(builder, table) for table in value[0]]
            builder.StartVector(4, len(tables), 4)
            for table in reversed(tables):
                builder.PrependUOffsetTRelative(table)
            offsets[number] = builder.EndVector()
    builder.StartObject(max(fields, default=-1) + 1)
    for number, (kind, *value) in fields.items():
        if number in offsets:
            builder.PrependUOffsetTRelativeSlot(number, offsets[number], 0)
        else:
            getattr(builder, _SLOTS[kind])(number, value[0], None)
    return int(builder.EndObject())


def flatbuffer(fields: Fields, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder(4096)
    builder.Finish(_write(builder, fields), file_identifier=identifier)
    return bytes(builder.Output())


class Graph:
    """A model under construction; tensors and operators are added, `build` gives the file's bytes."""

    def __init__(self) -> None:
        self.tensors: list[Fields] = []
        self.buffers: list[bytes] = [b""]
        self.operators: list[Fields] = []
        self.codes: list[tuple[int, str]] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        data: Any = None,
        scale: float | None = None,
        zero_point: int = 0,
        signature: Sequence[int] = (),
    ) -> int:
        fields: dict[int, tuple[Any, ...]] = {
            0: ("vec", "i", list(shape)),
            1: ("b", TYPES[dtype]),
            3: ("str", name),
            2: ("I", 0),
        }
        if data is not None:
            fields[2] = ("I", len(self.buffers))
            self.buffers.append(np.asarray(data, dtype).tobytes())
        if scale is not None:
            fields[4] = ("table", {2: ("vec", "f", [scale]), 3: ("vec", "q", [zero_point])})
        if signature:
            fields[7] = ("vec", "i", list(signature))
        self.tensors.append(fields)
        return len(self.tensors) - 1

    def op(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: tuple[int, Fields] | None = None,
        custom: str = "",
        custom_options: bytes = b"",
    ) -> None:
        if (code, custom) not in self.codes:
            self.codes.append((code, custom))
        fields: dict[int, tuple[Any, ...]] = {
            0: ("I", self.codes.index((code, custom))),
            1: ("vec", "i", list(inputs)),
            2: ("vec", "i", list(outputs)),
        }
        if options is not None:
            fields |= {3: ("B", options[0]), 4: ("table", options[1])}
        if custom_options:
            fields[5] = ("bytes", custom_options)
        self.operators.append(fields)

    def build(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        signature: tuple[str, Mapping[str, int], Mapping[str, int]] | None = None,
        metadata: bytes = b"",
        archive: Mapping[str, str] | None = None,
    ) -> bytes:
        graph = {
            0: ("tables", self.tensors),
            1: ("vec", "i", list(inputs)),
            2: ("vec", "i", list(outputs)),
            3: ("tables", self.operators),
            4: ("str", "main"),
        }
        codes = []
        for code, custom in self.codes:
            fields: dict[int, tuple[Any, ...]] = {0: ("b", min(code, 127)), 2: ("i", 1), 3: ("i", code)}
            codes.append({**fields, 1: ("str", custom)} if custom else fields)
        model: dict[int, tuple[Any, ...]] = {0: ("I", 3), 1: ("tables", codes), 2: ("tables", [graph])}
        buffers = list(self.buffers)
        if metadata:
            model[6] = ("tables", [{0: ("str", "TFLITE_METADATA"), 1: ("I", len(buffers))}])
            buffers.append(metadata)
        model[4] = ("tables", [{0: ("bytes", data)} if data else {} for data in buffers])
        if signature is not None:
            key, ins, outs = signature
            maps = [[{0: ("str", name), 1: ("I", index)} for name, index in m.items()] for m in (ins, outs)]
            model[7] = ("tables", [{0: ("tables", maps[0]), 1: ("tables", maps[1]), 2: ("str", key), 4: ("I", 0)}])
        data = flatbuffer(model, b"TFL3")
        if archive:
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as file:
                for name, text in archive.items():
                    file.writestr(zipfile.ZipInfo(name), text)  # a date of its own, not today: the same file each time
            data += stream.getvalue()
        return data


def metadata(
    names: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    label_file: str = "",
    box_order: Sequence[int] = (),
) -> bytes:
    """TFLite metadata: output names, the input's normalisation, the label file's name, the boxes' order."""
    outputs = []
    for name in names:
        fields: dict[int, tuple[Any, ...]] = {0: ("str", name)}
        if name == "location" and box_order:
            fields[3] = ("table", {0: ("B", 3), 1: ("table", {0: ("vec", "I", list(box_order))})})
        if name == "category" and label_file:
            fields[6] = ("tables", [{0: ("str", label_file), 2: ("b", 3)}])
        outputs.append(fields)
    image: dict[int, tuple[Any, ...]] = {0: ("str", "image")}
    if mean:
        unit = {0: ("B", 1), 1: ("table", {0: ("vec", "f", list(mean)), 1: ("vec", "f", list(std))})}
        image[4] = ("tables", [unit])
    return flatbuffer({3: ("tables", [{2: ("tables", [image]), 3: ("tables", outputs)}])}, b"M001")


def detection_options(**changed: float) -> bytes:
    """Options of the op, as converters write them; names as in the op's source."""
    options: dict[str, float] = {
        "max_detections": 4,
        "max_classes_per_detection": 1,
        "nms_score_threshold": 0.1,
        "nms_iou_threshold": 0.5,
        "num_classes": 2,
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
        **changed,
    }
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in options.items():
            (builder.Float if isinstance(value, float) else builder.Int)(name, value)
    return bytes(builder.Finish())


def _scores(
    graph: Graph, dtype: str, scale: float, zero_point: int, nchw: bool, channels: int = 3, side: int = SIDE
) -> tuple[int, int]:
    """(input, scores [1, 4, channels]) of the quadrant network; scores have the input's type."""
    quantised: dict[str, Any] = {} if dtype == "float32" else {"scale": scale, "zero_point": zero_point}
    shape = [1, channels, side, side] if nchw else [1, side, side, channels]
    image = graph.tensor("image", shape, dtype, **quantised)
    picture = image
    if nchw:
        order = graph.tensor("order", [4], "int32", [0, 2, 3, 1])
        picture = graph.tensor("nhwc", [1, side, side, channels], dtype, **quantised)
        graph.op(TRANSPOSE, [image, order], [picture])
    pooled = graph.tensor("pooled", [1, 2, 2, channels], dtype, **quantised)
    half = side // 2
    pool = {0: ("b", 1), 1: ("i", half), 2: ("i", half), 3: ("i", half), 4: ("i", half)}
    graph.op(AVERAGE_POOL_2D, [picture], [pooled], (POOL_OPTIONS, pool))
    size = graph.tensor("size", [3], "int32", [1, 4, channels])
    scores = graph.tensor("scores", [1, 4, channels], dtype, **quantised)
    graph.op(RESHAPE, [pooled, size], [scores])
    return image, scores


def _dequantised(graph: Graph, tensor: int, shape: Sequence[int], dtype: str, name: str = "real") -> int:
    if dtype == "float32":
        return tensor
    real = graph.tensor(name, shape)
    graph.op(DEQUANTIZE, [tensor], [real])
    return real


def defaults(dtype: str) -> tuple[float, int]:
    """Scale and zero point under which the scores are the colours, 0..1."""
    return {"uint8": (1 / 255, 0), "int8": (1 / 255, -128), "int16": (1 / 32767, 0), "float32": (1.0, 0)}[dtype]


def quadrants(
    folder: Path,
    dtype: str = "uint8",
    scale: float | None = None,
    zero_point: int | None = None,
    nchw: bool = False,
    order: Sequence[int] = (0, 1, 2, 3),
    options: Mapping[str, float] | None = None,
    name: str = "quadrants.tflite",
    boxes: Sequence[Sequence[float]] | None = None,
    **build: Any,
) -> Path:
    """The quadrant detector with the post-process op; `order`: of boxes, classes, scores, count in the graph.

    `boxes`: the four box encodings (ty, tx, th, tw), zeros (the quarters themselves) by default.
    """
    graph = Graph()
    usual = defaults(dtype)
    scale, zero_point = usual[0] if scale is None else scale, usual[1] if zero_point is None else zero_point
    image, scores = _scores(graph, dtype, scale, zero_point, nchw)
    real = _dequantised(graph, scores, [1, 4, 3], dtype)
    encodings = graph.tensor("encodings", [1, 4, 4], data=np.zeros((1, 4, 4)) if boxes is None else [boxes])
    anchors = graph.tensor("anchors", [4, 4], data=QUARTERS)
    settings = dict(options or {})
    rows = int(settings.get("max_detections", 4) * settings.get("max_classes_per_detection", 1))
    found = [graph.tensor("boxes", [1, rows, 4])]
    found += [graph.tensor(what, [1, rows]) for what in ("classes", "scores_out")]
    found += [graph.tensor("count", [1])]
    graph.op(
        CUSTOM,
        [encodings, real, anchors],
        found,
        custom="TFLite_Detection_PostProcess",
        custom_options=detection_options(**settings),
    )
    path = folder / name
    path.write_bytes(graph.build([image], [found[i] for i in order], **build))
    return path


def finished(
    folder: Path,
    order: Sequence[str] = ("boxes", "classes", "scores", "count"),
    names: Mapping[str, str] | None = None,
    signature: Mapping[str, str] | None = None,
    count: float = 4,
    boxes: Any = None,
    classes: Any = (0, 1, 0, 1),
    name: str = "finished.tflite",
    **build: Any,
) -> Path:
    """Four outputs without the op: constant boxes, classes and count; scores are the quarters' green.

    `names`: role -> tensor name. `signature`: output name in the signature -> role.
    """
    graph = Graph()
    image, pooled = _scores(graph, "float32", 1.0, 0, nchw=False)
    spelt = {role: (names or {}).get(role, f"out_{at}") for at, role in enumerate(order)}
    begin, end, strides = (
        graph.tensor(what, [3], "int32", data)
        for what, data in (("begin", [0, 0, 1]), ("end", [1, 4, 2]), ("strides", [1, 1, 1]))
    )
    green = graph.tensor("green", [1, 4, 1])
    graph.op(STRIDED_SLICE, [pooled, begin, end, strides], [green], (32, {}))
    flat = graph.tensor("flat", [2], "int32", [1, 4])
    roles = {"scores": graph.tensor(spelt["scores"], [1, 4])}
    graph.op(RESHAPE, [green, flat], [roles["scores"]])
    corners = [[y - h / 2, x - w / 2, y + h / 2, x + w / 2] for y, x, h, w in QUARTERS]
    constants = {
        "boxes": ([1, 4, 4], [corners] if boxes is None else [boxes]),
        "classes": ([1, 4], [classes]),
        "count": ([1], [count]),
    }
    for role, (shape, values) in constants.items():
        given = graph.tensor(f"{role}_constant", shape, data=np.asarray(values))
        zero = graph.tensor(f"{role}_zero", shape, data=np.zeros(shape))
        roles[role] = graph.tensor(spelt[role], shape)
        graph.op(ADD, [given, zero], [roles[role]], (11, {}))
    if signature is not None:
        build["signature"] = ("serving_default", {"image": image}, {k: roles[role] for k, role in signature.items()})
    path = folder / name
    path.write_bytes(graph.build([image], [roles[role] for role in order], **build))
    return path


def raw(
    folder: Path,
    dtype: str = "float32",
    activation: int | None = None,
    swap: bool = False,
    name: str = "raw.tflite",
    **build: Any,
) -> Path:
    """No detection op: box encodings (zeros) and scores [1, 4, 3], in the input's type.

    `activation`: LOGISTIC or SOFTMAX over the scores; None gives the colours themselves.
    """
    graph = Graph()
    scale, zero_point = defaults(dtype)
    image, scores = _scores(graph, dtype, scale, zero_point, nchw=False)
    if activation is not None:
        activated = graph.tensor("activated", [1, 4, 3])
        real = _dequantised(graph, scores, [1, 4, 3], dtype)
        options = (SOFTMAX_OPTIONS, {0: ("f", 1.0)}) if activation == SOFTMAX else None
        graph.op(activation, [real], [activated], options)
        scores = activated
    quantised: dict[str, Any] = {} if dtype == "float32" else {"scale": 0.1, "zero_point": 0}
    given = graph.tensor("given", [1, 4, 4], dtype, data=np.zeros((1, 4, 4)), **quantised)
    size = graph.tensor("box_size", [3], "int32", [1, 4, 4])
    boxes = graph.tensor("box_encodings", [1, 4, 4], dtype, **quantised)
    graph.op(RESHAPE, [given, size], [boxes])
    path = folder / name
    path.write_bytes(graph.build([image], [scores, boxes] if swap else [boxes, scores], **build))
    return path


def classifier(folder: Path, name: str = "classifier.tflite") -> Path:
    """One output of 12 scores."""
    graph = Graph()
    image, scores = _scores(graph, "float32", 1.0, 0, nchw=False)
    size = graph.tensor("flat", [2], "int32", [1, 12])
    out = graph.tensor("scores_out", [1, 12])
    graph.op(RESHAPE, [scores, size], [out])
    path = folder / name
    path.write_bytes(graph.build([image], [out]))
    return path


def image(colors: Sequence[tuple[int, int, int]], side: int = SIDE) -> np.ndarray:
    """A picture (side, side, 3) uint8 in RGB with the given colours in its four quarters."""
    picture = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    for at, color in enumerate(colors):
        y, x = at // 2 * half, at % 2 * half
        picture[y : y + half, x : x + half] = color
    return picture


def without_postprocess(source: Path, folder: Path, name: str = "raw_coco.tflite") -> tuple[Path, np.ndarray]:
    """A copy of a model that ends where its detection op began, and the anchors that op had.

    Patched in place, so the weights are byte for byte those of the source; the op must be the last.
    """
    from vigild.detector import facts
    from vigild.detector.flatbuffer import Table

    data = bytearray(source.read_bytes())
    model = Table.root(memoryview(bytes(data)))
    graph = model.tables(2)[0]
    operators = graph.tables(3)
    boxes, scores, anchors = operators[-1].vector(1, "i")
    buffer = model.tables(4)[graph.tables(0)[anchors].scalar(2, "I")]
    tensor = facts.read(memoryview(bytes(data))).tensors[anchors]
    table = np.frombuffer(bytes(buffer.bytes_at(0)), tensor.dtype).reshape(-1, 4).astype(np.float64)
    if tensor.scale:
        table = (table - tensor.zero_point[0]) * tensor.scale[0]

    def patch(number: int, values: Sequence[int]) -> None:
        start = graph._follow(number)
        data[start : start + 4 + 4 * len(values)] = np.array([len(values), *values], "<i4").tobytes()

    patch(2, [boxes, scores])
    start = graph._follow(3)
    data[start : start + 4] = np.array([len(operators) - 1], "<i4").tobytes()
    path = folder / name
    path.write_bytes(data)
    return path, table
