"""V4L2 devices: USB cameras, and others with a plain video node."""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vigild.camera import jpeg
from vigild.camera.frames import BadFrame, Buffers, Picture
from vigild.camera.sources.base import Grab, Opened, SourceFailed
from vigild.config.schema import CameraConfig

DEFAULT_FOURCC = "MJPG"
"""A USB 2 port carries 720p MJPEG at 30 frames/s, but YUYV only at 10."""

FALLBACK_FOURCC = "YUYV"
BUFFERS = 2
"""Kernel buffers asked for: more would only hold older frames."""

_QUICK_S = 0.5
"""A grab that failed sooner did not time out: the device is in trouble."""


class V4l2Source:
    """A camera at /dev/videoN, or at a link to one; the link is resolved at every open."""

    live = True
    paced = False

    def __init__(self, path: str, config: CameraConfig) -> None:
        self._path = Path(path)
        self._config = config
        self._capture: cv2.VideoCapture | None = None
        self._node = path
        self._fourcc = ""
        self._size: tuple[int, int] | None = None
        """Of converted pictures; None while unknown, and for JPEG."""
        self.skipped = 0

    def open(self) -> Opened:
        self._node = self._resolve()
        self._size = None
        wanted = (self._config.fourcc or DEFAULT_FOURCC).upper()
        capture = self._start(wanted)
        given = _given_fourcc(capture)
        if given != wanted and wanted != FALLBACK_FOURCC and not self._config.fourcc:
            # Some drivers then stay at a format that OpenCV cannot turn into a picture.
            self.close()
            capture = self._start(FALLBACK_FOURCC)
            given = _given_fourcc(capture)
        self._fourcc = given
        if given == "MJPG":
            # The JPEG as it is: we decode it, only as large as the model needs.
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        else:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return Opened(_rate(capture), self._detail(capture, wanted, given))

    def _resolve(self) -> str:
        """The device node. Raises SourceFailed with advice."""
        path = self._path
        try:
            node = path.resolve(strict=True)
            mode = node.stat().st_mode
        except FileNotFoundError:
            raise SourceFailed("open", f"there is no {path}; is the camera connected?{_present()}") from None
        except OSError as error:
            raise SourceFailed("open", f"{path} cannot be looked at ({error.strerror})") from None
        if not stat.S_ISCHR(mode):
            raise SourceFailed("open", f"{path} is not a device; a V4L2 camera is a character device like /dev/video0")
        try:
            os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except PermissionError:
            raise SourceFailed(
                "open", f"no permission for {path}; add the daemon's user to the group video (usermod -aG video USER)"
            ) from None
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise SourceFailed("open", f"{path} is in use by another program") from None
            raise SourceFailed("open", f"{path} cannot be opened ({error.strerror})") from None
        return str(node)

    def _start(self, fourcc: str) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._node, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceFailed(
                "open",
                f"{self._path} is not a capture device that OpenCV can use, or another program uses it; "
                "many cameras have a second node for metadata: try the other one",
            )
        self._capture = capture
        # In this order: drivers choose sizes by format, and rates by size.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
        if self._config.size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._config.size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._config.size[1])
        if self._config.fps:
            capture.set(cv2.CAP_PROP_FPS, self._config.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        return capture

    def _detail(self, capture: cv2.VideoCapture, wanted: str, given: str) -> str:
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        text = f"V4L2, {self._node}, {given} {width}x{height} at {_rate(capture):g} frames/s"
        asked = []
        if given != wanted:
            asked.append(wanted)
        if self._config.size and self._config.size != (width, height):
            asked.append("{}x{}".format(*self._config.size))
        if self._config.fps and abs(self._config.fps - _rate(capture)) > 0.5:
            asked.append(f"{self._config.fps:g} frames/s")
        return text + (f" (asked for {', '.join(asked)})" if asked else "")

    def grab(self) -> Grab:
        """Waits up to the driver wait set in the environment (1 s). Raises SourceFailed."""
        assert self._capture is not None
        started_s = time.monotonic()
        if self._capture.grab():
            return Grab.FRAME
        if not Path(self._node).exists():
            raise SourceFailed("removed", f"{self._path} is gone; the camera was unplugged or its driver stopped")
        if time.monotonic() - started_s < _QUICK_S:
            raise SourceFailed("read", f"{self._path} stopped giving frames")
        return Grab.NOTHING

    def retrieve(self, buffers: Buffers) -> Picture:
        assert self._capture is not None
        buffer = buffers.take(*self._size) if self._size else None
        ok, data = self._capture.retrieve(buffer)
        if data is not buffer:
            buffers.give_back(buffer)
        if not ok or data is None:
            raise BadFrame("the driver marked the frame as broken")
        if self._fourcc == "MJPG":
            return from_jpeg(data)
        picture = from_pixels(data, self._fourcc)
        self._size = (picture.width, picture.height)
        return picture

    def skip(self, frames: int) -> int:
        return 0

    def rewind(self) -> None:
        raise SourceFailed("read", "a camera has no beginning to go back to")

    def missing(self) -> int:
        return 0

    def set_rate(self, fps: float | None) -> None:
        """The driver takes a rate only while it does not stream: at the next opening."""

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def from_jpeg(data: NDArray[Any]) -> Picture:
    """What a driver gives for MJPG: bytes, as (1, N) or (N, 1), with the buffer's padding behind them."""
    if data.dtype != np.uint8 or data.size != max(data.shape):
        raise SourceFailed("shape", f"asked for JPEG bytes, got {data.dtype} {data.shape}; set fourcc to YUYV")
    raw = data.tobytes()
    header = jpeg.parse_header(raw)
    if header is None:
        raise BadFrame(f"{len(raw)} bytes that are no JPEG")
    end = raw.rfind(jpeg.EOI)
    if end < 0:
        raise BadFrame("a JPEG that is cut short")
    return Picture(header.width, header.height, data=raw[: end + 2], orientation=header.orientation)


def from_pixels(data: NDArray[Any], fourcc: str) -> Picture:
    """BGR as OpenCV converted it. Raises SourceFailed for anything else, such as raw rows of (1, N)."""
    if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or min(data.shape[:2]) < 2:
        raise SourceFailed(
            "shape",
            f"frames came as {data.dtype} {data.shape}, not as (height, width, 3): "
            f"the format {fourcc} is not converted; set fourcc to MJPG or YUYV",
        )
    return Picture(data.shape[1], data.shape[0], pixels=data)


def _given_fourcc(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")


def _rate(capture: cv2.VideoCapture) -> float:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if math.isfinite(fps) and fps > 0 else 0.0


def _present() -> str:
    nodes = sorted(str(node) for node in Path("/dev").glob("video*"))
    return f" There are {', '.join(nodes)}." if nodes else " There is no /dev/video* at all."
