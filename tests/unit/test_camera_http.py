from __future__ import annotations

import contextlib
import socket
import threading

import cv2
import numpy as np
import pytest

from vigild.camera.frames import Buffers
from vigild.camera.sources.base import Grab, SourceFailed
from vigild.camera.sources.http import HttpSource
from vigild.camera.sources.mjpeg import Splitter
from vigild.camera.sources.silence import Silence
from vigild.config.schema import CameraConfig

URL = "http://user:secret@camera.lan:8080/video"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other", "http://user:secret@camera.lan:8080/other"),
        ("http://camera.lan:8080/other", "http://user:secret@camera.lan:8080/other"),
        ("https://camera.lan/other", "https://user:secret@camera.lan/other"),
        ("http://camera.lan:8081/other", "http://camera.lan:8081/other"),
        ("http://elsewhere.lan:8080/other", "http://elsewhere.lan:8080/other"),
        ("//elsewhere.lan/other", "http://elsewhere.lan/other"),
        ("http://guest:guest@elsewhere.lan/other", "http://guest:guest@elsewhere.lan/other"),
    ],
)
def test_credentials_go_to_no_other_server(location: str, target: str) -> None:
    assert HttpSource(URL, CameraConfig(source=URL))._redirected(URL, location) == target


def test_https_credentials_are_not_sent_in_the_clear() -> None:
    url = "https://user:secret@camera.lan/video"
    assert HttpSource(url, CameraConfig(source=url))._redirected(url, "http://camera.lan/") == "http://camera.lan/"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "rtsp://camera.lan/"])
def test_redirects_stay_in_http(location: str) -> None:
    with pytest.raises(SourceFailed, match="not HTTP") as caught:
        HttpSource(URL, CameraConfig(source=URL))._redirected(URL, location)
    assert "secret" not in caught.value.reason


# ---- answers as cameras really send them


def jpg(level: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((24, 32, 3), level, np.uint8))[1])


PICTURES = [jpg(level) for level in (10, 90, 170)]
PARTS = b"".join(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n" for data in PICTURES) + b"--b--\r\n"
MULTIPART = b"Content-Type: multipart/x-mixed-replace; boundary=b\r\n"


class Answers:
    """A server that answers each connection with bytes, and keeps it open or closes it."""

    def __init__(self, answer: bytes, close: bool) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/a%20b/ü"
        self.asked: list[bytes] = []
        self._answer, self._close = answer, close
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.asked.append(connection.recv(65536))
                connection.sendall(self._answer)
                self._open.append(connection)
                if self._close:
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def source_of(server: Answers, **settings: float) -> HttpSource:
    return HttpSource(server.url, CameraConfig(source=server.url, **settings))  # type: ignore[arg-type]


def newest(source: HttpSource) -> bytes:
    while source.grab() is Grab.NOTHING:
        pass
    picture = source.retrieve(Buffers(1))
    assert picture.data is not None
    return picture.data


@pytest.mark.parametrize("close", [True, False], ids=["closed", "kept open"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + MULTIPART + b"\r\n",
        b"HTTP/1.0 200\r\n" + MULTIPART + b"\r\n",
        b"HTTP 200 OK\n" + MULTIPART.replace(b"\r", b"") + b"\n",
        b"ICY 200 OK\r\n" + MULTIPART + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + MULTIPART + b"\r\n",
        b"HTTP/1.1 200 OK\r\n: nameless\r\nno colon\r\n" + MULTIPART + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + MULTIPART + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + MULTIPART,
        MULTIPART + b"\r\n",
        b"",
    ],
    ids=[
        "usual", "1.0", "lf", "icy", "continue", "nameless", "length", "image", "html", "untyped", "no blank line",
        "no status line", "no head",
    ],
)  # fmt: skip
def test_heads_that_browsers_forgive(head: bytes, close: bool) -> None:
    with Answers(head + PARTS, close) as server:
        source = source_of(server)
        source.open()
        assert newest(source) == PICTURES[-1]
        assert source.skipped == 2
        if close:
            with pytest.raises(SourceFailed, match="closed the stream"):
                source.grab()
        source.close()
        assert b"GET /a%20b/%C3%BC HTTP/1.1\r\n" in server.asked[0]


@pytest.mark.parametrize("length", [b"", b"Content-Length: %d\r\n" % len(PICTURES[0])], ids=["to the end", "length"])
def test_a_picture_alone(length: bytes) -> None:
    with Answers(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + PICTURES[0], True) as server:
        source = source_of(server, fps=5.0)
        assert source.open().fps == 5.0
        assert source.paced
        assert [newest(source) for _ in range(3)] == [PICTURES[0]] * 3
        assert len(server.asked) == 3
        source.close()


@pytest.mark.parametrize("close", [True, False], ids=["closed", "kept open"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><h1>Busy</h1>", 'is a web page that begins "Busy"'),
        (b"HTTP/1.1 200 OK\r\n" + MULTIPART + b"\r\n<html><h1>Busy</h1>", 'a web page that begins "Busy"'),
        (b"HTTP/1.1 200 OK\r\n\r\n{'error': 'no camera'}", "text that begins \"{'error': 'no camera'}\""),
        (
            b"HTTP/1.1 200 OK\r\n"
            + MULTIPART
            + b"\r\n"
            + b"--b\r\nContent-Type: image/png\r\n\r\nxxx\r\n" * 12
            + b"--b--",
            "12 parts of image/png, no JPEG",
        ),
    ],
    ids=["page", "page as stream", "text", "parts"],
)
def test_what_came_is_told(answer: bytes, words: str, close: bool) -> None:
    with Answers(answer, close) as server, pytest.raises(SourceFailed) as caught:
        source = source_of(server, open_timeout=1.5)
        source.open()
        while source.grab() is not Grab.FRAME:
            pass
    assert words in caught.value.reason
    assert caught.value.cause == "open"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503 Busy"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "no end within 64 KiB"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "gave no picture, but nothing"),
    ],
)
def test_answers_without_content(answer: bytes, words: str) -> None:
    with Answers(answer, True) as server, pytest.raises(SourceFailed, match=words):
        source_of(server).open()


def test_parts_of_another_kind_in_the_place_of_frames() -> None:
    silence = Silence(open_timeout_s=10.0, read_timeout_s=1.5, now_s=0.0)
    splitter = Splitter()
    splitter.feed(PARTS)
    silence.picture(splitter, 1.0)
    silence.check(splitter, 100.0)  # nothing came at all: the reader's to tell
    splitter.feed(b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nno signal\r\n" * 3 + b"--b\r\n")
    silence.check(splitter, 1.4)
    with pytest.raises(
        SourceFailed, match=r'no frame for 1.0 s, but 3 parts of text/plain .the first begins "no signal"'
    ):
        silence.check(splitter, 2.0)
