"""JPEG: what the header says, and decoding no larger than needed.

    header = parse_header(data)          # width, height, orientation; None for what is no JPEG
    decode(data, reduce=2)               # half the width and height, for less than half the work

A JPEG decoder can leave out high frequencies and give the picture at 1/2, 1/4 or 1/8 of its size
(DCT scaling), which is also a better filter than a bilinear resize that skips pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vigild.camera import exif
from vigild.camera.orientation import Orientation, Pixels

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"

_DHT = 0xC4
_SOS = 0xDA
_APP1 = 0xE1
# Frame headers of ITU-T T.81 table B.1: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length that may stand anywhere: TEM, RST0..7."""
_BOUNDS = frozenset({0xD8, 0xD9})
"""SOI and EOI: here the picture is over, or another begins."""

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class Header(NamedTuple):
    """Size in pixels as stored, and how to make it upright."""

    width: int
    height: int
    orientation: Orientation
    has_tables: bool
    """It carries its Huffman tables; many USB cameras leave them out, and then browsers cannot show it."""


def parse_header(data: bytes) -> Header | None:
    """Read up to the start of scan. None if `data` is no JPEG or is cut before its frame header."""
    if data[:2] != SOI:
        return None
    width = height = 0
    turned: int | None = None
    has_tables = False
    at, end = 2, len(data)
    while at + 4 <= end:
        if data[at] != 0xFF:
            # Cameras and editors leave stray bytes between segments; decoders pass them, and so do we.
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker in (0xFF, 0x00) or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _BOUNDS:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return None
        if marker in _SOF and at + 9 <= end:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            width = int.from_bytes(data[at + 7 : at + 9], "big")
        elif marker == _DHT:
            has_tables = True
        elif marker == _APP1 and turned is None:
            # Further APP1 segments hold XMP, or the rest of long EXIF data: the first tag is the one.
            turned = exif.tag(data[at + 4 : at + 2 + length])
        elif marker == _SOS:
            break
        at += 2 + length
    if not width or not height:
        return None
    return Header(width, height, Orientation.from_exif(turned or exif.UPRIGHT), has_tables)


def reduction(width: int, height: int, need_width: int, need_height: int) -> int:
    """The largest of 1, 2, 4, 8 that still leaves `need` pixels of a part of width x height."""
    for factor in (8, 4, 2):
        if width >= need_width * factor and height >= need_height * factor:
            return factor
    return 1


def decode(data: bytes, reduce: int = 1) -> Pixels | None:
    """Decode to BGR, [ceil(height / reduce), ceil(width / reduce), 3], as stored (EXIF is the caller's).

    None when the data cannot be decoded. Data that was cut short may still decode, grey at the end.
    """
    return decode_with(data, _REDUCED[reduce] | cv2.IMREAD_IGNORE_ORIENTATION)


def decode_with(data: bytes, flags: int) -> Pixels | None:
    """A picture file by OpenCV's flags; None when it cannot be decoded, too large for memory included."""
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):  # some versions raise for a header that promises too much
        return None
    return pixels
