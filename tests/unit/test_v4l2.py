"""The kernel's V4L2 structures, against bytes laid out by hand from linux/videodev2.h."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from vigild import v4l2
from vigild.doctor.cameras import format_text
from vigild.v4l2 import captures, first_camera

# As `gcc -include linux/videodev2.h` prints them.
QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B

SIZES = {b"MJPG": [(640, 480), (1920, 1080)], b"YUYV": [(640, 480)]}
INTERVALS = {(1920, 1080): [(1, 15), (1, 30)], (640, 480): [(1, 30)]}


class Webcam:
    """A driver's answers. `stepwise`: a range of sizes instead of a list; `endless`: a list without end."""

    def __init__(self, *, stepwise: bool = False, endless: bool = False, driver: bytes = b"uvcvideo") -> None:
        self.stepwise = stepwise
        self.endless = endless
        self.driver = driver
        self.capabilities = 0x84A00001
        self.device_caps = 0x04200001
        self.asked = 0

    def __call__(self, fd: int, number: int, request: bytes) -> bytes:
        os.fstat(fd)  # the node is open
        self.asked += 1
        answer = bytearray(request)
        if number == QUERYCAP:
            assert len(request) == 104
            answer[0 : len(self.driver)] = self.driver
            answer[16:23] = b"HD Cam\0"
            struct.pack_into("=II", answer, 84, self.capabilities, self.device_caps)
            return bytes(answer)
        index = struct.unpack_from("=I", request)[0]
        if number == ENUM_FMT:
            assert len(request) == 64 and struct.unpack_from("=I", request, 4)[0] == 1
            answer[44:48] = b"MJPG" if self.endless else self._nth(list(SIZES), index)
        elif number == ENUM_FRAMESIZES:
            assert len(request) == 44
            if self.stepwise:
                assert index == 0
                struct.pack_into("=7I", answer, 8, 3, 32, 3280, 2, 32, 2464, 2)
            else:
                struct.pack_into("=3I", answer, 8, 1, *self._nth(SIZES[request[4:8]], index))
        else:
            assert number == ENUM_FRAMEINTERVALS and len(request) == 52
            if self.stepwise:
                raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
            size = struct.unpack_from("=II", request, 8)
            struct.pack_into("=3I", answer, 16, 1, *self._nth(INTERVALS[size], index))
        return bytes(answer)

    def _nth(self, items: list, index: int):  # type: ignore[no-untyped-def, type-arg]
        if index >= len(items):
            raise OSError(errno.EINVAL, "Invalid argument")
        return items[index]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "video0").touch()
    return tmp_path / "video0"


def test_what_a_webcam_is(node: Path) -> None:
    device = v4l2.query(node, Webcam())
    assert device == ("uvcvideo", "HD Cam", 0x04200001)
    assert device.captures


def test_a_metadata_node_is_no_camera(node: Path) -> None:
    webcam = Webcam()
    webcam.device_caps = 0x04A00000  # V4L2_CAP_META_CAPTURE, of a device that captures elsewhere
    assert not v4l2.query(node, webcam).captures


def test_old_drivers_without_capabilities_of_the_node(node: Path) -> None:
    webcam = Webcam()
    webcam.capabilities, webcam.device_caps = 0x04000001, 0
    assert v4l2.query(node, webcam).captures


@pytest.mark.parametrize("driver", [b"unicam", b"rp1-cfe", b"bcm2835-isp"])
def test_a_raspberry_pi_s_pipeline_is_no_camera(node: Path, driver: bytes) -> None:
    assert not v4l2.query(node, Webcam(driver=driver)).captures


def test_formats_sizes_and_rates(node: Path) -> None:
    assert v4l2.formats(node, Webcam()) == [
        ("MJPG", [(640, 480, 30.0), (1920, 1080, 30.0)]),
        ("YUYV", [(640, 480, 30.0)]),
    ]


def test_a_range_of_sizes(node: Path) -> None:
    assert v4l2.formats(node, Webcam(stepwise=True))[0] == ("MJPG", [(32, 32, 0.0), (3280, 2464, 0.0)])


def test_a_driver_whose_list_has_no_end(node: Path) -> None:
    webcam = Webcam(endless=True)
    assert len(v4l2.formats(node, webcam)) == v4l2.MAX_ENTRIES


def test_what_is_shown_of_a_format() -> None:
    sizes = [v4l2.Size(16 * n, 9 * n, 30.0) for n in (20, 120, 40, 80, 60)]
    form = v4l2.Format("MJPG", sizes)
    assert format_text(form) == "MJPG 1920x1080 at 30, 1280x720 at 30, 960x540 at 30, 640x360 at 30, 1 more"
    assert format_text(v4l2.Format("H264", [])) == "H264"


def test_a_file_is_no_camera(node: Path) -> None:
    assert not captures(node)
    assert first_camera(node.parent) is None
    with pytest.raises(OSError) as raised:
        v4l2.query(node)
    assert raised.value.errno == errno.ENOTTY


def test_nodes_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("video10", "video2", "video0", "video-dec"):
        (tmp_path / name).touch()
    assert [node.name for node in v4l2.nodes(tmp_path)] == ["video0", "video2", "video10"]
