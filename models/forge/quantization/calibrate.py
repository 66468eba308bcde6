"""Which ranges the activations of a float32 model take over pictures, for static quantisation.

observed = observe(Path("float32.tflite"), pictures)
qsvs = ranges(observed, "mse")                    # for ai_edge_quantizer: Quantizer.quantize(qsvs)

One picture at a time, and a histogram for each tensor: 100 MB instead of the quantizer's own 4 GB.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from forge.errors import ForgeError
from forge.model.source import open_source, read_source
from forge.quantization.histogram import Histogram
from forge.quantization.range_search import METHODS, Range
from vigild.camera.convert import value_table
from vigild.tensor import TensorSpec

Image = NDArray[np.uint8]
"""uint8 [S, S, 3], RGB, already of the input's size."""

Qsvs = dict[str, dict[str, NDArray[np.float32]]]
"""Tensor name to "min" and "max", as ai-edge-quantizer takes them."""

_Op = schema.BuiltinOperator
_SAME_SCALE = {
    _Op.RESHAPE, _Op.CONCATENATION, _Op.PACK, _Op.SQUEEZE, _Op.EXPAND_DIMS, _Op.TRANSPOSE, _Op.STRIDED_SLICE,
    _Op.SLICE, _Op.SPLIT, _Op.PAD, _Op.MAX_POOL_2D, _Op.AVERAGE_POOL_2D, _Op.RESIZE_NEAREST_NEIGHBOR,
    _Op.RESIZE_BILINEAR, _Op.GATHER, _Op.BROADCAST_TO, _Op.TILE,
}  # fmt: skip
"""Operators that move values: their int8 kernels want one scale for what goes in and what comes out."""

# Real -1 .. 127/128 in 256 steps: scale 1/128, zero point 0, so that an int8 tensor holds pixel - 128.
_RAW_BYTES: Range = (-1.0, 127.0 / 128.0)
_ONE_COUNT = 1.001 / 128.0


@dataclass(frozen=True)
class Observed:
    """What the computed tensors of a model held."""

    histograms: dict[str, Histogram]
    """By tensor name."""
    shapes: dict[str, int]
    """Number of dimensions, by tensor name."""
    moves: list[list[str]]
    """For each operator that only moves values: the names of its output and inputs, which share one range."""
    fixed: dict[str, Range]
    """The input, whose range follows from the pixels and not from the pictures."""
    pictures: int


def tensor_of(spec: TensorSpec, picture: Image) -> NDArray[Any]:
    """[1, S, S, 3] (or [1, 3, S, S]), of the spec's dtype, of a picture that has the input's size."""
    if picture.shape != (spec.height, spec.width, 3):
        raise ForgeError(f"a calibration picture is {picture.shape}; the model takes {spec.height}x{spec.width}x3")
    values = value_table(spec)[picture, np.arange(3)]
    return np.ascontiguousarray((values.transpose(2, 0, 1) if spec.layout == "NCHW" else values)[None])


def computed(model: Any) -> Iterator[tuple[int, str]]:
    """(index, name) of the float32 tensors that operators write, and of the input; not those of the post-process op."""
    graph = model.subgraphs[0]
    written = [int(i) for i in graph.inputs]
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode != _Op.CUSTOM:
            written += [int(i) for i in operator.outputs]
    for index in written:
        tensor = graph.tensors[index]
        if tensor.type == schema.TensorType.FLOAT32:
            yield index, tensor.name.decode()


def watching(model: Path | bytes) -> Interpreter:
    """An interpreter whose every tensor can be read after invoke()."""
    content = model if isinstance(model, bytes) else model.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that keeping all tensors takes: it is the purpose
        interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def observe(model: Path | bytes, pictures: Iterable[Image]) -> Observed:
    """Run the float32 model over the pictures, normalised as its file says (else as the SSD-MobileNets are).

    Raises ForgeError for a model that is not float32, and without a picture.
    """
    source = read_source(model) if isinstance(model, bytes) else open_source(model)
    if source.spec.dtype != "float32":
        raise ForgeError(
            f"{source.path} takes {source.spec.dtype}; only a float32 model can be calibrated: dequantise it"
        )
    tensors = list(computed(source.model))
    histograms = {name: Histogram() for _, name in tensors}
    interpreter = watching(model)
    image = interpreter.get_input_details()[0]["index"]
    count = 0
    for count, picture in enumerate(pictures, 1):  # noqa: B007
        interpreter.set_tensor(image, tensor_of(source.spec, picture))
        interpreter.invoke()
        for index, name in tensors:
            histograms[name].add(interpreter.get_tensor(index))
    if not count:
        raise ForgeError("there is no picture to calibrate with; bring some tens of what the camera will see")
    graph = source.model.subgraphs[0]
    return Observed(
        histograms,
        {name: len(graph.tensors[index].shape) for index, name in tensors},
        _moves(source.model, histograms),
        {graph.tensors[graph.inputs[0]].name.decode(): input_range(source.spec)},
        count,
    )


def ranges(
    observed: Observed,
    method: str = "min_max",
    given: Mapping[str, Range] | None = None,
    keep_float: Collection[str] = (),
) -> Qsvs:
    """A range for every tensor, by a method of `range_search.METHODS`.

    given: ranges that are known for some tensors, from a file that was quantised before; they win.
    keep_float: outputs of operators that will stay float32 and so do not tie their inputs to one range.
    """
    if method not in METHODS:
        raise ForgeError(f"there is no range search {method!r}; there are {', '.join(METHODS)}")
    search = METHODS[method]
    found: dict[str, Range] = {}
    for names in _together(observed, keep_float):
        known = [given[name] for name in names if given and name in given]
        if known:
            group = min(low for low, _ in known), max(high for _, high in known)
        else:
            whole = Histogram()
            for name in names:
                whole.merge(observed.histograms[name])
            group = search(whole)
        found |= dict.fromkeys(names, group)
    found |= observed.fixed
    return {
        name: {
            "min": np.full((1,) * observed.shapes[name], low, np.float32),
            "max": np.full((1,) * observed.shapes[name], high, np.float32),
        }
        for name, (low, high) in found.items()
    }


def input_range(spec: TensorSpec) -> Range:
    """What the input's 256 steps hold: raw bytes where that is the normalisation to within one count."""
    low = min((0 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    high = max((255 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    if abs(low - _RAW_BYTES[0]) <= _ONE_COUNT and abs(high - _RAW_BYTES[1]) <= _ONE_COUNT:
        return _RAW_BYTES
    return min(low, 0.0), max(high, 0.0)


def int8_input(spec: TensorSpec) -> TensorSpec:
    """The input of the int8 model that is made from a float32 one."""
    low, high = input_range(spec)
    scale = (high - low) / 255
    if (low, high) == _RAW_BYTES:
        return msgspec.structs.replace(spec, dtype="int8", mean=(128.0,) * 3, std=(128.0,) * 3, scale=scale)
    return msgspec.structs.replace(spec, dtype="int8", scale=scale, zero_point=round(-128 - low / scale))


def _moves(model: Any, histograms: Mapping[str, Histogram]) -> list[list[str]]:
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in _SAME_SCALE:
            names = [graph.tensors[i].name.decode() for i in (*operator.outputs, *operator.inputs) if i >= 0]
            found.append([name for name in names if name in histograms])
    return found


def _together(observed: Observed, apart: Collection[str]) -> list[list[str]]:
    """All names in groups that share a range; most groups have one name."""
    group = {name: [name] for name in observed.histograms}
    for names in observed.moves:
        if names[0] in apart:
            continue
        for name in names[1:]:
            first, other = group[names[0]], group[name]
            if first is not other:
                first += other
                for moved in other:
                    group[moved] = first
    unique = {id(names): names for names in group.values()}
    return list(unique.values())
