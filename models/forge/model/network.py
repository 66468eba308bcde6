"""A detector to make variants of: one float32 network, cut in front of the post-process op, and what belongs to it.

    network = open_network(Path("in.tflite"))
    network.data            # bytes of a .tflite: float32 image to box codes [1, A, 4] and scores [1, A, C]

Any SSD that the daemon runs comes in: with or without the op, float or quantised, which is dequantised.
Labels, normalisation and anchors are found as the daemon finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.errors import ForgeError
from forge.model.dequantize import dequantize
from forge.model.source import Triple, card_of, labels_of, open_source
from forge.tflite import flatbuffer
from forge.tflite.metadata import Card, set_description
from forge.tflite.postprocess import PostProcess, find_postprocess, take_postprocess
from vigild.catalogue.decoding import Decoding
from vigild.detector import anchors as anchor_tables
from vigild.detector.errors import ModelError
from vigild.tensor import TensorSpec


@dataclass(frozen=True)
class Network:
    """The float32 network and everything a file made of it needs."""

    data: bytes
    """A .tflite with one signature (flatbuffer.SIGNATURE): args_0, the image, float32 [1, H, W, 3], to
    output_0, box codes [1, A, 4], and output_1, scores [1, A, C] (0..1)."""
    spec: TensorSpec
    """Of the image: size and normalisation."""
    anchors: NDArray[np.float32]
    """[A, 4]: centre y, centre x, height, width, relative."""
    postprocess: PostProcess
    labels: tuple[str, ...]
    """Without background."""
    card: Card
    """What the file it came from says about itself."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Tensor to the range that a quantised file was trained with; empty for a float file."""
    steps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Weights that were 8 bits wide to the steps of their old grid."""


def open_network(
    path: Path, labels: Path | None = None, mean: Triple | None = None, std: Triple | None = None
) -> Network:
    """Read `path`. labels, mean, std: instead of those inside it. Raises ForgeError."""
    source = open_source(path, mean, std)
    names = labels_of(source, labels)
    if names is None:
        raise ForgeError(f"{path} has no labels inside; name a label file with --labels, one class a line")
    if source.spec.layout != "NHWC":
        raise ForgeError(
            f"{path} takes an {source.spec.layout} image; expected NHWC: bring the model as it was before that"
        )
    card = card_of(source, "")
    plain = dequantize(source)
    model = plain.model
    if find_postprocess(model) is not None:
        anchors, settings = take_postprocess(model)
        columns = order_outputs(model)
    else:
        columns = order_outputs(model)
        anchors, settings = _described(path, plain.spec, background=columns > len(names))
    shape = list(model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].shape)
    if shape != [1, len(anchors), 4]:
        raise ForgeError(f"{path} gives box codes {shape}, but has {len(anchors)} anchors")
    if len(names) != settings.classes(columns):
        raise ForgeError(f"{path} has {settings.classes(columns)} classes, but {len(names)} labels")
    flatbuffer.sign(model)
    model.metadata = []
    set_description(model, card, plain.spec.mean, plain.spec.std)
    flatbuffer.drop_unused(model)
    return Network(
        flatbuffer.pack(model), plain.spec, anchors, settings, names, card, ranges=plain.ranges, steps=plain.steps
    )


def _described(path: Path, spec: TensorSpec, background: bool) -> tuple[NDArray[np.float32], PostProcess]:
    """Anchors and settings of a model without the op: of the file beside it, as for the daemon."""
    try:
        decoding = anchor_tables.sidecar(str(path))
        if decoding is None:
            raise ForgeError(
                f"{path} has no TFLite_Detection_PostProcess and no {path.name}.anchors.json beside it; its anchors are"
                " unknown, so describe them there (docs/models.md)"
            )
        table = anchor_tables.anchors(decoding, spec.width, spec.height)
    except ModelError as error:
        raise ForgeError(error.message) from None
    if decoding.box_order != "yxhw" or decoding.scores not in ("auto", "probabilities"):
        raise ForgeError(
            f"{path}: boxes in {decoding.box_order} order with {decoding.scores} scores cannot be put into the"
            " post-process op; expected yxhw and probabilities"
        )
    settings = PostProcess(iou_threshold=decoding.iou_threshold, background=background, scales=decoding.scales)
    return np.asarray(table, np.float32), settings


def order_outputs(model: Any) -> int:
    """Codes first, then scores; the scores' columns. With four columns both look alike, and the order stays."""
    graph = model.subgraphs[0]
    shapes = [list(graph.tensors[i].shape) for i in graph.outputs]
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ForgeError(
            f"the outputs in front of the op are {shapes}; expected box codes [1, A, 4] and scores [1, A, classes]"
        )
    if shapes[0][2] != 4:
        graph.outputs = graph.outputs[::-1].copy()
    return int(graph.tensors[graph.outputs[1]].shape[2])


def decoding_of(network: Network) -> Decoding:
    """What a file beside a variant without the op says of its anchors."""
    return Decoding(
        explicit=[(y, x, h, w) for y, x, h, w in network.anchors.tolist()],
        scales=network.postprocess.scales,
        scores="probabilities",
        background=network.postprocess.background,
        iou_threshold=network.postprocess.iou_threshold,
    )
