"""Every tensor setting of a model: the same picture gives the same detections."""

from __future__ import annotations

import modelkit
import numpy as np
import pytest
from detectorkit import detect, load_model, normalised

from vigild.detector import facts, input_spec
from vigild.detector.errors import ModelError

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
SCENE = [GREEN, BLACK, BLUE, RED]
TOP_LEFT, BOTTOM_LEFT = (0.0, 0.0, 0.5, 0.5), (0.0, 0.5, 0.5, 1.0)


def seen(path, **config):
    model = load_model(path, **config)
    found = detect(model, normalised(modelkit.image(SCENE), model.spec))
    assert all(d.score > 0.98 for d in found)
    return {d.class_: tuple(round(v, 3) for v in d.box) for d in found}


@pytest.mark.parametrize("nchw", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "float32"])
def test_dtypes_and_layouts(tmp_path, dtype, nchw):
    """Class 0 is green and class 1 is blue: swapped colours or a wrong layout would change them."""
    path = modelkit.quadrants(tmp_path, dtype=dtype, nchw=nchw)
    assert load_model(path).spec.layout == ("NCHW" if nchw else "NHWC")
    assert seen(path) == {0: TOP_LEFT, 1: BOTTOM_LEFT}


def test_the_colour_order_is_the_users_to_say(tmp_path):
    assert load_model(modelkit.quadrants(tmp_path), color="bgr").spec.color == "bgr"


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [
        ("uint8", 1 / 128, 128),
        ("uint8", 2 / 255, 127),
        ("uint8", 1 / 255, 0),
        ("uint8", 1.0, 0),
        ("int8", 1 / 128, 0),
        ("int8", 2 / 255, -1),
        ("int8", 1 / 255, -128),
        ("int8", 0.0186, -14),  # per-channel ImageNet statistics, folded into one range
    ],
)
def test_eight_bit_inputs_get_raw_bytes(tmp_path, dtype, scale, zero_point):
    spec = load_model(modelkit.quadrants(tmp_path, dtype=dtype, scale=scale, zero_point=zero_point)).spec
    pixels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    shift = 128 if dtype == "int8" else 0
    assert (normalised(pixels, spec).astype(int) == pixels.astype(int) - shift).all()


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 128), ("int8", 0)])
def test_metadata_of_the_official_model_means_raw_bytes(tmp_path, dtype, zero_point):
    path = modelkit.quadrants(
        tmp_path,
        dtype=dtype,
        scale=1 / 128,
        zero_point=zero_point,
        metadata=modelkit.metadata(mean=[127.5], std=[127.5]),
    )
    model = load_model(path)
    assert (model.spec.mean[0], model.spec.std[0]) == (128.0, 128.0)
    assert "metadata" in model.ready.notes[-3]


def test_a_narrow_calibration_is_quantised_not_stretched(tmp_path):
    """A range of [-0.9, 0.9] was calibrated on (p - 127.5) / 127.5; raw bytes would lower the contrast."""
    spec = load_model(modelkit.quadrants(tmp_path, dtype="int8", scale=1.8 / 255, zero_point=0)).spec
    assert spec.mean == spec.std == (127.5, 127.5, 127.5)
    assert (spec.scale, spec.zero_point) == (pytest.approx(1.8 / 255), 0)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_metadata_beyond_a_count_is_followed(tmp_path, dtype):
    described = modelkit.metadata(mean=[100.0, 110.0, 120.0], std=[50.0, 60.0, 70.0])
    model = load_model(modelkit.quadrants(tmp_path, dtype=dtype, metadata=described))
    assert model.spec.mean == (100.0, 110.0, 120.0)
    assert model.spec.std == (50.0, 60.0, 70.0)


def test_the_configuration_beats_the_metadata(tmp_path):
    path = modelkit.quadrants(tmp_path, dtype="float32", metadata=modelkit.metadata(mean=[127.5], std=[127.5]))
    model = load_model(path, mean=(128.0,) * 3, std=(128.0,) * 3)
    assert model.spec.mean == (128.0,) * 3
    assert "configuration" in model.ready.notes[-3]


def test_float_without_a_word_gets_the_default(tmp_path):
    model = load_model(modelkit.quadrants(tmp_path, dtype="float32"))
    assert model.spec.mean == model.spec.std == (127.5,) * 3
    assert "default" in model.ready.notes[-3]


def test_a_size_that_is_left_open_is_refused():
    graph = modelkit.Graph()
    image = graph.tensor("image", [1, 1, 1, 3], signature=[-1, -1, -1, 3])
    out = graph.tensor("out", [1, 1, 1, 3])
    graph.op(modelkit.ADD, [image, image], [out], (11, {}))
    with pytest.raises(ModelError, match="left open") as refused:
        input_spec.decide(facts.read(memoryview(graph.build([image], [out]))), "rgb", "squash")
    assert refused.value.code == "shape"
