from typing import Any

import cv2
import numpy as np
import pytest

from vigild.camera.convert import Converter, value_table
from vigild.camera.orientation import Orientation
from vigild.geometry import View
from vigild.tensor import TensorSpec

WHOLE = (0.0, 0.0, 1.0, 1.0)
UPRIGHT = Orientation()
RAW = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def noise(height: int = 90, width: int = 120) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def convert(
    spec: TensorSpec, pixels: np.ndarray, orientation: Orientation = UPRIGHT, crop: Any = WHOLE
) -> tuple[np.ndarray, Any]:
    memory = bytearray(spec.nbytes)
    view = Converter(spec).convert(pixels, orientation, crop, memoryview(memory))
    return np.frombuffer(memory, spec.dtype).reshape(spec.shape)[0], view


def direct(spec: TensorSpec, pixels: np.ndarray) -> np.ndarray:
    """The same, written down without care for speed: real numbers from the resized picture."""
    small = cv2.resize(pixels, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    if spec.color == "rgb":
        small = small[:, :, ::-1]
    real = (small - np.array(spec.mean)) / np.array(spec.std)
    if spec.dtype == "float32":
        tensor = real.astype(np.float32)
    else:
        limits = np.iinfo(spec.dtype)
        steps = np.floor(real / spec.scale + 0.5 + 1e-4) + spec.zero_point
        tensor = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return tensor.transpose(2, 0, 1) if spec.layout == "NCHW" else tensor


SETTINGS: dict[str, dict[str, Any]] = {
    "raw bytes": {"dtype": "uint8", **RAW},
    "raw bytes as the detector says it": {"dtype": "uint8", "mean": (128.0,) * 3, "std": (128.0,) * 3,
                                          "scale": 1 / 128, "zero_point": 128},
    "uint8 of another scale": {"dtype": "uint8", "scale": 0.01, "zero_point": 100},
    "int8, pixel - 128": {"dtype": "int8", "mean": (0.0,) * 3, "std": (1.0,) * 3, "zero_point": -128},
    "int8 of another scale": {"dtype": "int8", "scale": 0.02, "zero_point": 3},
    "int8, a mean for each channel": {"dtype": "int8", "mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4),
                                      "scale": 0.02, "zero_point": -14},
    "int16": {"dtype": "int16", "scale": 1 / 32768},
    "float32": {"dtype": "float32"},
    "float32, a mean for each channel": {"dtype": "float32", "mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)},
}  # fmt: skip


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_kind_of_tensor_is_exact(settings: str, color: Any, layout: Any) -> None:
    spec = TensorSpec(width=40, height=30, color=color, layout=layout, **SETTINGS[settings])
    pixels = noise()
    tensor, view = convert(spec, pixels)
    assert np.array_equal(tensor, direct(spec, pixels))
    assert view == View()


def test_colours_are_not_swapped() -> None:
    red = np.zeros((50, 50, 3), np.uint8)
    red[:, :, 2] = 250
    tensor, _ = convert(TensorSpec(width=10, height=10, **RAW), red)
    assert tensor[5, 5].tolist() == [250, 0, 0]
    tensor, _ = convert(TensorSpec(width=10, height=10, color="bgr", **RAW), red)
    assert tensor[5, 5].tolist() == [0, 0, 250]


def test_int8_scale_of_tensorflow_2_gives_pixel_minus_128() -> None:
    # 1/127.5 as float32 and zero point -1: each value lies on a tie, or beside it by a rounding error.
    spec = TensorSpec(width=1, height=1, dtype="int8", scale=float(np.float32(1 / 127.5)), zero_point=-1)
    assert value_table(spec)[:, 0].tolist() == [p - 128 for p in range(256)]


def test_quantised_values_are_clamped() -> None:
    spec = TensorSpec(width=1, height=1, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3, scale=0.5, zero_point=10)
    table = value_table(spec)[:, 0]
    assert table[0] == 10
    assert table[255] == 255


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal"])
def test_turning_behind_the_resize_equals_turning_before(rotate: int, flip: str) -> None:
    spec = TensorSpec(width=32, height=24, **RAW)
    orientation = Orientation.of(rotate, flip)
    pixels = cv2.GaussianBlur(noise(200, 300), (0, 0), 5)
    tensor, view = convert(spec, pixels, orientation)
    wanted = direct(spec, np.ascontiguousarray(orientation.apply(pixels)))
    # Bilinear weights are rounded in fixed point, from the left and from the right alike.
    assert np.abs(tensor.astype(int) - wanted.astype(int)).max() <= 1
    assert view == View()


def test_crop_is_of_the_upright_frame() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 150:] = 200
    spec = TensorSpec(width=20, height=20, **RAW)
    tensor, view = convert(spec, pixels, crop=(0.75, 0.0, 1.0, 1.0))
    assert (tensor == 200).all()
    assert view.to_frame((0.0, 0.0, 1.0, 1.0)) == (0.75, 0.0, 1.0, 1.0)
    # Turned by 180 degrees the bright part lies at the left.
    tensor, view = convert(spec, pixels, Orientation.of(180, "none"), crop=(0.0, 0.0, 0.25, 1.0))
    assert (tensor == 200).all()
    assert view.to_frame((0.0, 0.0, 1.0, 1.0)) == (0.0, 0.0, 0.25, 1.0)
    # Turned by 90 degrees clockwise it lies at the bottom.
    tensor, _ = convert(spec, pixels, Orientation.of(90, "none"), crop=(0.0, 0.75, 1.0, 1.0))
    assert (tensor == 200).all()


def test_view_says_which_pixels_were_used() -> None:
    # A third of 100 pixels is 33 whole ones: the view says 0.33, not 1/3.
    _, view = convert(TensorSpec(width=8, height=8, **RAW), noise(100, 100), crop=(0.0, 0.0, 1 / 3, 1.0))
    assert view.x_scale == 0.33


def test_letterbox_keeps_the_shape_and_fills_with_the_mean() -> None:
    spec = TensorSpec(width=40, height=40, resize="letterbox", mean=(10.0, 20.0, 30.0), std=(1.0,) * 3, dtype="float32")
    pixels = np.full((50, 100, 3), 99, np.uint8)
    tensor, view = convert(spec, pixels)
    assert (tensor[:10] == 0.0).all()
    assert (tensor[30:] == 0.0).all()
    assert np.allclose(tensor[10:30], np.array([89.0, 79.0, 69.0]))
    assert view.to_frame((0.0, 0.25, 1.0, 0.75)) == pytest.approx((0.0, 0.0, 1.0, 1.0))


def test_letterbox_margins_are_clean_after_the_frame_changed_its_shape() -> None:
    spec = TensorSpec(width=40, height=40, resize="letterbox", **RAW)
    converter = Converter(spec)
    memory = bytearray(spec.nbytes)
    for height, width in ((100, 50), (50, 100)):
        converter.convert(np.full((height, width, 3), 99, np.uint8), Orientation(), WHOLE, memoryview(memory))
    tensor = np.frombuffer(memory, np.uint8).reshape(spec.shape)[0]
    assert (tensor[:10] == 0).all()
    assert (tensor[10:30] == 99).all()


def test_a_rotated_letterbox_sits_where_the_upright_frame_does() -> None:
    spec = TensorSpec(width=40, height=40, resize="letterbox", **RAW)
    tensor, view = convert(spec, np.full((50, 100, 3), 99, np.uint8), Orientation.of(90, "none"))
    assert (tensor[:, 10:30] == 99).all()
    assert (tensor[:, :10] == 0).all()
    assert view.to_frame((0.25, 0.0, 0.75, 1.0)) == pytest.approx((0.0, 0.0, 1.0, 1.0))


def test_a_converter_leaves_the_frame_alone() -> None:
    pixels = noise(30, 40)
    before = pixels.copy()
    convert(TensorSpec(width=40, height=30, dtype="int8", zero_point=-128, **RAW), pixels, Orientation.of(180, "none"))
    assert np.array_equal(pixels, before)
