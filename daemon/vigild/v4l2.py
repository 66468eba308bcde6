"""What a video node says of itself, asked of the kernel; opening it as a camera is the camera worker's business.

    device = query(Path("/dev/video0"))       # raises OSError
    device.captures                           # a camera as OpenCV can read one
    for form in formats(Path("/dev/video0")): print(form.fourcc, form.sizes)
    first_camera()                            # "/dev/video0", or None

Numbers and structures: linux/videodev2.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vigild import plain

Ioctl = Callable[[int, int, bytes], bytes]

# struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved
_CAPABILITY = struct.Struct("16s32s32sIII12s")
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved
_FMTDESC = struct.Struct("III32s4sI12s")
# struct v4l2_frmsizeenum: index, pixel_format, type, then (width, height) or (min, max, step) of both, reserved
_FRMSIZE = struct.Struct("I4sI6I8s")
# struct v4l2_frmivalenum: index, pixel_format, width, height, type, then one fraction or (min, max, step), reserved
_FRMIVAL = struct.Struct("I4sIII6I8s")

# _IOR is 2 << 30 and _IOWR is 3 << 30 (asm-generic/ioctl.h); 'V' is V4L2's letter.
_VIDIOC_QUERYCAP = 2 << 30 | _CAPABILITY.size << 16 | ord("V") << 8 | 0
_VIDIOC_ENUM_FMT = 3 << 30 | _FMTDESC.size << 16 | ord("V") << 8 | 2
_VIDIOC_ENUM_FRAMESIZES = 3 << 30 | _FRMSIZE.size << 16 | ord("V") << 8 | 74
_VIDIOC_ENUM_FRAMEINTERVALS = 3 << 30 | _FRMIVAL.size << 16 | ord("V") << 8 | 75

_CAP_VIDEO_CAPTURE = 0x00000001
_CAP_STREAMING = 0x04000000
_CAP_DEVICE_CAPS = 0x80000000
_BUF_TYPE_VIDEO_CAPTURE = 1
_DISCRETE = 1  # of both V4L2_FRMSIZE_TYPE_ and V4L2_FRMIVAL_TYPE_

MAX_ENTRIES = 256
"""Of any list; a driver that never says "no more" must not hang the caller."""

# A Raspberry Pi's CSI receiver and image processors: they look like cameras but give raw sensor
# data that only libcamera can turn into pictures (use exec:rpicam-vid for those).
CSI_RECEIVERS = ("unicam", "rp1-cfe")
_NOT_CAMERAS = (*CSI_RECEIVERS, "bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec")


class Device(NamedTuple):
    """struct v4l2_capability."""

    driver: str
    card: str
    capabilities: int
    """Of this node, not of the whole device."""

    @property
    def captures(self) -> bool:
        """Whether this is a camera as OpenCV can read one."""
        wanted = _CAP_VIDEO_CAPTURE | _CAP_STREAMING
        return self.capabilities & wanted == wanted and not self.driver.startswith(_NOT_CAMERAS)


class Size(NamedTuple):
    width: int
    height: int
    fps: float
    """The highest frame rate at this size; 0 when the driver does not say."""


class Format(NamedTuple):
    fourcc: str
    """ "MJPG", "YUYV", ..."""
    sizes: list[Size]
    """What the driver lists; of a range, its smallest and its largest."""


def nodes(devices: Path) -> list[Path]:
    """The /dev/videoN below `devices`, by their numbers."""
    found = [node for node in devices.glob("video*") if node.name[5:].isdigit()]
    return sorted(found, key=lambda node: int(node.name[5:]))


def query(node: Path, ioctl: Ioctl = fcntl.ioctl) -> Device:
    """What the node is. Raises OSError: no permission, or not a V4L2 device (ENOTTY)."""
    fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = ioctl(fd, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    finally:
        os.close(fd)
    driver, card, _bus, _version, all_caps, device_caps, _ = _CAPABILITY.unpack(answer)
    return Device(_text(driver), _text(card), device_caps if all_caps & _CAP_DEVICE_CAPS else all_caps)


def formats(node: Path, ioctl: Ioctl = fcntl.ioctl) -> list[Format]:
    """The picture formats of a camera, in the driver's order. Raises OSError."""
    fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return [Format(_text(code), list(_sizes(fd, code, ioctl))) for code in _codes(fd, ioctl)]
    finally:
        os.close(fd)


def _codes(fd: int, ioctl: Ioctl) -> Iterator[bytes]:
    for index in range(MAX_ENTRIES):
        request = _FMTDESC.pack(index, _BUF_TYPE_VIDEO_CAPTURE, 0, b"", b"", 0, b"")
        answer = _ask(fd, _VIDIOC_ENUM_FMT, request, ioctl)
        if answer is None:
            return
        yield _FMTDESC.unpack(answer)[4]


def _sizes(fd: int, code: bytes, ioctl: Ioctl) -> Iterator[Size]:
    for index in range(MAX_ENTRIES):
        request = _FRMSIZE.pack(index, code, 0, 0, 0, 0, 0, 0, 0, b"")
        answer = _ask(fd, _VIDIOC_ENUM_FRAMESIZES, request, ioctl)
        if answer is None:
            return
        _, _, kind, *numbers, _ = _FRMSIZE.unpack(answer)
        if kind == _DISCRETE:
            yield Size(numbers[0], numbers[1], _rate(fd, code, numbers[0], numbers[1], ioctl))
        else:  # min_width, max_width, step_width, min_height, max_height, step_height; there is no second answer
            for width, height in ((numbers[0], numbers[3]), (numbers[1], numbers[4])):
                yield Size(width, height, _rate(fd, code, width, height, ioctl))
            return


def _rate(fd: int, code: bytes, width: int, height: int, ioctl: Ioctl) -> float:
    """The highest frame rate; a range begins with the shortest interval."""
    best = 0.0
    for index in range(MAX_ENTRIES):
        request = _FRMIVAL.pack(index, code, width, height, 0, 0, 0, 0, 0, 0, 0, b"")
        answer = _ask(fd, _VIDIOC_ENUM_FRAMEINTERVALS, request, ioctl)
        if answer is None:
            return best
        _, _, _, _, kind, numerator, denominator, *_ = _FRMIVAL.unpack(answer)
        best = max(best, denominator / numerator if numerator else 0.0)
        if kind != _DISCRETE:
            return best
    return best


def _ask(fd: int, number: int, request: bytes, ioctl: Ioctl) -> bytes | None:
    """The driver's answer; None at the end of a list (EINVAL), and where it has no such list (ENOTTY)."""
    try:
        return ioctl(fd, number, request)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise


def _text(raw: bytes) -> str:
    return plain.word(raw.split(b"\0")[0].decode(errors="replace"))


def captures(node: Path) -> bool:
    """Whether this is a camera as OpenCV can read one; False too for what does not answer."""
    try:
        return query(node).captures
    except OSError:
        return False


def first_camera(devices: Path = Path("/dev")) -> str | None:
    """The lowest-numbered /dev/videoN that captures video: what `vigild run` uses when none is named."""
    return next((str(node) for node in nodes(devices) if captures(node)), None)
