"""The last inferred frame as a JPEG, with boxes drawn on it if asked.

The camera's thread holds frames; the worker's main thread borrows one and encodes it, so a camera
never waits for a snapshot.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from vigild.camera import jpeg
from vigild.camera.frames import Buffers, Frame
from vigild.camera.orientation import Orientation, Pixels
from vigild.ipc.messages import Overlay

JPEG_QUALITY = 85
KEEP_INFERRED = 2
"""Frames held beyond those on the way: the hub may not have seen the newest one's result yet."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# BGR; colour-blind safe (Okabe and Ito 2008), in an order in which neighbours differ most.
_COLORS = ((0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (178, 114, 0), (0, 94, 213), (167, 121, 204))


class HeldFrames:
    """Frames on the way and the newest inferred ones."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._lock = threading.Lock()
        self._frames: dict[int, Frame] = {}
        self._inferred: deque[Frame] = deque()
        self._borrowed: list[Frame] = []
        self.keep = KEEP_INFERRED
        """Inferred frames held; the camera's thread sets it."""

    # ---- the camera's thread

    def hold(self, frame: Frame) -> None:
        """This frame is on its way to a detector."""
        with self._lock:
            self._frames[frame.number] = frame

    def inferred(self, frame: Frame) -> None:
        """A detector acknowledged it and no other has it: held until newer ones come."""
        self._inferred.append(frame)
        while len(self._inferred) > self.keep:
            self.drop(self._inferred.popleft())

    def drop(self, frame: Frame) -> None:
        """Not needed any more."""
        with self._lock:
            self._frames.pop(frame.number, None)
            if any(frame is borrowed for borrowed in self._borrowed):
                return
        self._buffers.give_back(frame.picture.pixels)

    # ---- the main thread

    def borrow(self, numbers: Iterable[int]) -> Frame | None:
        """The newest held frame among `numbers`; give it back."""
        with self._lock:
            number = max((n for n in numbers if n in self._frames), default=None)
            if number is None:
                return None
            frame = self._frames[number]
            self._borrowed.append(frame)
            return frame

    def give_back(self, frame: Frame) -> None:
        with self._lock:
            self._borrowed = [borrowed for borrowed in self._borrowed if borrowed is not frame]


def encode(frame: Frame, orientation: Orientation, overlay: Overlay | None) -> bytes:
    """The upright, uncropped frame as JPEG. Raises ValueError when it cannot be made."""
    picture = frame.picture
    orientation = picture.orientation.then(orientation)
    if picture.data is not None:
        header = jpeg.parse_header(picture.data)
        # Whoever shows the file turns it as its EXIF data say: these must have nothing to say.
        plain = orientation.is_identity and header is not None and header.orientation.is_identity
        if overlay is None and plain and header is not None and header.has_tables:
            return picture.data
        pixels = jpeg.decode(picture.data)
        if pixels is None:
            raise ValueError("the held frame cannot be decoded")
    else:
        assert picture.pixels is not None
        pixels = picture.pixels
    upright = orientation.apply(pixels)
    if overlay is not None:
        upright = draw(np.ascontiguousarray(upright).copy() if upright is pixels else upright, overlay)
    ok, data = cv2.imencode(".jpg", upright, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise ValueError("the held frame cannot be encoded as JPEG")
    return bytes(data)


def draw(pixels: Pixels, overlay: Overlay) -> Pixels:
    """Boxes with label and score, drawn into `pixels`, which it returns."""
    height, width = pixels.shape[:2]
    thickness = max(round(min(width, height) / 240), 1)
    scale = max(min(width, height) / 800, 0.4)
    labels = sorted({label for _, label, _ in overlay.boxes})
    for (xmin, ymin, xmax, ymax), label, score in overlay.boxes:
        color = _COLORS[labels.index(label) % len(_COLORS)]
        left, top = round(xmin * (width - 1)), round(ymin * (height - 1))
        right, bottom = round(xmax * (width - 1)), round(ymax * (height - 1))
        cv2.rectangle(pixels, (left, top), (right, bottom), color, thickness)
        # OpenCV's fonts are ASCII; other characters would come out as question marks each byte.
        text = f"{label.encode('ascii', 'replace').decode()} {score:.2f}"
        (text_width, text_height), below = cv2.getTextSize(text, _FONT, scale, thickness)
        base = top - below if top - text_height - 2 * below >= 0 else top + text_height + below
        cv2.rectangle(pixels, (left, base - text_height - below), (left + text_width, base + below), color, cv2.FILLED)
        cv2.putText(pixels, text, (left, base), _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
    return pixels
