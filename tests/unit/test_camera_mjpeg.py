from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.camera.frames import BadFrame
from vigild.camera.sources import mjpeg
from vigild.camera.sources.mjpeg import Splitter
from vigild.camera.sources.unchunk import MAX_LINE_BYTES, BadChunk, Unchunk


def make(seed: int, width: int = 32, *options: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, width, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, list(options))[1])


FRAMES = [make(seed) for seed in range(4)]
PROGRESSIVE = make(9, 32, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def thumbnailed(data: bytes, thumbnail: bytes) -> bytes:
    """With a whole JPEG inside a segment of its header, as EXIF thumbnails are."""
    return data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]


def multipart(frames: list[bytes]) -> bytes:
    return b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(f), f) for f in frames
    )


def all_frames(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Feed in pieces; each complete frame, as far as no newer one came in the same piece."""
    splitter = Splitter()
    found = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        splitter.feed(stream[start:end])
        frame = splitter.newest()
        if frame is not None:
            found.append(frame)
    return found


@pytest.mark.parametrize("stream", [multipart(FRAMES), b"".join(FRAMES)], ids=["multipart", "bare"])
def test_byte_by_byte(stream: bytes) -> None:
    assert all_frames(stream, list(range(len(stream)))) == FRAMES


def test_only_the_newest_of_many_is_kept() -> None:
    splitter = Splitter()
    splitter.feed(multipart(FRAMES) + FRAMES[0][:50])
    assert splitter.complete == 4
    assert splitter.newest() == FRAMES[-1]
    assert splitter.newest() is None


@given(st.lists(st.integers(0, 10_000), max_size=6), st.binary(max_size=40).filter(lambda b: b"\xff" not in b))
def test_any_cuts_and_noise_between(cuts: list[int], noise: bytes) -> None:
    stream = noise + noise.join(FRAMES) + noise
    found = all_frames(stream, cuts)
    assert found[-1] == FRAMES[-1]
    assert [f for f in FRAMES if f in found] == found


def test_a_thumbnail_does_not_end_the_frame() -> None:
    frame = thumbnailed(FRAMES[0], FRAMES[1])
    assert all_frames(frame + FRAMES[2], [len(frame)]) == [frame, FRAMES[2]]


def test_progressive() -> None:
    assert all_frames(PROGRESSIVE + FRAMES[0], [len(PROGRESSIVE)]) == [PROGRESSIVE, FRAMES[0]]


def test_joining_in_the_middle_of_a_frame() -> None:
    assert all_frames(FRAMES[0][len(FRAMES[0]) // 2 :] + FRAMES[1], [])[-1] == FRAMES[1]


def test_noise_that_looks_like_a_start() -> None:
    assert all_frames(b"\xff\xd8 not a jpeg" + FRAMES[0], [5, 9])[-1] == FRAMES[0]
    assert all_frames(b"\xff" * 10 + FRAMES[0], [3])[-1] == FRAMES[0]


def test_garbage_is_not_kept() -> None:
    splitter = Splitter()
    for _ in range(100):
        splitter.feed(b"x" * 10_000)
    assert len(splitter._data) <= 1


def test_a_frame_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_FRAME_BYTES", 5000)
    splitter = Splitter()
    splitter.feed(FRAMES[0][:-2])
    for _ in range(20):
        splitter.feed(b"\x55" * 1000)
        assert len(splitter._data) <= 6000
    splitter.feed(FRAMES[1])
    assert splitter.newest() == FRAMES[1]


def test_picture_of_a_frame() -> None:
    picture = mjpeg.picture(FRAMES[0])
    assert (picture.width, picture.height) == (32, 24)
    with pytest.raises(BadFrame, match="header"):
        mjpeg.picture(b"\xff\xd8\xff\xda\x00\x02\xff\xd9")


# ---- chunked transfer coding


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(p), p) for p in parts if p) + b"0\r\n\r\n"


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 7))
def test_chunks_in_any_pieces(parts: list[bytes], step: int) -> None:
    coded = chunked(parts)
    unchunk = Unchunk()
    out = b"".join(unchunk.feed(coded[i : i + step]) for i in range(0, len(coded), step))
    assert out == b"".join(parts)
    assert unchunk.ended


@pytest.mark.parametrize("coded", [b"zz\r\n", b"-5\r\nabc", b"3\r\nabcdef\r\n", b"1" * (MAX_LINE_BYTES + 1), b"\r\n"])
def test_broken_chunks(coded: bytes) -> None:
    with pytest.raises(BadChunk):
        Unchunk().feed(coded)
