"""`testcard`: pictures that the worker renders itself."""

from __future__ import annotations

from vigild.camera.frames import Buffers, Picture
from vigild.camera.sources.base import Grab, Opened, SourceFailed
from vigild.camera.testcard import TestCard

DEFAULT_SIZE = (640, 480)
DEFAULT_FPS = 30.0


class TestCardSource:
    """Never ends. Frame n is always the same picture, so it can be resumed anywhere."""

    __test__ = False
    paced = True

    def __init__(self, size: tuple[int, int] | None, fps: float | None, live: bool) -> None:
        self._size = size or DEFAULT_SIZE
        self._fps = fps or DEFAULT_FPS
        self.live = live
        self._card: TestCard | None = None
        self._number = 0
        self.skipped = 0

    def open(self) -> Opened:
        try:
            self._card = TestCard(*self._size)
        except ValueError as error:
            raise SourceFailed("open", str(error)) from None
        return self._opened()

    def _opened(self) -> Opened:
        return Opened(self._fps, f"test card, {self._size[0]}x{self._size[1]} at {self._fps:g} frames/s")

    def grab(self) -> Grab:
        self._number += 1
        return Grab.FRAME

    def retrieve(self, buffers: Buffers) -> Picture:
        assert self._card is not None
        pixels, _truth = self._card.render(self._number)
        return Picture(*self._size, pixels=pixels)

    def skip(self, frames: int) -> int:
        self._number += frames
        return frames

    def rewind(self) -> None:
        self._number = 0

    def missing(self) -> int:
        return 0

    def set_rate(self, fps: float | None) -> Opened:
        self._fps = fps or DEFAULT_FPS
        return self._opened()

    def close(self) -> None:
        self._card = None
