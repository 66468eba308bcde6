"""An old model, float or quantised, to signed int8 per channel, which runs fastest and loses least.

made = requantize(open_source(Path("uint8.tflite")), pictures, Choice())
made.data, made.notes

8-bit weights stay on their old grid where int8 has room for it, so that they are the same numbers as
before. What helps and what does not is measured in docs/requantize.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from forge.errors import ForgeError
from forge.model.dequantize import dequantize
from forge.model.source import Source
from forge.pictures import spread
from forge.progress import Progress, counted
from forge.quantization.bias_correction import correct
from forge.quantization.calibrate import Image, int8_input, observe, ranges
from forge.quantization.range_search import METHODS
from forge.quantization.static_int8 import static_int8, weight_ranges
from forge.tflite import flatbuffer
from forge.tflite.dead_channels import CHANNEL_AXIS, revive
from forge.tflite.metadata import Card, set_description, write_with_labels
from forge.tflite.postprocess import find_postprocess
from vigild.tensor import TensorSpec

FROM_FILE = "file"
"""The method that keeps the ranges of a file that was quantised before."""
DEFAULT_METHOD = "percentile"
CORRECTING = 16
"""Pictures that biases are corrected over: their positions are the samples, 10,000 in a feature map of 100 x 100."""
ALL_METHODS = (FROM_FILE, *METHODS)


@dataclass(frozen=True)
class Choice:
    """How; the defaults are what was found best (docs/requantize.md)."""

    method: str = DEFAULT_METHOD
    """Of ALL_METHODS."""
    old_grid: bool = True
    """Keep 8-bit weights exactly where possible."""
    float_scores: bool = True
    """Leave the scores' last steps, concatenation and sigmoid, in float32: 256 steps make ties in the ranking."""
    float_stem: bool = True
    """Leave the first layers in float32 if a dynamic-range file has their weights so (converters spare small ones)."""
    correct_bias: bool | None = None
    """Make up for the mean error of each channel; None: unless all of the file was in 8 bits before."""


class Requantised(NamedTuple):
    data: bytes
    """The int8 .tflite, post-process op in float32, no labels yet."""
    float32: bytes
    """The same network in between."""
    spec: TensorSpec
    """Of the float32 input: its normalisation holds for the int8 one."""
    notes: list[str]
    """What was done, in words."""

    def write(self, data: bytes, path: Path, labels: tuple[str, ...] | None, card: Card) -> None:
        """Write one of the two with its labels and what the metadata says."""
        model = flatbuffer.load(data)
        if labels:
            write_with_labels(model, path, labels, card, self.spec.mean, self.spec.std)
        else:
            set_description(model, card, self.spec.mean, self.spec.std)
            flatbuffer.save(model, path)


def requantize(
    source: Source, pictures: Sequence[Image], choice: Choice, progress: Progress = lambda *_: None
) -> Requantised:
    """pictures: uint8 [H, W, 3], RGB, of the input's size, like those the cameras will see. Raises ForgeError."""
    before = source.spec.dtype
    plain = dequantize(source)
    model = plain.model
    method = choice.method
    if method == FROM_FILE and not plain.ranges:
        raise ForgeError(
            f"{source.path} has no ranges of activations to keep, as only its weights are quantised or nothing is;"
            f" choose one of {', '.join(METHODS)}"
        )
    image = int8_input(plain.spec)
    size = f"{image.width}x{image.height}"
    notes = [f"input {before} to int8, {size}, scale {image.scale:.7g}, zero point {image.zero_point}"]
    dead = revive(model)
    if dead:
        notes.append(f"{dead} channels without weights got a tiny one, so that their bias fits in 32 bits")
    float32 = flatbuffer.pack(model)
    observed = observe(float32, counted("calibrating", pictures, len(pictures), progress))
    tail = score_tail(model) if choice.float_scores else []
    stem = float_stem(model, plain.steps) if choice.float_stem else []
    kept_float = [*stem, *tail]
    qsvs = ranges(
        observed,
        DEFAULT_METHOD if method == FROM_FILE else method,
        plain.ranges if method == FROM_FILE else None,
        kept_float,
    )
    notes.append(f"ranges of activations: {method}, over {observed.pictures} pictures")
    if choice.old_grid:
        old = weight_ranges(model, plain.steps)
        qsvs |= old
        if old:
            notes.append(f"weights of {len(old)} layers stay on their old grid")
    if stem:
        notes.append(f"in float32, as in the file: the first {len(stem)} layers")
    if tail:
        notes.append(f"in float32: {len(tail)} operators between the class heads and the post-process op")
    wanted = not plain.ranges if choice.correct_bias is None else choice.correct_bias
    if wanted:
        few = spread(pictures, CORRECTING)
        count = correct(model, plain.spec, qsvs, few, keep_float=kept_float, progress=progress)
        notes.append(f"biases of {count} layers corrected, over {len(few)} pictures")
    data = static_int8(flatbuffer.pack(model), qsvs, keep_float=kept_float)
    return Requantised(data, float32, plain.spec, notes)


def float_stem(model: Any, steps: Collection[str]) -> list[str]:
    """Outputs of the first convolutions, up to one whose weights the file has in 8 bits; of a float file: none."""
    graph = model.subgraphs[0]
    stem: list[str] = []
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in CHANNEL_AXIS:
            if graph.tensors[operator.inputs[1]].name.decode() in steps:
                return stem
            stem.append(graph.tensors[operator.outputs[0]].name.decode())
    return []


def score_tail(model: Any) -> list[str]:
    """Outputs of the operators that only gather and squash the scores in front of the post-process op."""
    operator = find_postprocess(model)
    if operator is None:
        return []
    graph = model.subgraphs[0]
    made_by = {int(output): op for op in graph.operators for output in op.outputs}
    tail: list[str] = []
    tensor = int(operator.inputs[1])
    while tensor in made_by:
        maker = made_by[tensor]
        code = model.operatorCodes[maker.opcodeIndex].builtinCode
        if code not in (schema.BuiltinOperator.LOGISTIC, schema.BuiltinOperator.CONCATENATION):
            break
        tail.append(graph.tensors[tensor].name.decode())
        tensor = int(maker.inputs[0])
    return tail
