"""What outputs mean is decided once, by meaning; what is stale or senseless is never reported."""

from __future__ import annotations

import modelkit
import numpy as np
import pytest
from detectorkit import detect, load_model, normalised

from vigild.catalogue.decoding import Decoding
from vigild.detector.decode_anchors import AnchorDecoder, RawOutput
from vigild.detector.decode_postprocess import PostProcessDecoder, Unit
from vigild.detector.errors import BadOutput, ModelError
from vigild.detector.outputs import PostProcessLayout
from vigild.detector.selection import Selection
from vigild.geometry import View

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
TF2 = ("scores", "boxes", "count", "classes")
ANY = ("classes", "count", "scores", "boxes")
TF2_SIGNATURE = {"output_0": "count", "output_1": "scores", "output_2": "classes", "output_3": "boxes"}
API_NAMES = {
    "boxes": "detection_boxes",
    "classes": "detection_classes",
    "scores": "detection_scores",
    "count": "num_detections",
}


def find(path, colors, **config):
    model = load_model(path, **config)
    return model, detect(model, normalised(modelkit.image(colors), model.spec))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_the_op_says_what_its_outputs_are_in_any_order(tmp_path, order):
    model, found = find(modelkit.quadrants(tmp_path, order=order), [BLACK, BLACK, BLACK, BLUE])
    assert [(d.class_, d.box) for d in found] == [(1, (0.5, 0.5, 1.0, 1.0))]
    assert "TFLite_Detection_PostProcess" in model.ready.notes[-2]


META_NAMES = {"boxes": "location", "classes": "category", "scores": "score", "count": "number of detections"}
CALL = "StatefulPartitionedCall"
CALL_NAMES = {"count": f"{CALL}:0", "scores": f"{CALL}:1", "classes": f"{CALL}:2", "boxes": f"{CALL}:3"}
OP = "TFLite_Detection_PostProcess"
OP_NAMES = {"boxes": OP, "classes": f"{OP}:1", "scores": f"{OP}:2", "count": f"{OP}:3"}


@pytest.mark.parametrize(
    ("how", "build"),
    [
        ("metadata", {"metadata": modelkit.metadata(names=[META_NAMES[role] for role in ANY])}),
        ("signature 'serving_default' in TF2 order", {"signature": TF2_SIGNATURE}),
        ("signature 'serving_default'", {"signature": {name: role for role, name in API_NAMES.items()}}),
        ("tensor names", {"names": API_NAMES}),
        (CALL, {"names": CALL_NAMES}),
        (OP, {"names": OP_NAMES}),
    ],
)
def test_names_tell_them_apart(tmp_path, how, build):
    model, found = find(modelkit.finished(tmp_path, order=ANY, **build), [BLACK, GREEN, BLACK, BLACK])
    assert [(d.class_, d.box) for d in found] == [(1, (0.5, 0.0, 1.0, 0.5))]
    assert how in model.ready.notes[-2]
    assert not any("compare a picture" in warning for warning in model.ready.warnings)


@pytest.mark.parametrize("order", [("boxes", "classes", "scores", "count"), TF2])
def test_without_names_the_shapes_decide_with_a_warning(tmp_path, order):
    model, found = find(modelkit.finished(tmp_path, order=order), [BLACK, GREEN, BLACK, BLACK])
    assert [(d.class_, d.box) for d in found] == [(1, (0.5, 0.0, 1.0, 0.5))]
    assert any("compare a picture" in warning for warning in model.ready.warnings)


def test_the_metadata_gives_the_corners_order(tmp_path):
    """Default of the op is ymin, xmin, ymax, xmax; this model writes xmin, ymin, xmax, ymax."""
    names = ["location", "category", "score", "number of detections"]
    path = modelkit.finished(
        tmp_path,
        boxes=[[0.1, 0.2, 0.3, 0.4]] * 4,
        metadata=modelkit.metadata(names=names, box_order=[0, 1, 2, 3]),
    )
    _, found = find(path, [GREEN, BLACK, BLACK, BLACK])
    assert found[0].box == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_objects_then_an_empty_scene(tmp_path):
    """The op leaves the rows of earlier frames in place; only its count says that they are old."""
    model = load_model(modelkit.quadrants(tmp_path))
    full = normalised(modelkit.image([GREEN, BLUE, GREEN, BLUE]), model.spec)
    empty = normalised(modelkit.image([RED, RED, RED, RED]), model.spec)
    one = normalised(modelkit.image([BLACK, BLACK, BLUE, BLACK]), model.spec)
    assert len(detect(model, full)) == 4
    left_over = model.interpreter.view(model.interpreter._native.get_output_details()[2]["index"])
    assert detect(model, empty) == []
    assert left_over().max() > 0.9, "this runtime clears old rows, so the test proves nothing"
    assert [d.class_ for d in detect(model, one)] == [1]


def test_several_classes_for_one_detection(tmp_path):
    """With max_classes_per_detection = 2 the count is of boxes, and each has two rows."""
    path = modelkit.quadrants(tmp_path, options={"max_classes_per_detection": 2})
    _, found = find(path, [(0, 255, 200), BLACK, BLACK, (0, 190, 255)])
    assert [(d.class_, d.box[0], round(d.score, 2)) for d in found] == [
        (0, 0.0, 1.0), (1, 0.5, 1.0), (1, 0.0, 0.78), (0, 0.5, 0.75),
    ]  # fmt: skip


def test_a_count_of_none(tmp_path):
    _, found = find(modelkit.finished(tmp_path, count=0.0), [GREEN] * 4)
    assert found == []


@pytest.mark.parametrize(
    ("count", "words"), [(float("nan"), "not a number"), (-1.0, "is -1"), (-float("inf"), "is -inf")]
)
def test_a_senseless_count_is_not_taken_for_nothing_seen(tmp_path, count, words):
    with pytest.raises(ModelError, match=words) as refused:
        load_model(modelkit.finished(tmp_path, count=count))
    assert refused.value.code == "outputs"


def test_scores_that_are_no_numbers_say_nothing():
    nan = float("nan")
    scores = [nan, nan]
    outputs = {0: [0.0, 0.0, 1.0, 1.0] * 2, 1: [0.0, 1.0], 2: scores, 3: [2.0]}
    layout = PostProcessLayout(0, 1, 2, 3, 1, (1, 0, 3, 2), "")
    decode = PostProcessDecoder(layout, lambda index: lambda: outputs[index], Unit(16, 16, pytest.fail))
    with pytest.raises(BadOutput, match="scores are not a number"):
        decode(View(), Selection([], 0.5, 10))
    scores[1] = 0.4
    assert decode(View(), Selection([], 0.5, 10)) == ([], False), "one number: it was looked, and nothing was seen"


@pytest.mark.parametrize("activation", ["probabilities", "sigmoid", "softmax"])
def test_raw_scores_that_are_no_numbers_say_nothing(activation):
    scores = np.full((1, 4, 3), np.nan, np.float32)
    boxes = RawOutput(lambda: np.zeros((1, 4, 4), np.float32), 1.0, 0)
    decoding = Decoding(explicit=list(modelkit.QUARTERS))
    anchors = np.array(modelkit.QUARTERS)
    decode = AnchorDecoder(boxes, RawOutput(lambda: scores, 1.0, 0), anchors, decoding, activation, True)
    with pytest.raises(BadOutput, match="scores are not a number"):
        decode(View(), Selection([], 0.5, 10))
    scores[0, 0] = -9.0
    assert decode(View(), Selection([], 0.9, 10)) == ([], False)


# ---- boxes in pixels of the input (16 x 16)

PIXELS = [[0, 0, 8, 8], [0, 8, 8, 16], [8, 0, 16, 8], [8, 8, 16, 16]]


def test_boxes_in_pixels_are_divided_by_the_inputs_size(tmp_path, caplog):
    _, found = find(modelkit.finished(tmp_path, boxes=PIXELS), [GREEN] * 4)
    assert [d.box for d in found] == [
        (0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0),
    ]  # fmt: skip
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "the model's boxes are in pixels" in told[0]
    assert "16x16" in told[0]


def test_the_first_box_that_counts_tells_the_unit():
    told: list[str] = []
    unit = Unit(320, 240, told.append)
    assert unit.relative((0.1, 0.2, 1.3, 1.1)) == (0.1, 0.2, 1.3, 1.1)
    assert told == []
    assert unit.relative((10.0, 20.0, 300.0, 200.0)) is None, "a relative model does not change its mind"
    assert unit.relative((10.0, 20.0, 300.0, 200.0)) is None
    assert len(told) == 1
    assert "far outside of the picture (300 times its size)" in told[0]
    unit = Unit(320, 240, told.append)
    assert unit.relative((-10.0, 24.0, 160.0, 250.0)) == (-0.03125, 0.1, 0.5, 250 / 240)
    assert unit.relative((0.0, 0.0, 1.0, 1.0)) == (0.0, 0.0, 1 / 320, 1 / 240)
    assert len(told) == 2


def test_a_frame_whose_boxes_all_lie_nowhere_is_not_taken_for_nothing_seen(tmp_path, caplog):
    far = [[0, 0, 1079, 1919]] * 4
    model = load_model(modelkit.finished(tmp_path, boxes=far))
    with pytest.raises(BadOutput, match="far outside"):
        detect(model, normalised(modelkit.image([GREEN] * 4), model.spec))
    assert detect(model, normalised(modelkit.image([BLACK] * 4), model.spec)) == []
    assert [record.getMessage()[:47] for record in caplog.records] == [
        "boxes of the model lie far outside of the pictur"[:47]
    ]


def test_boxes_of_an_unknown_unit_are_left_out_and_told():
    told: list[str] = []
    unit = Unit(320, 240, told.append)
    assert [unit.relative((0.0, 0.0, 1919.0, 1079.0)) for _ in range(3)] == [None] * 3
    assert len(told) == 1
    assert "pixels of the input, 320x240" in told[0]
    assert unit.relative((0.0, 0.0, 0.0, 0.0)) == (0.0, 0.0, 0.0, 0.0), "says nothing"


def test_a_count_beyond_the_rows_ends_with_them(tmp_path):
    _, found = find(modelkit.finished(tmp_path, count=1e9), [GREEN] * 4)
    assert len(found) == 4


def test_boxes_that_are_not_finite_or_empty_are_dropped(tmp_path):
    nan, inf = float("nan"), float("inf")
    boxes = [[0, 0, nan, 1], [0, -inf, 1, 1], [0.5, 0.5, 0.5, 0.9], [0.2, 0.3, 0.4, 0.5]]
    _, found = find(modelkit.finished(tmp_path, boxes=boxes), [GREEN] * 4)
    assert [d.box for d in found] == [pytest.approx((0.3, 0.2, 0.5, 0.4))]


def test_boxes_are_clipped(tmp_path):
    _, found = find(modelkit.finished(tmp_path, boxes=[[-0.5, -1, 0.5, 2]] * 4), [GREEN, BLACK, BLACK, BLACK])
    assert found[0].box == (0.0, 0.0, 1.0, 0.5)


@pytest.mark.parametrize(("number", "name"), [(1.0, "class_1"), (90.0, "class_90"), (1e6, "class_1000000")])
def test_a_class_beyond_the_labels_has_a_number(tmp_path, number, name):
    labels = tmp_path / "labels.txt"
    labels.write_text("first\n")
    _, found = find(modelkit.finished(tmp_path, classes=[number] * 4), [GREEN, BLACK, BLACK, BLACK], labels=str(labels))
    assert [d.label for d in found] == [name]


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_a_senseless_class_drops_the_row_not_the_frame(tmp_path, number):
    _, found = find(modelkit.finished(tmp_path, classes=[number, 0, 0, 0]), [GREEN, GREEN, BLACK, BLACK])
    assert [d.box[0] for d in found] == [0.5]


def test_boxes_go_through_the_frames_view(tmp_path):
    model = load_model(modelkit.quadrants(tmp_path))
    detect(model, normalised(modelkit.image([BLACK, BLACK, BLACK, BLUE]), model.spec))
    found, _ = model.decode(View(0.5, 0.25, 2.0, -0.5), Selection([], 0.5, 10))
    assert found[0].box == (0.5, 0.5, 0.75, 1.0)


def test_filter(tmp_path):
    model = load_model(modelkit.quadrants(tmp_path))
    tensor = normalised(modelkit.image([(0, 255, 0), (0, 0, 230), (0, 200, 0), (0, 0, 150)]), model.spec)
    assert [round(d.score, 1) for d in detect(model, tensor)] == [1.0, 0.9, 0.8, 0.6]
    assert [d.class_ for d in detect(model, tensor, min_score=0.85)] == [0, 1]
    found, truncated = model.decode(View(), Selection(model.labels, 0.5, 3))
    assert ([round(d.score, 1) for d in found], truncated) == ([1.0, 0.9, 0.8], True)
    assert model.decode(View(), Selection(model.labels, 0.5, 4))[1] is False


def test_the_models_own_threshold_is_warned_about(tmp_path):
    path = modelkit.quadrants(tmp_path, options={"nms_score_threshold": 0.3})
    assert any("drops everything below 0.3" in warning for warning in load_model(path, min_score=0.2).ready.warnings)
    assert not any("drops everything" in warning for warning in load_model(path, min_score=0.4).ready.warnings)
