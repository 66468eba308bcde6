import cv2
import numpy as np

from vigild.camera.frames import Buffers, Frame, Picture
from vigild.camera.orientation import Orientation
from vigild.camera.snapshot import HeldFrames, encode
from vigild.ipc.messages import Overlay

BOX = Overlay(frame=1, boxes=[((0.25, 0.25, 0.75, 0.75), "person", 0.9)])


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def make_frame(number: int, level: int = 100) -> Frame:
    return Frame(number, 0, 0, Picture(160, 120, pixels=np.full((120, 160, 3), level, np.uint8)), 160, 120)


def jpeg_frame(number: int) -> Frame:
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[:, 80:] = 200
    return Frame(number, 0, 0, Picture(160, 120, data=bytes(cv2.imencode(".jpg", pixels)[1])), 160, 120)


def test_keeps_frames_on_the_way_and_the_two_newest_inferred() -> None:
    held = HeldFrames(Buffers(8))
    frames = [make_frame(n) for n in range(1, 7)]
    for frame in frames:
        held.hold(frame)
    for frame in frames[:4]:
        held.inferred(frame)
    assert held.borrow([1, 2]) is None
    assert held.borrow([1, 2, 3]) is frames[2]
    assert held.borrow([3, 4]) is frames[3]
    assert held.borrow([5]) is frames[4]


def test_the_newest_that_has_a_result() -> None:
    held = HeldFrames(Buffers(8))
    for n in (1, 2, 3):
        held.hold(make_frame(n))
    frame = held.borrow([1, 2])
    assert frame is not None
    assert frame.number == 2


def test_a_buffer_is_not_used_again_while_it_is_encoded() -> None:
    buffers = Buffers(8)
    held = HeldFrames(buffers)
    first, second = make_frame(1), make_frame(2)
    for frame in (first, second):
        held.hold(frame)
    borrowed = held.borrow([1])
    held.drop(first)
    held.drop(second)
    assert borrowed is first
    assert buffers.take(160, 120) is second.picture.pixels
    assert buffers.take(160, 120) is not first.picture.pixels


def test_buffers_of_another_size_are_not_handed_out() -> None:
    buffers = Buffers(8)
    small = np.empty((12, 16, 3), np.uint8)
    buffers.give_back(small)
    assert buffers.take(160, 120).shape == (120, 160, 3)


def test_a_jpeg_goes_out_as_it_came() -> None:
    frame = jpeg_frame(1)
    assert encode(frame, Orientation(), None) is frame.picture.data


def test_a_turned_jpeg_is_turned_upright() -> None:
    picture = decode(encode(jpeg_frame(1), Orientation.of(90, "none"), None))
    assert picture.shape == (160, 120, 3)
    assert picture[:70].mean() < 30
    assert picture[90:].mean() > 170


def test_drawing_leaves_the_held_frame_alone() -> None:
    frame = make_frame(1)
    assert frame.picture.pixels is not None
    plain = decode(encode(frame, Orientation(), None))
    drawn = decode(encode(frame, Orientation(), BOX))
    assert (frame.picture.pixels == 100).all()
    assert np.abs(plain.astype(int) - 100).max() <= 3
    difference = np.abs(drawn.astype(int) - plain.astype(int)).max(axis=2)
    # The box's edge, and nothing in the middle of it.
    assert difference[60, 40] > 50
    assert difference[60, 119] > 50
    assert difference[89, 80] > 50
    assert difference[60, 80] < 20


def test_labels_at_every_edge_and_in_any_script() -> None:
    boxes = [((x, y, x + 0.3, y + 0.3), "größe 人", 0.5) for x in (-0.1, 0.0, 0.8) for y in (-0.1, 0.0, 0.8)]
    for frame in (make_frame(1), jpeg_frame(1)):
        assert decode(encode(frame, Orientation(), Overlay(frame=1, boxes=boxes))).shape == (120, 160, 3)
