"""Models without a detection op: what is decoded here against what the op makes of the same outputs."""

from __future__ import annotations

import modelkit
import msgspec
import numpy as np
import pytest
from detectorkit import (
    ASSETS,
    COCO_FLOAT,
    COCO_UINT8,
    PETS,
    ULTRAFACE,
    detect,
    load_model,
    normalised,
    picture,
)
from pytest import approx

from vigild.catalogue.decoding import Decoding, GridLayer, SsdAnchors
from vigild.detector.anchors import anchors
from vigild.detector.decode_anchors import MAX_CANDIDATES, AnchorDecoder, RawOutput, suppress
from vigild.detector.errors import ModelError
from vigild.detector.selection import Selection
from vigild.geometry import View

BLACK, GREEN, BLUE = (0, 0, 0), (0, 255, 0), (0, 0, 255)
QUARTERS = Decoding(explicit=modelkit.QUARTERS)
ULTRAFACE_GRID = [
    GridLayer(8, [10, 16, 24]),
    GridLayer(16, [32, 48]),
    GridLayer(32, [64, 96]),
    GridLayer(64, [128, 192, 256]),
]
"""Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, vision/ssd/config/fd_config.py."""

needs_models = pytest.mark.skipif(not COCO_UINT8.exists(), reason="the shared models are not here")


def describe(path, decoding):
    path.with_name(path.name + ".anchors.json").write_bytes(msgspec.json.encode(decoding))
    return path


@needs_models
@pytest.mark.parametrize("source", [COCO_UINT8, COCO_FLOAT], ids=["uint8", "float32"])
def test_as_good_as_the_op(tmp_path, source):
    path, table = modelkit.without_postprocess(source, tmp_path)
    assert np.abs(anchors(Decoding(ssd=SsdAnchors()), 300, 300) - table).max() < 0.01, "quantised in the file"
    whole, cut = load_model(source), load_model(path)
    assert "generator" in " ".join(cut.ready.notes)
    expected = detect(whole, picture(PETS, whole.spec), min_score=0.4)
    found = detect(cut, picture(PETS, cut.spec), min_score=0.4)
    assert len(expected) >= 5
    for wanted in expected:  # the op keeps one class for each anchor, so ours may be more
        overlap = max((_iou(wanted.box, d.box) for d in found if d.class_ == wanted.class_), default=0)
        assert overlap > 0.95
        assert any(abs(wanted.score - d.score) < 0.01 for d in found if d.class_ == wanted.class_)


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.skipif(not ULTRAFACE.exists(), reason="the shared models are not here")
def test_a_face_with_a_grid_of_anchors(tmp_path):
    path = tmp_path / "faces.tflite"
    path.symlink_to(ULTRAFACE)
    describe(path, Decoding(grid=ULTRAFACE_GRID, box_order="xywh", iou_threshold=0.5))
    model = load_model(path, mean=(127.0,) * 3, std=(128.0,) * 3)
    assert len(model.labels) == 1, "column 0 is the background"
    found = detect(model, picture(ASSETS / "images" / "golden" / "coral" / "grace_hopper.bmp", model.spec), 0.7)
    assert len(found) == 1
    assert found[0].box == approx((0.336, 0.231, 0.697, 0.585), abs=0.01)
    with pytest.raises(ModelError, match="4420"):
        load_model(ULTRAFACE)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_quadrants_with_explicit_anchors(tmp_path, dtype, swap):
    decoding = msgspec.structs.replace(QUARTERS, scores="probabilities")
    model = load_model(describe(modelkit.raw(tmp_path, dtype=dtype, swap=swap), decoding))
    assert model.labels == ["class_0", "class_1"]
    found = detect(model, normalised(modelkit.image([GREEN, BLACK, BLUE, BLACK]), model.spec))
    assert {(d.class_, d.box) for d in found} == {(0, (0.0, 0.0, 0.5, 0.5)), (1, (0.0, 0.5, 0.5, 1.0))}


@pytest.mark.parametrize(
    ("activation", "scores"),
    [(modelkit.LOGISTIC, "auto"), (modelkit.SOFTMAX, "auto"), (None, "sigmoid"), (None, "softmax")],
)
def test_scores_become_probabilities_once(tmp_path, activation, scores):
    decoding = msgspec.structs.replace(QUARTERS, scores=scores)
    model = load_model(describe(modelkit.raw(tmp_path, activation=activation), decoding))
    found = detect(model, normalised(modelkit.image([GREEN, BLACK, BLACK, BLUE]), model.spec), min_score=0.6)
    # Colours are -1 and 1 here: a sigmoid of 1, or a softmax over (-1, 1, -1).
    softmax = scores == "softmax" or activation == modelkit.SOFTMAX
    expected = np.e / (np.e + 2 / np.e) if softmax else 1 / (1 + 1 / np.e)
    assert sorted((d.class_, d.score) for d in found) == [(0, approx(expected, 1e-3)), (1, approx(expected, 1e-3))]


@pytest.mark.parametrize(
    ("labels", "described", "names"),
    [
        ("a\nb", None, ["a", "b"]),
        ("a\nb\nc", None, ["a", "b", "c"]),
        ("???\na\nb", None, ["a", "b"]),
        ("a\nb\nc", False, ["a", "b", "c"]),
    ],
)
def test_the_number_of_labels_tells_whether_there_is_a_background(tmp_path, labels, described, names):
    (tmp_path / "labels.txt").write_text(labels)
    decoding = msgspec.structs.replace(QUARTERS, scores="probabilities", background=described)
    model = load_model(describe(modelkit.raw(tmp_path), decoding), labels=str(tmp_path / "labels.txt"))
    assert model.labels == names
    found = detect(model, normalised(modelkit.image([GREEN, BLACK, BLACK, BLACK]), model.spec))
    assert [d.class_ for d in found] == [len(names) - 2], "green is the middle column"


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(explicit=modelkit.QUARTERS[:3]),
        Decoding(explicit=[(0, 0, 0, 1)] * 4),
        Decoding(explicit=modelkit.QUARTERS, ssd=SsdAnchors()),
        Decoding(grid=[]),
        Decoding(grid=[GridLayer(0, [1.0])]),
        Decoding(ssd=SsdAnchors(feature_maps=[(30000, 30000)])),
    ],
)
def test_unusable_anchors_are_refused(tmp_path, decoding):
    with pytest.raises(ModelError) as refused:
        load_model(describe(modelkit.raw(tmp_path), decoding))
    assert refused.value.code == "anchors"


@pytest.mark.parametrize("text", ["", "{", '{"explicit": 1}', '{"exlicit": []}', "[" * 10000])
def test_a_broken_description_is_refused(tmp_path, text):
    path = modelkit.raw(tmp_path)
    path.with_name(path.name + ".anchors.json").write_text(text)
    with pytest.raises(ModelError) as refused:
        load_model(path)
    assert refused.value.code == "anchors"


def brute_force(corners, classes, threshold, most):
    kept = []
    for i in range(len(corners)):
        if len(kept) == most:
            break
        boxes = [(c[1], c[0], c[3], c[2]) for c in (corners[i], *corners)]
        if all(classes[i] != classes[k] or _iou(boxes[0], boxes[1 + k]) <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_against_the_plain_definition(seed):
    dice = np.random.default_rng(seed)
    low = dice.uniform(-0.2, 0.8, (120, 2))
    corners = np.concatenate([low, low + dice.uniform(0.05, 0.5, (120, 2))], axis=1)
    classes = dice.integers(0, 3, 120)
    assert suppress(corners, classes, 0.4, 25) == brute_force(corners, classes, 0.4, 25)


def decoder(boxes, scores, scale=1.0, zero_point=0, activation="probabilities", count=2000):
    table = np.tile([0.5, 0.5, 0.2, 0.2], (count, 1))
    return AnchorDecoder(
        RawOutput(lambda: boxes, 1.0, 0),
        RawOutput(lambda: scores, scale, zero_point),
        table,
        Decoding(explicit=[]),
        activation,
        background=True,
    )


def test_noise_is_bounded():
    """Every score of every anchor above the threshold: the best ones are looked at, and no more."""
    dice = np.random.default_rng(0)
    boxes = dice.normal(0, 10, (1, 2000, 4)).astype(np.float32)
    scores = dice.uniform(0.5, 1.0, (1, 2000, 91)).astype(np.float32)
    decode = decoder(boxes, scores)
    rows, _, values = decode._candidates(scores[0], Selection([], 0.1, 20))
    assert len(rows) == MAX_CANDIDATES
    assert values.min() >= np.sort(scores[0, :, 1:].ravel())[-MAX_CANDIDATES]
    found, truncated = decode(View(), Selection([], 0.1, 20))
    assert len(found) == 20
    assert truncated
    assert found[0].score == approx(scores[0, :, 1:].max())


def test_looking_at_all_candidates_when_the_best_overlap():
    """150 copies of one object come first; the lesser ones behind them must not be lost."""
    boxes = np.zeros((1, 2000, 4), np.float32)
    boxes[0, 150:155, 1] = [-20.0, 0.0, 20.0, 10.0, 0.0]
    scores = np.zeros((1, 2000, 2), np.float32)
    scores[0, :150, 1] = 0.9
    scores[0, 150:155, 1] = [0.8, 0.1, 0.7, 0.6, 0.1]
    found, truncated = decoder(boxes, scores)(View(), Selection([], 0.5, 10))
    assert [round(d.score, 2) for d in found] == [0.9, 0.8, 0.7, 0.6]
    assert not truncated


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_what_is_not_finite_is_dropped(value):
    boxes = np.zeros((1, 2000, 4), np.float32)
    scores = np.zeros((1, 2000, 2), np.float32)
    scores[0, :2, 1] = [0.9, 0.8]
    boxes[0, 0, 0] = value
    boxes[0, 1, 1] = 5.0
    found, _ = decoder(boxes, scores)(View(), Selection([], 0.5, 10))
    assert [round(d.score, 2) for d in found] == [0.8]
    boxes[:] = 0
    scores[0, 0, 1] = value
    found, _ = decoder(boxes, scores)(View(), Selection([], 0.5, 10))
    assert [round(d.score, 2) for d in found] == [1.0 if np.isfinite(value) else 0.8]


def test_an_absurd_size_is_the_whole_frame():
    boxes = np.zeros((1, 2000, 4), np.float32)
    boxes[0, 0, 2] = 1e38
    scores = np.zeros((1, 2000, 2), np.float32)
    scores[0, 0, 1] = 0.9
    found, _ = decoder(boxes, scores)(View(), Selection([], 0.5, 10))
    assert found[0].box == approx((0.4, 0.0, 0.6, 1.0))


@pytest.mark.parametrize("min_score", [0.0, 0.2, 0.5, 200 / 256, 1.0])
def test_quantised_scores_are_compared_exactly(min_score):
    scores = np.zeros((1, 256, 2), np.uint8)
    scores[0, :, 1] = np.arange(256)
    decode = decoder(np.zeros((1, 256, 4), np.float32), scores, scale=1 / 256, count=256)
    rows, _, values = decode._candidates(scores[0], Selection([], min_score, 1000))
    assert sorted(values) == [q / 256 for q in range(256) if q / 256 >= min_score]
    assert sorted(rows) == [round(v * 256) for v in sorted(values)]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.7, 1.0])
def test_logits_are_compared_as_their_probabilities(activation, min_score):
    dice = np.random.default_rng(2)
    scores = dice.normal(0, 3, (1, 200, 5)).astype(np.float32)
    wide = scores[0].astype(np.float64)
    truth = 1 / (1 + np.exp(-wide)) if activation == "sigmoid" else np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
    decode = decoder(np.zeros((1, 200, 4), np.float32), scores, activation=activation, count=200)
    rows, classes, _ = decode._candidates(scores[0], Selection([], min_score, 1000))
    wanted = {(int(r), int(c)) for r, c in zip(*np.nonzero(truth[:, 1:] >= min_score), strict=True)}
    assert set(zip(rows.tolist(), classes.tolist(), strict=True)) == wanted
