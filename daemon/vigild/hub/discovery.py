"""Which camera `vigild run` uses when none is named.

    first_camera()        # "/dev/video0" or None

Asks the kernel what a video node can do; opening a camera for real is the camera worker's business.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# linux/videodev2.h: struct v4l2_capability and VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability)
_CAPABILITY = struct.Struct("16s32s32sIII12s")
_VIDIOC_QUERYCAP = 0x80000000 | _CAPABILITY.size << 16 | ord("V") << 8
_CAP_VIDEO_CAPTURE = 0x00000001
_CAP_STREAMING = 0x04000000
_CAP_DEVICE_CAPS = 0x80000000

# A Raspberry Pi's CSI receiver and image processors: they look like cameras but give raw sensor
# data that only libcamera can turn into pictures (use exec:rpicam-vid for those).
_NOT_CAMERAS = ("unicam", "rp1-cfe", "bcm2835-isp", "bcm2835-codec", "pispbe", "rpi-hevc-dec")


def first_camera(devices: Path = Path("/dev")) -> str | None:
    """The lowest-numbered /dev/videoN that captures video, or None."""
    nodes = [node for node in devices.glob("video*") if node.name[5:].isdigit()]
    for node in sorted(nodes, key=lambda node: int(node.name[5:])):
        if captures(node):
            return str(node)
    return None


def captures(node: Path) -> bool:
    """Whether this is a camera as OpenCV can read one."""
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        answer = fcntl.ioctl(fd, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return False
    finally:
        os.close(fd)
    driver, _card, _bus, _version, all_caps, device_caps, _ = _CAPABILITY.unpack(answer)
    caps = device_caps if all_caps & _CAP_DEVICE_CAPS else all_caps
    name = driver.split(b"\0")[0].decode(errors="replace")
    wanted = _CAP_VIDEO_CAPTURE | _CAP_STREAMING
    return caps & wanted == wanted and not name.startswith(_NOT_CAMERAS)
