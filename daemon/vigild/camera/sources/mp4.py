"""How the video track of an MP4 or QuickTime file is to be turned (ISO/IEC 14496-12, box tkhd).

    track_orientation(path)      # an `Orientation`; None for other files, and for a matrix that is no quarter turn

The matrix may mirror as well, as front cameras of telephones do. OpenCV makes an angle of it, and shows such
a film upside down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from vigild.camera.orientation import Orientation

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia"})
_LARGE_SIZE = 1
"""A box's size in 32 bits: this says that 64 bits follow its type. 0: it reaches to the end of the file."""

_MAX_BOXES = 10_000
_MAX_TKHD_BYTES = 1024

# The signs of the matrix's a, b, c, d: x' = a x + c y, y' = b x + d y, with y downwards.
_MATRICES = {
    (1, 0, 0, 1): Orientation(False, False, False),
    (-1, 0, 0, 1): Orientation(False, True, False),
    (1, 0, 0, -1): Orientation(False, False, True),
    (-1, 0, 0, -1): Orientation(False, True, True),
    (0, 1, 1, 0): Orientation(True, False, False),
    (0, 1, -1, 0): Orientation(True, True, False),
    (0, -1, 1, 0): Orientation(True, False, True),
    (0, -1, -1, 0): Orientation(True, True, True),
}


def track_orientation(path: Path) -> Orientation | None:
    """Of the file's first video track. Raises OSError."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        head = _at(file, 4, 4)
        if head not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return None
        return _Boxes(file).video_track(end)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


class _Boxes:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MAX_BOXES
        self._matrix: Orientation | None = None
        """Of the track being looked at."""

    def video_track(self, end: int) -> Orientation | None:
        return self._matrix if self._walk(0, end) else None

    def _walk(self, at: int, end: int) -> bool:
        """Through the boxes between two offsets; True once the video track is found."""
        while at + 8 <= end and self._left:
            self._left -= 1
            header = _at(self._file, at, 16)
            size, kind, body = int.from_bytes(header[:4], "big"), header[4:8], at + 8
            if size == _LARGE_SIZE:
                size, body = int.from_bytes(header[8:16], "big"), at + 16
            elif size == 0:
                size = end - at
            if size < body - at:
                return False
            following = min(at + size, end)
            if kind == b"trak":
                self._matrix = None
            if kind in _CONTAINERS and self._walk(body, following):
                return True
            if kind == b"tkhd":
                self._matrix = _matrix(_at(self._file, body, min(following - body, _MAX_TKHD_BYTES)))
            elif kind == b"hdlr" and _at(self._file, body + 8, 4) == b"vide":
                return True
            at = following
        return False


def _matrix(tkhd: bytes) -> Orientation | None:
    """Version 0 has times of 32 bits, version 1 of 64; numbers are 16.16, the third column 2.30."""
    start = 4 + (32 if tkhd[:1] == b"\1" else 20) + 16
    numbers = [int.from_bytes(tkhd[start + 4 * i : start + 4 * i + 4], "big", signed=True) for i in range(9)]
    a, b, _, c, d = numbers[:5]
    return _MATRICES.get((_sign(a), _sign(b), _sign(c), _sign(d)))


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
