"""Pictures and videos that say how they are to be shown are shown so, whatever OpenCV's version does by itself."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vigild.camera import exif, jpeg
from vigild.camera.frames import Buffers, Picture
from vigild.camera.orientation import Orientation
from vigild.camera.snapshot import encode
from vigild.camera.sources import mjpeg
from vigild.camera.sources.images import ImagesSource
from vigild.camera.sources.mp4 import track_orientation
from vigild.camera.sources.video import FileSource, _turned

BUFFERS = Buffers(2)
WIDTH, HEIGHT = 64, 48
COLORS = {"r": (0, 0, 250), "g": (0, 250, 0), "b": (250, 0, 0), "w": (250, 250, 250)}

# Of a picture stored as r g / b w: what stands upright in its quarters, by EXIF 2.32, tag 0x0112.
UPRIGHT = {1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb"}

# The matrix a, b, c, d of a track that is to be shown as a picture with that EXIF tag.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def stored() -> np.ndarray:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for at, name in enumerate("rgbw"):
        y, x = at // 2 * HEIGHT // 2, at % 2 * WIDTH // 2
        picture[y : y + HEIGHT // 2, x : x + WIDTH // 2] = COLORS[name]
    return picture


def quarters(picture: Picture) -> str:
    """The colours of the upright picture's quarters."""
    upright = picture.orientation.apply(picture.decode())
    height, width = upright.shape[:2]
    found = ""
    for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)):
        pixel = upright[y * height // 4, x * width // 4].astype(int)
        found += min(COLORS, key=lambda name: int(np.abs(np.array(COLORS[name]) - pixel).sum()))
    return found


def tiff(value: int, order: str = "<", kind: int = 3) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    content = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + content
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + struct.pack(order + "I", 0)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpg(data: bytes) -> bytes:
    whole = bytes(cv2.imencode(".jpg", stored(), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    return whole[:2] + segment(0xE1, b"Exif\0\0" + data) + whole[2:]


def png(data: bytes, late: bool = False) -> bytes:
    whole = bytes(cv2.imencode(".png", stored())[1])
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    at = whole.rfind(b"IEND") - 4 if late else 33
    return whole[:at] + chunk + whole[at:]


def webp(data: bytes) -> bytes:
    whole = bytes(cv2.imencode(".webp", stored(), [cv2.IMWRITE_WEBP_QUALITY, 101])[1])
    size = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes((8, 0, 0, 0)) + size
    content = b"WEBP" + extended + whole[12:] + b"EXIF" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def read(folder: Path, name: str, data: bytes) -> Picture:
    (folder / name).write_bytes(data)
    source = ImagesSource(str(folder), None)
    source.open()
    source.grab()
    return source.retrieve(BUFFERS)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("a.jpg", jpg),
        ("a.png", png),
        ("b.png", lambda data: png(data, late=True)),
        ("a.webp", webp),
        ("b.webp", lambda data: webp(b"Exif\0\0" + data)),
    ],
)
@pytest.mark.parametrize(("order", "kind"), [("<", 3), (">", 3), ("<", 4), (">", 4)])
def test_pictures(tmp_path: Path, name: str, build, value: int, order: str, kind: int) -> None:
    picture = read(tmp_path, name, build(tiff(value, order, kind)))
    assert quarters(picture) == UPRIGHT[value]
    assert picture.orientation.size(picture.width, picture.height) == (
        (WIDTH, HEIGHT) if value < 5 else (HEIGHT, WIDTH)
    )


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_a_reduced_picture_is_as_stored_too(reduce: int) -> None:
    pixels = jpeg.decode(jpg(tiff(6)), reduce)
    assert pixels is not None
    assert pixels.shape[:2] == (HEIGHT // reduce, WIDTH // reduce)


def test_xmp_behind_the_exif_data_does_not_undo_them() -> None:
    data = jpg(tiff(6))
    end = data.index(b"\xff\xe1") + 2 + int.from_bytes(data[4:6], "big")
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
    for both in (data[:end] + xmp + data[end:], data[:2] + xmp + data[2:]):
        header = jpeg.parse_header(both)
        assert header is not None
        assert header.orientation == Orientation.from_exif(6)


def test_stray_bytes_between_segments_hide_nothing(tmp_path: Path) -> None:
    whole = jpg(tiff(6))
    jfif = whole.index(b"\xff\xe0")
    data = whole[:2] + whole[jfif : jfif + 18] + b"\0\0" + whole[2:jfif] + whole[jfif + 18 :]
    assert quarters(read(tmp_path, "a.jpg", data)) == UPRIGHT[6]


@pytest.mark.parametrize("data", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", tiff(9), tiff(0), tiff(6, kind=7)])
def test_exif_data_that_say_nothing(data: bytes) -> None:
    assert exif.tag(data) is None
    for whole in (png(data), webp(data), b"RIFF1234WEBP", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        assert exif.orientation(whole).is_identity


@pytest.mark.parametrize("value", range(1, 9))
def test_frames_of_a_stream_are_shown_as_a_browser_shows_them(value: int) -> None:
    assert quarters(mjpeg.picture(jpg(tiff(value)))) == UPRIGHT[value]


def test_a_snapshot_says_nothing_that_would_turn_it_again() -> None:
    """A camera that hangs as its EXIF data say, turned back: the picture is as stored, its EXIF data are not."""
    from vigild.camera.frames import Frame

    frame = Frame(1, 0, 0, mjpeg.picture(jpg(tiff(6))))
    header = jpeg.parse_header(encode(frame, Orientation.of(270, "none"), None))
    assert header is not None
    assert header.orientation.is_identity
    assert (header.width, header.height) == (WIDTH, HEIGHT)


# ---- videos


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "plain.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    for _ in range(3):
        writer.write(stored())
    writer.release()
    return path.read_bytes()


def with_matrix(film: bytes, a: float, b: float, c: float, d: float) -> bytes:
    """The film with another matrix in its track's header (version 0: 40 bytes behind the box's type)."""
    at = film.index(b"tkhd") + 4 + 40
    numbers = [a, b, 0, c, d, 0, WIDTH * (a < 0 or b < 0), HEIGHT * (c < 0 or d < 0)]
    matrix = b"".join(struct.pack(">i", round(number * 65536)) for number in numbers) + struct.pack(">i", 1 << 30)
    return film[:at] + matrix + film[at + 36 :]


@pytest.mark.parametrize("value", range(1, 9))
def test_tracks(tmp_path: Path, film: bytes, value: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(with_matrix(film, *MATRICES[value]))
    source = FileSource(str(path), 1)
    opened = source.open()
    source.grab()
    picture = source.retrieve(BUFFERS)
    source.close()
    assert quarters(picture) == UPRIGHT[value]
    assert ("48x64" in opened.detail) == (value >= 5), "the size that is told is that of the upright picture"


@pytest.mark.parametrize(("degrees", "value"), [(0, 1), (90, 6), (180, 3), (270, 8), (-90, 8), (360, 1), (45, 1)])
def test_the_angle_that_opencv_gives_for_other_containers(degrees: float, value: int) -> None:
    assert _turned(degrees) == Orientation.from_exif(value)
    assert _turned(float("nan")).is_identity


def test_containers_that_say_nothing(tmp_path: Path, film: bytes) -> None:
    path = tmp_path / "a.mp4"
    slanted = with_matrix(film, 0.7, 0.7, -0.7, 0.7)
    boxes = [b"\0\0\0\x01moov" + bytes(8), b"\0\0\0\0moov" + b"\0\0\0\x10trak" * 50, b"\0\0\0\x08ftyp" * 3, film[:40]]
    for data in (b"", b"RIFF", slanted, *boxes):
        path.write_bytes(data)
        assert track_orientation(path) is None
