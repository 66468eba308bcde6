"""Which camera `vigild run` uses when none is named.

first_camera()        # "/dev/video0" or None
"""

from __future__ import annotations

from pathlib import Path

from vigild import v4l2


def first_camera(devices: Path = Path("/dev")) -> str | None:
    """The lowest-numbered /dev/videoN that captures video, or None."""
    return next((str(node) for node in v4l2.nodes(devices) if captures(node)), None)


def captures(node: Path) -> bool:
    """Whether this is a camera as OpenCV can read one."""
    try:
        return v4l2.query(node).captures
    except OSError:
        return False
