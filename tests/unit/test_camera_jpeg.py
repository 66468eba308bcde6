import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.camera import jpeg
from vigild.camera.orientation import Orientation


def make(width: int = 64, height: int = 48, *options: int) -> bytes:
    gradient = np.linspace(0, 255, width * height * 3).astype(np.uint8).reshape(height, width, 3)
    return bytes(cv2.imencode(".jpg", gradient, list(options))[1])


def with_exif(data: bytes, value: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, value, 0)
    tiff = mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 1) + entry + struct.pack(order + "I", 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_size_from_the_header(options: tuple[int, ...]) -> None:
    header = jpeg.parse_header(make(65, 47, *options))
    assert header is not None
    assert (header.width, header.height) == (65, 47)
    assert header.orientation.is_identity
    assert header.has_tables


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(value: int, order: str) -> None:
    header = jpeg.parse_header(with_exif(make(), value, order))
    assert header is not None
    assert header.orientation == Orientation.from_exif(value)


def test_our_turning_is_opencvs() -> None:
    """OpenCV turns by EXIF itself; ours, applied to the picture as stored, gives the same."""
    for value in range(1, 9):
        data = with_exif(make(), value)
        stored = jpeg.decode(data)
        assert stored is not None
        by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(Orientation.from_exif(value).apply(stored), by_opencv)


def test_tables_left_out_as_usb_cameras_do() -> None:
    data = make()
    while (at := data.find(b"\xff\xc4")) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    header = jpeg.parse_header(data)
    assert header is not None
    assert not header.has_tables
    decoded = jpeg.decode(data)
    assert decoded is not None
    assert np.array_equal(decoded, jpeg.decode(make()))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG\r\n", make()[:10], b"\xff\xd8\xff\xd9", b"\xff\xd8AB" + make()]
)
def test_no_jpeg(data: bytes) -> None:
    assert jpeg.parse_header(data) is None


@given(st.binary(max_size=200), st.integers(0, 400))
def test_the_parser_survives_anything(noise: bytes, cut: int) -> None:
    jpeg.parse_header(make()[:cut] + noise)
    jpeg.parse_header(with_exif(make(), 6)[: cut // 4] + noise)


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_reduced_size(reduce: int) -> None:
    pixels = jpeg.decode(make(65, 47), reduce)
    assert pixels is not None
    assert pixels.shape == (-(-47 // reduce), -(-65 // reduce), 3)


@pytest.mark.parametrize(
    ("part", "need", "factor"),
    [
        ((1920, 1080), (300, 300), 2),
        ((1280, 720), (300, 300), 2),
        ((640, 480), (300, 300), 1),
        ((600, 600), (300, 300), 2),
        ((599, 600), (300, 300), 1),
        ((3840, 2160), (300, 300), 4),
        ((7680, 4320), (300, 300), 8),
    ],
)
def test_reduction_never_gives_less_than_needed(part: tuple[int, int], need: tuple[int, int], factor: int) -> None:
    assert jpeg.reduction(*part, *need) == factor


def test_what_is_no_picture() -> None:
    assert jpeg.decode(b"\xff\xd8 nothing \xff\xd9") is None
