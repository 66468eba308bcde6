"""Rotation, mirroring and EXIF orientation as one of the eight ways a picture can lie.

    upright = Orientation.from_exif(6).then(Orientation.of(rotate=90, flip="none"))
    upright.apply(pixels)

An `Orientation` says: transpose first, then mirror. So any sequence is one step, and it can be done
on the small picture behind the resize instead of on the frame.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""uint8 [height, width, 3], BGR. (OpenCV's own annotations do not promise the dtype.)"""

_ROTATIONS = {0: (False, False, False), 90: (True, True, False), 180: (False, True, True), 270: (True, False, True)}
"""Degrees clockwise -> (transpose, mirror left-right, mirror top-bottom)."""

_FLIPS = {"none": (False, False), "horizontal": (True, False), "vertical": (False, True), "both": (True, True)}

# EXIF 2.32, tag 0x0112: how the stored picture must be turned to be upright.
_EXIF = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}

# What OpenCV does in one pass; the rest is a transposition and a flip.
_ROTATE_CODES = {
    (True, True, False): cv2.ROTATE_90_CLOCKWISE,
    (False, True, True): cv2.ROTATE_180,
    (True, False, True): cv2.ROTATE_90_COUNTERCLOCKWISE,
}


class Orientation(NamedTuple):
    """Transpose, then mirror left-right and top-bottom, makes the picture upright."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, rotate: int, flip: str) -> Orientation:
        """Rotate clockwise by 0, 90, 180 or 270 degrees, then flip as the configuration says."""
        return cls(*_ROTATIONS[rotate]).then(cls(False, *_FLIPS[flip]))

    @classmethod
    def from_exif(cls, value: int) -> Orientation:
        """Of EXIF's orientation tag; values outside 1..8 mean upright."""
        return cls(*_EXIF.get(value, _EXIF[1]))

    def then(self, after: Orientation) -> Orientation:
        """This one first, `after` on its result."""
        mirror_x, mirror_y = (self.mirror_y, self.mirror_x) if after.transpose else (self.mirror_x, self.mirror_y)
        return Orientation(self.transpose != after.transpose, mirror_x != after.mirror_x, mirror_y != after.mirror_y)

    @property
    def is_identity(self) -> bool:
        return not any(self)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture, and back again."""
        return (height, width) if self.transpose else (width, height)

    def source_rect(self, rect: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
        """Where `rect` (x0, y0, x1, y1) of the upright picture of width x height lies in the stored one."""
        x0, y0, x1, y1 = rect
        if self.mirror_x:
            x0, x1 = width - x1, width - x0
        if self.mirror_y:
            y0, y1 = height - y1, height - y0
        return (y0, x0, y1, x1) if self.transpose else (x0, y0, x1, y1)

    def apply(self, pixels: Pixels, out: Any = None) -> Pixels:
        """The upright picture, written to `out` if that is given (of the upright shape)."""
        if self.is_identity:
            if out is None:
                return pixels
            np.copyto(out, pixels)
            return np.asarray(out)
        code = _ROTATE_CODES.get((self.transpose, self.mirror_x, self.mirror_y))
        if code is not None:
            return cv2.rotate(pixels, code, dst=out)
        flip = -1 if self.mirror_x and self.mirror_y else 1 if self.mirror_x else 0
        if not self.transpose:
            return cv2.flip(pixels, flip, dst=out)
        if not (self.mirror_x or self.mirror_y):
            return cv2.transpose(pixels, dst=out)
        turned = cv2.transpose(pixels)
        return cv2.flip(turned, flip, dst=out)
