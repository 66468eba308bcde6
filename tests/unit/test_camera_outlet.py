"""One outlet between real ring ends: which frame to prepare, and what is on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from vigild.camera.frames import BadFrame, Frame, Picture
from vigild.camera.orientation import Orientation
from vigild.camera.outlet import Outlet
from vigild.ipc.channel import socketpair
from vigild.ipc.ring import RingClosed, RingReader, RingWriter, make_memfd
from vigild.tensor import TensorSpec

WHOLE = (0.0, 0.0, 1.0, 1.0)
SPEC = TensorSpec(width=32, height=24, mean=(0.0,) * 3, std=(1.0,) * 3)
MS = 1_000_000
PERIOD_NS = 33 * MS


class Pair:
    def __init__(self, spec: TensorSpec = SPEC, slots: int = 2) -> None:
        memfd = make_memfd("test", spec.nbytes, slots)
        camera, detector = socketpair()
        self.reader = RingReader(os.dup(memfd), detector, spec.nbytes, slots)
        self.outlet = Outlet(1, spec, RingWriter(memfd, camera, spec.nbytes, slots), slots)

    def send(self, number: int, picture: Picture | None = None) -> Frame:
        frame = make_frame(number, picture)
        self.outlet.send(frame, Orientation(), WHOLE)
        return frame

    def acknowledge(self, ready_ns: int = 0) -> None:
        for frame in self.reader.receive():
            self.reader.give_back(frame, ready_ns)


def make_frame(number: int, picture: Picture | None = None) -> Frame:
    picture = picture or Picture(64, 48, pixels=np.full((48, 64, 3), number % 256, np.uint8))
    return Frame(number, 1000 + number, 5, picture, picture.width, picture.height)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.outlet.close()
    made.reader.close()


def test_delivers_pixels_and_what_is_known_about_them(pair: Pair) -> None:
    pair.send(7)
    (frame,) = pair.reader.receive()
    assert (frame.frame, frame.captured_ns, frame.wall_ns, frame.width, frame.height) == (7, 1007, 5, 64, 48)
    assert set(pair.reader.slot(frame.slot)) == {7}
    assert frame.sent_ns > 0
    assert frame.convert_ns > 0


def test_without_a_slot_nothing_is_wanted(pair: Pair) -> None:
    assert pair.outlet.wants(0, PERIOD_NS)
    pair.send(1)
    pair.send(2)
    assert not pair.outlet.wants(10**12, PERIOD_NS)
    assert len(pair.outlet.outstanding) == 2


def test_credits_free_slots_and_acknowledge(pair: Pair) -> None:
    frame = pair.send(1)
    assert frame.waiting == 1
    pair.acknowledge()
    assert pair.outlet.credits() == [frame]
    assert frame.acknowledged
    assert frame.waiting == 0
    assert not pair.outlet.outstanding


def test_waits_for_the_newest_frame_that_is_ready_in_time(pair: Pair) -> None:
    pair.send(1)
    pair.acknowledge(ready_ns=100 * MS)
    pair.outlet.credits()
    # Grabs at 0, 33 and 66 ms: the next one would be ready by 100 ms, too, so each may be left out but the last.
    pair.outlet._prepare_ns = 2.0 * MS
    assert not pair.outlet.wants(0, PERIOD_NS)
    assert not pair.outlet.wants(33 * MS, PERIOD_NS)
    assert pair.outlet.wants(66 * MS, PERIOD_NS)
    assert pair.outlet.wants(99 * MS, PERIOD_NS)


def test_preparation_that_takes_long_begins_earlier(pair: Pair) -> None:
    pair.send(1)
    pair.acknowledge(ready_ns=100 * MS)
    pair.outlet.credits()
    pair.outlet._prepare_ns = 40.0 * MS
    assert pair.outlet.wants(33 * MS, PERIOD_NS)


def test_a_second_frame_only_when_the_detector_is_late(pair: Pair) -> None:
    pair.send(1)
    pair.acknowledge(ready_ns=100 * MS)
    pair.outlet.credits()
    pair.send(2)
    assert not pair.outlet.wants(110 * MS, PERIOD_NS)
    assert pair.outlet.wants(140 * MS, PERIOD_NS)


def test_closed_by_the_detector(pair: Pair) -> None:
    frame = pair.send(1)
    pair.reader.close()
    with pytest.raises(RingClosed):
        pair.outlet.credits()
    with pytest.raises(RingClosed):
        pair.send(2)
    assert pair.outlet.close() == [frame]
    assert frame.waiting == 0
    assert not frame.acknowledged


def jpeg_picture(width: int, height: int) -> Picture:
    pixels = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 4)
    return Picture(width, height, data=bytes(cv2.imencode(".jpg", pixels)[1]))


@pytest.mark.parametrize(
    ("width", "height", "crop", "decoded"),
    [
        (1280, 720, WHOLE, (90, 160)),
        (100, 80, WHOLE, (40, 50)),
        (63, 80, WHOLE, (80, 63)),
        # A tenth of the width: what is left of that must still be enough.
        (1280, 720, (0.0, 0.0, 0.1, 1.0), (180, 320)),
    ],
)
def test_jpeg_is_decoded_no_larger_than_needed(
    pair: Pair, width: int, height: int, crop: tuple[float, float, float, float], decoded: tuple[int, int]
) -> None:
    picture = jpeg_picture(width, height)
    frame = make_frame(1, picture)
    pair.outlet.send(frame, Orientation(), crop)
    assert picture.decoded is not None
    assert picture.decoded.shape[:2] == decoded
    (arrived,) = pair.reader.receive()
    assert (arrived.width, arrived.height) == (width, height)


def test_reduced_decoding_shows_the_same_picture(pair: Pair) -> None:
    picture = jpeg_picture(640, 480)
    pair.send(1, picture)
    (frame,) = pair.reader.receive()
    tensor = np.frombuffer(pair.reader.slot(frame.slot), np.uint8).reshape(24, 32, 3).astype(int)
    full = cv2.resize(picture.decode(1), (32, 24), interpolation=cv2.INTER_AREA)[:, :, ::-1].astype(int)
    assert np.abs(tensor - full).mean() < 3


def test_a_broken_jpeg_costs_no_slot(pair: Pair) -> None:
    with pytest.raises(BadFrame):
        pair.send(1, Picture(64, 48, data=b"\xff\xd8 nothing \xff\xd9"))
    assert not pair.outlet.outstanding
    pair.send(2)
    pair.send(3)
    assert [frame.frame for frame in pair.reader.receive()] == [2, 3]
