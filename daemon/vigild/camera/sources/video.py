"""Video files and RTSP streams, read by OpenCV's FFmpeg.

What differs between the versions of OpenCV is set, not left at its default: whether frames are turned as their
track says (4.11 does not, 4.8 and 5.0 do), and the conversion to BGR. Frames come as they are stored, and are
turned behind the resize like all others. One difference remains that no setting reaches: of streams marked as
BT.709, OpenCV 4 takes the colours for BT.601, up to 20 levels off; 5.0 converts them as marked.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import cv2

from vigild.camera.frames import BadFrame, Buffers, Picture
from vigild.camera.orientation import Orientation
from vigild.camera.sources.base import Grab, Opened, SourceFailed
from vigild.camera.sources.mp4 import track_orientation
from vigild.config.source import redact

FALLBACK_FPS = 30.0
MAX_FPS = 1000.0
"""A container without a frame rate makes FFmpeg answer with its time base, such as 90000."""


SKIP_FRAMES = 8
"""Grabbed at a time when frames are passed over: each is decoded, so more would look like a hang on a small board."""


def _fourcc(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    text = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24))
    return text if text.isprintable() and text.strip() else "unknown codec"


def _turned(degrees: float) -> Orientation:
    """From the angle (clockwise) that OpenCV makes of the track's matrix; upright for anything but quarter turns."""
    quarters, rest = divmod(degrees, 90.0) if math.isfinite(degrees) else (0.0, 0.0)
    return Orientation.of(int(quarters) % 4 * 90, "none") if rest == 0 else Orientation()


class _Capture:
    """What files and streams share."""

    paced: bool
    live: bool

    def __init__(self, target: str, parameters: list[int]) -> None:
        self._target = target
        self._parameters = parameters
        self._capture: cv2.VideoCapture | None = None
        self._size = (0, 0)
        self._orientation = Orientation()
        """How frames are to be turned, by what the container says of the track."""
        self.skipped = 0

    def _open(self) -> cv2.VideoCapture | None:
        """An open capture, or None. Raises SourceFailed."""
        if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
            raise SourceFailed(
                "open",
                "the installed OpenCV is built without FFmpeg, which videos and RTSP need; "
                "install it with: pip install opencv-python-headless",
            )
        capture = cv2.VideoCapture(self._target, cv2.CAP_FFMPEG, self._parameters)
        if not capture.isOpened():
            capture.release()
            return None
        self._capture = capture
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        self._orientation = _turned(capture.get(cv2.CAP_PROP_ORIENTATION_META))
        self._size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        return capture

    def retrieve(self, buffers: Buffers) -> Picture:
        assert self._capture is not None
        width, height = self._size
        buffer = buffers.take(width, height) if width > 0 and height > 0 else None
        ok, pixels = self._capture.retrieve(buffer)
        if not ok or pixels is None:
            buffers.give_back(buffer)
            raise BadFrame("the decoder gave no picture for this frame")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != "uint8":
            raise SourceFailed(
                "shape", f"frames came as {pixels.dtype} {pixels.shape}, not as uint8 (height, width, 3)"
            )
        if pixels is not buffer:
            buffers.give_back(buffer)
            self._size = (pixels.shape[1], pixels.shape[0])
        return Picture(pixels.shape[1], pixels.shape[0], pixels=pixels, orientation=self._orientation)

    def set_rate(self, fps: float | None) -> None:
        """A file has its rate and a stream's sender decides."""

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class FileSource(_Capture):
    """A video file; it ends."""

    live = False
    paced = True

    def __init__(self, path: str, decode_threads: int) -> None:
        super().__init__(path, [cv2.CAP_PROP_N_THREADS, decode_threads])
        self._path = Path(path)
        self._expected = 0
        self._read = 0

    def open(self) -> Opened:
        try:
            if self._path.is_dir():
                raise SourceFailed("open", f'{self._path} is a folder; write "images:{self._path}" for its pictures')
            with self._path.open("rb") as file:
                if not file.read(1):
                    raise SourceFailed("open", f"the video file {self._path} is empty")
        except FileNotFoundError:
            raise SourceFailed("open", f"the video file {self._path} does not exist") from None
        except OSError as error:
            raise SourceFailed("open", f"the video file {self._path} cannot be read ({error.strerror})") from None
        capture = self._open()
        if capture is None:
            raise SourceFailed("open", f"{self._path} is not a video that FFmpeg can decode")
        with contextlib.suppress(OSError):
            self._orientation = track_orientation(self._path) or self._orientation
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(fps) and 0 < fps <= MAX_FPS):
            fps = FALLBACK_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._expected = int(count) if math.isfinite(count) and count > 0 else 0
        self._read = 0
        length = f", {self._expected} frames" if self._expected else ""
        width, height = self._orientation.size(*self._size)
        return Opened(fps, f"FFmpeg, {_fourcc(capture)} {width}x{height} at {fps:.4g} frames/s{length}")

    def grab(self) -> Grab:
        assert self._capture is not None
        if not self._capture.grab():
            return Grab.END
        self._read += 1
        return Grab.FRAME

    def missing(self) -> int:
        """Frames that the container promised and that could not be read, behind the end."""
        return max(self._expected - self._read, 0)

    def skip(self, frames: int) -> int:
        # Seeking lands on key frames, or beside them; only grabbing counts frames exactly.
        frames = min(frames, SKIP_FRAMES)
        for done in range(frames):
            if self.grab() is Grab.END:
                return done
        return frames

    def rewind(self) -> None:
        self.close()
        self.open()


class StreamSource(_Capture):
    """An RTSP stream, or an HTTP one that is not MJPEG."""

    live = True
    paced = False

    def __init__(self, url: str, decode_threads: int, open_timeout_s: float, read_timeout_s: float) -> None:
        super().__init__(
            url,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                int(open_timeout_s * 1000),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                int(read_timeout_s * 1000),
                cv2.CAP_PROP_N_THREADS,
                decode_threads,
            ],
        )

    def open(self) -> Opened:
        capture = self._open()
        if capture is None:
            raise SourceFailed(
                "open",
                f"{redact(self._target)} could not be opened: no answer, access denied, or no such stream",
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        fps = fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else 0.0
        width, height = self._orientation.size(*self._size)
        return Opened(fps, f"FFmpeg, {redact(self._target)}, {_fourcc(capture)} {width}x{height}")

    def grab(self) -> Grab:
        assert self._capture is not None
        if not self._capture.grab():
            raise SourceFailed("read", "the stream ended or gave no frame in time")
        return Grab.FRAME

    def skip(self, frames: int) -> int:
        return 0

    def missing(self) -> int:
        return 0

    def rewind(self) -> None:
        raise SourceFailed("read", "a stream has no beginning to go back to")
