"""A frame that is held, and the buffers that frames live in.

    frame = Frame(number=7, captured_ns=..., picture=Picture(...))
    pixels = frame.picture.decode(reduce=2)

A frame is held while a detector works on it (a source read with `pace = "every"` may have to send
it again) and for a little longer, for snapshots. Pictures of JPEG sources are held as JPEG.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vigild import plain
from vigild.camera import jpeg
from vigild.camera.orientation import Orientation, Pixels
from vigild.tensor import CHANNELS


class BadFrame(Exception):
    """This one frame cannot be decoded; the message says what is wrong with it, fit to be shown and sent."""

    def __init__(self, message: str) -> None:
        super().__init__(plain.sentence(message))


@dataclass(slots=True)
class Picture:
    """What a source gave: a JPEG, or pixels (BGR); as stored, not turned."""

    width: int
    height: int
    data: bytes | None = None
    pixels: Pixels | None = None
    orientation: Orientation = field(default_factory=Orientation)
    """What its own EXIF data say."""
    file: str = ""
    """The name of the file it is from, fit to be shown and sent."""
    _decoded: Pixels | None = None
    _decoded_by: int = 0

    def decode(self, reduce: int = 1) -> Pixels:
        """Its pixels, at 1/reduce of the size for a JPEG; kept until `forget`. Raises BadFrame."""
        if self.pixels is not None:
            return self.pixels
        if self._decoded is None or self._decoded_by != reduce:
            assert self.data is not None
            self._decoded = jpeg.decode(self.data, reduce)
            self._decoded_by = reduce
            if self._decoded is None:
                raise BadFrame(f"a JPEG of {len(self.data)} bytes that cannot be decoded")
        return self._decoded

    @property
    def decoded(self) -> Pixels | None:
        """Whatever is decoded already."""
        return self.pixels if self.pixels is not None else self._decoded

    def forget(self) -> None:
        """Drop the decoded pixels of a JPEG."""
        self._decoded = None


@dataclass(slots=True)
class Frame:
    """One frame on its way. Times are monotonic ns, but for wall_ns."""

    number: int
    captured_ns: int
    wall_ns: int
    picture: Picture
    width: int = 0
    """Of the upright frame; see `measure`."""
    height: int = 0
    decode_ns: int = 0
    waiting: int = 0
    """Links that have not acknowledged it yet."""
    acknowledged: bool = False
    sent: bool = False
    kept: bool = False
    """It may have to be sent again, so nobody else decides about its buffer."""

    def measure(self, orientation: Orientation) -> None:
        """Set its size from the picture's, turned by its own and then by the camera's orientation."""
        picture = self.picture
        self.width, self.height = picture.orientation.then(orientation).size(picture.width, picture.height)


class Buffers:
    """Pixel buffers used again, so that a frame costs no fresh pages.

    Not thread-safe: the camera's thread alone takes and gives back. Whoever else still looks at a
    buffer must keep it from being given back.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._free: list[Pixels] = []

    def take(self, width: int, height: int) -> Pixels:
        """A buffer [height, width, 3] of unspecified contents."""
        while self._free:
            pixels = self._free.pop()
            if pixels.shape == (height, width, CHANNELS):
                return pixels
        return np.empty((height, width, CHANNELS), np.uint8)

    def trim(self) -> None:
        """Let go of those that nobody uses."""
        self._free.clear()

    def give_back(self, pixels: Pixels | None) -> None:
        if pixels is not None and len(self._free) < self._keep:
            self._free.append(pixels)
