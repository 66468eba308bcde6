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
    assert len(splitter._data) <= mjpeg.MAX_LINE_BYTES
    assert splitter.total == 1_000_000 and splitter.complete == 0


def test_a_frame_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mjpeg, "MAX_FRAME_BYTES", 5000)
    splitter = Splitter()
    splitter.feed(FRAMES[0][:-2])
    for _ in range(20):
        splitter.feed(b"\x55" * 1000)
        assert len(splitter._data) <= mjpeg.MAX_LINE_BYTES + 1000
    splitter.feed(FRAMES[1])
    assert splitter.newest() == FRAMES[1]


def test_picture_of_a_frame() -> None:
    picture = mjpeg.picture(FRAMES[0])
    assert (picture.width, picture.height) == (32, 24)
    with pytest.raises(BadFrame, match="header"):
        mjpeg.picture(b"\xff\xd8\xff\xda\x00\x02\xff\xd9")


# ---- as cameras really send it


def part(data: bytes, *headers: bytes, delimiter: bytes = b"--frame", end: bytes = b"\r\n") -> bytes:
    return end.join((delimiter, *headers, b"", data)) + end


JPEG_PART = b"Content-Type: image/jpeg"
BARE = [frame.removesuffix(b"\xff\xd9") for frame in FRAMES]
PNG = bytes(cv2.imencode(".png", np.full((24, 32, 3), 77, np.uint8))[1])
WEBP = bytes(cv2.imencode(".webp", np.full((24, 32, 3), 77, np.uint8))[1])


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
@pytest.mark.parametrize("delimiter", [b"--frame", b"----frame", b'--"frame"', b"--myboundary--", b"--"])
@pytest.mark.parametrize("frames", [FRAMES, BARE], ids=["marked", "without end marker"])
@pytest.mark.parametrize(
    "headers",
    [
        (),
        (JPEG_PART,),
        (b"Content-type:image/jpeg", b"Content-length: %d"),
        (JPEG_PART, b"Content-Length: 0"),
        (JPEG_PART, b"Content-Length: 10"),
        (JPEG_PART, b"Content-Length: 99999999"),
        (JPEG_PART, b"Content-Length: lots"),
        (b": image/jpeg", b"no colon here", b"Content-Type: image/jpeg; charset=none", b" folded"),
        (b"Content-Type: application/octet-stream", b"X-Timestamp: 1.5"),
        (b"Content-Type: image/jpg",),
    ],
    ids=lambda headers: b" ".join(headers).decode() or "none",
)
def test_every_spelling_of_a_part(end, delimiter, frames, headers) -> None:
    def stated(frame: bytes) -> list[bytes]:
        return [header % len(frame) if b"%d" in header else header for header in headers]

    stream = b"".join(part(frame, *stated(frame), delimiter=delimiter, end=end) for frame in frames)
    stream += delimiter + end
    assert all_frames(stream, list(range(0, len(stream), 7))) == FRAMES
    assert all_frames(b"preamble" + end + end + stream, [])[-1] == FRAMES[-1]


def test_an_announced_length_that_held_ends_the_next_frame_at_once() -> None:
    """Without an end marker, nothing else says so before the next part, a whole period later."""
    splitter = Splitter()
    for frame in BARE:
        splitter.feed(part(frame, JPEG_PART, b"Content-Length: %d" % len(frame)))
    assert splitter.complete == 4
    assert splitter.newest() == FRAMES[-1]


def test_the_last_frame_of_a_stream_ends_with_it() -> None:
    splitter = Splitter()
    splitter.feed(BARE[0])
    splitter.finish()
    assert splitter.newest() == FRAMES[0]


@pytest.mark.parametrize("kind", [b"text/plain", b"application/json", b"text/html; charset=utf-8", b"audio/basic"])
def test_parts_of_another_type_between(kind: bytes) -> None:
    other = part(b"temperature: 20\xff\xd8\xff\xe0 \r\n\r\nmore", b"Content-Type: " + kind)
    stream = b"".join(other + part(frame, JPEG_PART) + other for frame in FRAMES)
    assert all_frames(stream, list(range(len(stream)))) == FRAMES


@pytest.mark.parametrize("picture", [PNG, WEBP], ids=["png", "webp"])
def test_other_pictures_that_a_browser_shows(picture: bytes) -> None:
    stream = b"".join(part(picture, b"Content-Type: image/png") for _ in range(3))
    assert all_frames(stream, list(range(len(stream)))) == [picture] * 3
    assert all_frames(picture * 3, list(range(len(picture * 3)))) == [picture] * 3, "also without parts, from a command"
    shown = mjpeg.picture(picture)
    assert (shown.width, shown.height) == (32, 24)


def test_a_picture_that_only_begins_like_one() -> None:
    broken = PNG[:12] + b"1DAT" + PNG[16:]
    assert all_frames(broken + FRAMES[0], [])[-1] == FRAMES[0]
    with pytest.raises(BadFrame, match="PNG but cannot be decoded"):
        mjpeg.picture(PNG[:40])


def test_a_faulty_marker_in_the_data_hides_no_end() -> None:
    frame = FRAMES[0]
    at = len(frame) - 100
    torn = frame[:at] + b"\xff\xdb\xff\xf0" + frame[at:]
    assert all_frames(torn + FRAMES[1], list(range(len(torn) + 1))) == [torn, FRAMES[1]]


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "nothing"),
        (part(b"nothing to see", b"Content-Type: image/png") * 12, "12 parts of image/png, no JPEG"),
        (part(PNG[:12] + b"1DAT" + PNG[16:], b"Content-Type: image/png") * 2, "2 parts of image/png, no JPEG"),
        (part(b"GIF89a....", b"Content-Type: image/gif"), "1 part of image/gif, no JPEG"),
        (
            part(b"<html><b>No  signal</b>", b"Content-Type: text/html") * 2,
            '2 parts of text/html (the first begins "No signal"), no JPEG',
        ),
        (part(b"", b"X: y") * 2, "2 parts of no type, no JPEG"),
        (
            b"<!DOCTYPE html><head><title>Log in</title><style>b{}</style></head><script>x()</script>",
            'a web page that begins "Log in"',
        ),
        (b'{"error": "no camera"}\n', "text that begins \"{'error': 'no camera'}\""),
        (bytes(range(256)) * 10, "2560 bytes with no JPEG in them"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_came_instead(stream: bytes, words: str) -> None:
    for step in (1, 1000):
        splitter = Splitter()
        for at in range(0, len(stream), step):
            splitter.feed(stream[at : at + step])
        splitter.finish()
        assert (splitter.complete, splitter.came()) == (0, words)


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
