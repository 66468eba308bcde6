"""What a model's outputs mean, decided once at load.

    layout = decide(facts, shapes)         # PostProcessLayout or RawLayout
    layout.why                             # for the log

By meaning, never by position alone. In order: the detection op itself (its outputs are boxes,
classes, scores, count whatever order the graph lists them in), names in the metadata, names in the
signature, tensor names, and last the shapes with the two orders TensorFlow's exporters used.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vigild.detector.errors import ModelError
from vigild.detector.facts import ModelFacts

Shape = tuple[int, ...]


class PostProcessLayout(msgspec.Struct, frozen=True):
    """Finished detections: tensor indexes of boxes [1, K, 4], classes [1, K], scores [1, K], count [1]."""

    boxes: int
    classes: int
    scores: int
    count: int
    rows_per_count: int
    """Rows that one unit of the count stands for (max_classes_per_detection)."""
    box_order: tuple[int, int, int, int]
    """Positions of xmin, ymin, xmax, ymax in a row; the op writes ymin, xmin, ymax, xmax."""
    why: str
    warning: str = ""


class RawLayout(msgspec.Struct, frozen=True):
    """Encoded boxes [1, anchors, 4] and class scores [1, anchors, classes]."""

    boxes: int
    scores: int
    anchors: int
    classes: int
    """Columns of the scores, the background's (if any) included."""
    why: str


YXYX = (1, 0, 3, 2)

_META_NAMES = {"location": "boxes", "category": "classes", "score": "scores", "number of detections": "count"}
"""MediaPipe's names for the four outputs."""
_NAMES = {
    "detection_boxes": "boxes",
    "detection_classes": "classes",
    "detection_scores": "scores",
    "num_detections": "count",
}
"""TF object detection API's names."""
_OP_SUFFIX = {"": "boxes", ":1": "classes", ":2": "scores", ":3": "count"}
"""TFLite_Detection_PostProcess:N names the op's output N."""
_CALL_SUFFIX = {":0": "count", ":1": "scores", ":2": "classes", ":3": "boxes"}
_TF2_OUTPUTS = {"output_0": "count", "output_1": "scores", "output_2": "classes", "output_3": "boxes"}
"""How TF2's exporter names them (tensorflow#44481; pycoral's get_objects relies on the same)."""


def decide(facts: ModelFacts, shapes: Mapping[int, Shape]) -> PostProcessLayout | RawLayout:
    """`shapes`: of the output tensors after an invoke. Raises ModelError ("classifier", "outputs")."""
    op = facts.postprocess
    if op is not None and set(op.outputs) <= set(facts.outputs):
        why = f"outputs: finished detections by the op {_order(op.outputs, facts.outputs)}"
        boxes, classes, scores, count = op.outputs
        return PostProcessLayout(boxes, classes, scores, count, op.classes_per_detection, YXYX, why)
    if len(facts.outputs) == 4:
        return _four(facts, shapes)
    if len(facts.outputs) == 2:
        return _two(facts, shapes)
    raise _refusal(facts, shapes)


def _order(op_outputs: tuple[int, ...], graph_outputs: tuple[int, ...]) -> str:
    names = dict(zip(op_outputs, ("boxes", "classes", "scores", "count"), strict=True))
    return f"TFLite_Detection_PostProcess, graph order {', '.join(names.get(i, '-') for i in graph_outputs)}"


def _four(facts: ModelFacts, shapes: Mapping[int, Shape]) -> PostProcessLayout:
    box_order = YXYX
    described = facts.metadata.outputs if facts.metadata else ()
    if len(described) == 4:
        for tensor in described:
            if len(tensor.box_order) == 4 and sorted(tensor.box_order) == [0, 1, 2, 3]:
                left, top, right, bottom = (tensor.box_order.index(i) for i in range(4))
                box_order = (left, top, right, bottom)
    candidates: list[tuple[str, dict[str, int]]] = [
        (
            "the metadata's names",
            _named(_META_NAMES, zip((t.name.strip().lower() for t in described), facts.outputs, strict=False)),
        ),
    ]
    for signature in facts.signatures:
        lowered = [(name.lower(), index) for name, index in signature.outputs.items()]
        candidates.append((f"signature {signature.key!r}", _named(_NAMES, lowered)))
        candidates.append((f"signature {signature.key!r} in TF2 order", _named(_TF2_OUTPUTS, lowered)))
    names = [(facts.tensors[i].name, i) for i in facts.outputs]
    candidates.append(("tensor names", _named(_NAMES, ((n.lower().split(":")[0].split("/")[-1], i) for n, i in names))))
    for prefix, suffixes in (("TFLite_Detection_PostProcess", _OP_SUFFIX), ("StatefulPartitionedCall", _CALL_SUFFIX)):
        found = ((name[len(prefix) :], i) for name, i in names if name.startswith(prefix))
        candidates.append((f"tensor names {prefix}:N", _named(suffixes, found)))
    for origin, found_roles in candidates:
        if len(found_roles) == 4 and _fits(found_roles, shapes):
            return _layout(found_roles, box_order, f"outputs: finished detections by {origin}")
    return _by_shape(facts, shapes, box_order)


def _named(roles: Mapping[str, str], names: object) -> dict[str, int]:
    return {roles[name]: index for name, index in names if name in roles}  # type: ignore[attr-defined]


def _rows(shape: Shape) -> int:
    """K of [1, K] or [K]; 0 when it is neither."""
    return shape[-1] if len(shape) == 1 or (len(shape) == 2 and shape[0] == 1) else 0


def _is_boxes(shape: Shape) -> bool:
    return len(shape) in (2, 3) and shape[-1] == 4 and (len(shape) == 2 or shape[0] == 1)


def _is_count(shape: Shape) -> bool:
    return all(dim == 1 for dim in shape)


def _fits(roles: Mapping[str, int], shapes: Mapping[int, Shape]) -> bool:
    if not shapes.keys() >= set(roles.values()):  # a signature may name any tensor
        return False
    boxes = shapes[roles["boxes"]]
    rows = boxes[-2] if _is_boxes(boxes) else 0
    same = _rows(shapes[roles["classes"]]) == _rows(shapes[roles["scores"]]) == rows
    return rows > 0 and same and _is_count(shapes[roles["count"]])


def _layout(
    roles: Mapping[str, int], order: tuple[int, int, int, int], why: str, warning: str = ""
) -> PostProcessLayout:
    return PostProcessLayout(roles["boxes"], roles["classes"], roles["scores"], roles["count"], 1, order, why, warning)


def _by_shape(facts: ModelFacts, shapes: Mapping[int, Shape], order: tuple[int, int, int, int]) -> PostProcessLayout:
    first, second, third, fourth = facts.outputs
    tf1 = {"boxes": first, "classes": second, "scores": third, "count": fourth}
    tf2 = {"scores": first, "boxes": second, "count": third, "classes": fourth}
    for name, roles in (("TF1", tf1), ("TF2", tf2)):
        if _fits(roles, shapes):
            why = f"outputs: finished detections by their shapes, which have the {name} exporter's order"
            return _layout(roles, order, why, f"{why}; nothing in the file names them, so compare a picture")
    raise _refusal(facts, shapes)


def _two(facts: ModelFacts, shapes: Mapping[int, Shape]) -> RawLayout:
    """Boxes are the one whose last dimension is 4; with four classes both are, and names decide."""
    options = []
    for boxes, scores in (facts.outputs, facts.outputs[::-1]):
        box, score = shapes[boxes], shapes[scores]
        if _is_boxes(box) and len(score) in (2, 3) and score[:-1] == box[:-1] and box[-2] > 1:
            options.append((boxes, scores))
    if len(options) == 2:
        named = [
            o for o in options if "box" in facts.tensors[o[0]].name.lower() or "loc" in facts.tensors[o[0]].name.lower()
        ]
        options = named if len(named) == 1 else options[:1]
    if not options:
        raise _refusal(facts, shapes)
    boxes, scores = options[0]
    anchors, classes = shapes[boxes][-2], shapes[scores][-1]
    return RawLayout(
        boxes, scores, anchors, classes, f"outputs: {anchors} encoded boxes and {classes} scores each, no detection op"
    )


def _refusal(facts: ModelFacts, shapes: Mapping[int, Shape]) -> ModelError:
    spelt = ", ".join(f"{facts.tensors[i].name!r} {list(shapes[i])}" for i in facts.outputs[:6])
    if len(facts.outputs) == 1 and len([d for d in shapes[facts.outputs[0]] if d != 1]) <= 1:
        count = max(shapes[facts.outputs[0]], default=1)
        return ModelError(
            "classifier",
            f"The model is a classifier: its one output {spelt} gives {count} class scores and no boxes; "
            "bring an SSD detector (boxes, classes, scores, count; or encoded boxes and scores).",
        )
    return ModelError(
        "outputs",
        f"The model's {len(facts.outputs)} outputs ({spelt}) are none an SSD detector has; expected boxes, classes, "
        "scores and count, or encoded boxes and class scores with anchors.",
    )
