"""From what the outputs mean to the function that decodes them, and the names of the classes."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vigild.catalogue.decoding import Decoding, SsdAnchors
from vigild.config.schema import ModelConfig
from vigild.detector import anchors, labels
from vigild.detector.decode_anchors import Activation, AnchorDecoder, RawOutput
from vigild.detector.decode_postprocess import PostProcessDecoder, Read, Unit
from vigild.detector.errors import ModelError
from vigild.detector.facts import LOGISTIC, SOFTMAX, ModelFacts
from vigild.detector.interpreter import Interpreter
from vigild.detector.outputs import PostProcessLayout, RawLayout
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.messages import RawDetection
from vigild.log import logger
from vigild.tensor import TensorSpec

log = logger("detector")


class Decode(Protocol):
    """Output tensors to detections: (best first, whether max_results cut some off). Raises BadOutput."""

    def __call__(self, view: View, selection: Selection, /) -> tuple[list[RawDetection], bool]: ...


def build(
    config: ModelConfig,
    path: str,
    content: str,
    facts: ModelFacts,
    layout: PostProcessLayout | RawLayout,
    spec: TensorSpec,
    interpreter: Interpreter,
    described: Decoding | None = None,
) -> tuple[list[str], Decode, list[str]]:
    """(labels, decoder, what was decided and why). Raises ModelError ("labels…", "anchors").

    `path`: the model's file, beside which its anchors may lie; `content`: what of it was checked. `described`: what the
    manifest says of anchors and encodings.
    """
    if isinstance(layout, PostProcessLayout):
        classes = facts.postprocess.num_classes if facts.postprocess is not None else 0
        names, note = _labels(config, content, facts, classes)
        unit = Unit(spec.width, spec.height, log.warning)
        decode = PostProcessDecoder(layout, lambda index: _reader(interpreter, facts, index), unit)
        return names, decode, [note]
    return _build_raw(config, path, content, facts, layout, spec, interpreter, described)


def _reader(interpreter: Interpreter, facts: ModelFacts, index: int) -> Read:
    """Reads an output as real values: floats as they are, integers by their scale and zero point."""
    output = _raw_output(interpreter, facts, index)
    view = output.view
    if facts.tensors[index].dtype == "float32":
        return lambda: view().ravel().tolist()
    scale, zero_point = np.float32(output.scale), np.float32(output.zero_point)
    return lambda: ((view().ravel() - zero_point) * scale).tolist()


def _raw_output(interpreter: Interpreter, facts: ModelFacts, index: int) -> RawOutput:
    tensor = facts.tensors[index]
    if tensor.dtype == "float32" or not (tensor.scale and tensor.zero_point):
        return RawOutput(interpreter.view(index), 1.0, 0)
    return RawOutput(interpreter.view(index), tensor.scale[0], tensor.zero_point[0])


def _build_raw(
    config: ModelConfig,
    path: str,
    content: str,
    facts: ModelFacts,
    layout: RawLayout,
    spec: TensorSpec,
    interpreter: Interpreter,
    described: Decoding | None,
) -> tuple[list[str], Decode, list[str]]:
    decoding, origin = _decoding(path, layout, spec, described)
    table = anchors.anchors(decoding, spec.width, spec.height)
    if len(table) != layout.anchors:
        raise ModelError(
            "anchors", f"The model has {layout.anchors} encoded boxes, but {origin} gives {len(table)} anchors."
        )
    background, names, labels_note = _classes(config, content, facts, layout, decoding)
    activation, activation_note = _activation(facts, layout, decoding)
    decode = AnchorDecoder(
        _raw_output(interpreter, facts, layout.boxes),
        _raw_output(interpreter, facts, layout.scores),
        table,
        decoding,
        activation,
        background,
    )
    column = "column 0 is the background" if background else "no background column"
    return names, decode, [f"anchors: {len(table)} from {origin}", f"scores: {activation_note}, {column}", labels_note]


def _decoding(path: str, layout: RawLayout, spec: TensorSpec, described: Decoding | None) -> tuple[Decoding, str]:
    beside = anchors.sidecar(path)
    if beside is not None:
        return beside, "the file beside the model"
    if described is not None:
        return described, "the manifest"
    usual = Decoding(ssd=SsdAnchors())
    if len(anchors.anchors(usual, spec.width, spec.height)) == layout.anchors:
        return usual, "the generator of the TensorFlow SSD-MobileNets"
    raise ModelError(
        "anchors",
        f"The model gives {layout.anchors} encoded boxes without a detection op, and its anchors are unknown; describe "
        f"them in {path}.anchors.json, or bring the model with TFLite_Detection_PostProcess.",
    )


def _activation(facts: ModelFacts, layout: RawLayout, decoding: Decoding) -> tuple[Activation, str]:
    if decoding.scores != "auto":
        return decoding.scores, f"{decoding.scores} as described"
    last = facts.ends_in(layout.scores)
    if last in (LOGISTIC, SOFTMAX):
        return "probabilities", f"probabilities, as the graph ends in a {'sigmoid' if last == LOGISTIC else 'softmax'}"
    tensor = facts.tensors[layout.scores]
    limits = {"uint8": (0, 255), "int8": (-128, 127)}.get(tensor.dtype)
    if limits and tensor.scale and tensor.zero_point:
        low, high = (tensor.scale[0] * (limit - tensor.zero_point[0]) for limit in limits)
        if low > -0.01 and high < 1.01:
            return "probabilities", "probabilities, as their quantisation reaches from 0 to 1"
    return "sigmoid", "logits, as the graph ends in neither sigmoid nor softmax; a sigmoid is applied"


def _classes(
    config: ModelConfig, content: str, facts: ModelFacts, layout: RawLayout, decoding: Decoding
) -> tuple[bool, list[str], str]:
    """(whether column 0 is the background, labels, note): by description, by the labels, by TensorFlow's custom."""
    columns = layout.classes
    if decoding.background is not None or columns == 1:
        background = bool(decoding.background) and columns > 1
        return (background, *_labels(config, content, facts, columns - background))
    given = config.labels is not None or (facts.metadata is not None and _label_files(facts))
    if given:
        try:
            return (True, *_labels(config, content, facts, columns - 1))
        except ModelError as error:
            if error.code != "labels_mismatch":
                raise
        return (False, *_labels(config, content, facts, columns))
    return (True, *_labels(config, content, facts, columns - 1))


def _label_files(facts: ModelFacts) -> list[str]:
    return [name for tensor in (facts.metadata.outputs if facts.metadata else ()) for name in tensor.label_files]


def _labels(config: ModelConfig, content: str, facts: ModelFacts, classes: int) -> tuple[list[str], str]:
    if config.labels is not None:
        names, how = labels.read_file(config.labels, classes)
        return names, f"labels: {len(names)} from {config.labels} ({how})"
    try:
        found = labels.from_archive(content, _label_files(facts), classes)
    except ModelError as error:
        facts.warnings.append(f"labels inside the model are not used: {error.message}")
        found = None
    if found is not None:
        return found[0], f"labels: {len(found[0])} from {found[1]}"
    return [f"class_{i}" for i in range(classes)], "labels: none given, so class_0, class_1, ..."
