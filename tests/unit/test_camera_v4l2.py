"""What can be known about V4L2 devices without one: opening what is none, and shapes that must not pass."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vigild.camera.frames import BadFrame
from vigild.camera.sources.base import SourceFailed
from vigild.camera.sources.v4l2 import V4l2Source, from_jpeg, from_pixels
from vigild.config.schema import CameraConfig

JPEG = bytes(cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8))[1])


def failure(path: str) -> SourceFailed:
    with pytest.raises(SourceFailed) as caught:
        V4l2Source(path, CameraConfig(source=path)).open()
    return caught.value


def test_no_such_device() -> None:
    error = failure("/dev/video987")
    assert error.cause == "open"
    assert "there is no /dev/video987; is the camera connected?" in error.reason
    assert "/dev/video" in error.reason.partition("?")[2]


def test_a_link_to_nothing(tmp_path: Path) -> None:
    link = tmp_path / "usb-camera"
    link.symlink_to("/dev/video987")
    assert f"there is no {link}" in failure(str(link)).reason


def test_the_link_is_looked_up_at_each_open(tmp_path: Path) -> None:
    link = tmp_path / "usb-camera"
    link.symlink_to("/dev/video987")
    source = V4l2Source(str(link), CameraConfig(source=str(link)))
    with pytest.raises(SourceFailed, match="there is no"):
        source.open()
    link.unlink()
    link.symlink_to("/dev/null")
    with pytest.raises(SourceFailed, match="not a capture device"):
        source.open()


def test_a_plain_file(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    file.write_text("")
    assert "is not a device" in failure(str(file)).reason


def test_a_device_that_is_no_camera() -> None:
    error = failure("/dev/null")
    assert "not a capture device" in error.reason
    assert "the other one" in error.reason


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a device that another user may not open")
def test_no_permission(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    try:
        os.mknod(node, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("device nodes cannot be made here")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent == Path("/tmp"):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            V4l2Source(str(node), CameraConfig(source=str(node))).open()
        except SourceFailed as error:
            os._exit(0 if "group video" in error.reason else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (-1,)])
def test_jpeg_bytes_in_any_shape_with_padding_behind(shape: tuple[int, ...]) -> None:
    padded = np.frombuffer(JPEG + b"\0" * 500, np.uint8).reshape(shape)
    picture = from_jpeg(padded)
    assert (picture.width, picture.height, picture.data) == (32, 24, JPEG)


def test_frames_that_are_no_jpeg() -> None:
    with pytest.raises(BadFrame, match="no JPEG"):
        from_jpeg(np.zeros((1, 1000), np.uint8))
    with pytest.raises(BadFrame, match="cut short"):
        from_jpeg(np.frombuffer(JPEG[:-40], np.uint8).reshape(1, -1))
    with pytest.raises(SourceFailed, match="asked for JPEG") as caught:
        from_jpeg(np.zeros((480, 640, 3), np.uint8))
    assert caught.value.cause == "shape"


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((1, 614400), np.uint8),
        np.zeros((1, 614400, 3), np.uint8),
        np.zeros((480, 640, 2), np.uint8),
        np.zeros((480, 640), np.uint8),
        np.zeros((480, 640, 3), np.uint16),
    ],
    ids=lambda data: f"{data.dtype}{data.shape}",
)
def test_wrong_shapes_are_refused_with_advice(data: np.ndarray) -> None:
    with pytest.raises(SourceFailed, match="set fourcc to") as caught:
        from_pixels(data, "NV12")
    assert caught.value.cause == "shape"


def test_pixels() -> None:
    picture = from_pixels(np.zeros((480, 640, 3), np.uint8), "YUYV")
    assert (picture.width, picture.height) == (640, 480)
