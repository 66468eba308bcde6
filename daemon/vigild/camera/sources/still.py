"""One picture in a file's bytes: JPEG, PNG, WebP or BMP, as stored, with how it is to be turned.

picture = decode(data)           # None for what cannot be decoded
"""

from __future__ import annotations

import cv2

from vigild.camera import exif, jpeg
from vigild.camera.frames import Picture
from vigild.camera.orientation import Pixels

PNG = b"\x89PNG\r\n\x1a\n"
RIFF, WEBP = b"RIFF", b"WEBP"
"""A WebP file begins with RIFF, its size in four bytes, and WEBP."""


def decode(data: bytes) -> Picture | None:
    """Its pixels, BGR."""
    header = jpeg.parse_header(data)
    pixels = jpeg.decode(data) if header is not None else _decode(data)
    if pixels is None:
        return None
    orientation = header.orientation if header is not None else exif.orientation(data)
    height, width = pixels.shape[:2]
    return Picture(width, height, pixels=pixels, orientation=orientation)


def _decode(data: bytes) -> Pixels | None:
    """As stored: which formats OpenCV turns upright by itself differs from version to version."""
    if not data:
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return jpeg.decode_with(data, flags)
