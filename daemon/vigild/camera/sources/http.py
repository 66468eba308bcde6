"""MJPEG over HTTP, as IP cameras, ustreamer and mjpg-streamer serve it.

`http.client` does the connection and the header; the body is then read from the socket itself,
so that all that has arrived can be taken and only the newest frame is kept. A video that is not
MJPEG, and a server that asks for digest authentication, are handed to OpenCV's FFmpeg.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from vigild import __version__
from vigild.camera.frames import Buffers, Picture
from vigild.camera.sources.base import MAX_BURST_FRAMES, POLL_S, Grab, Opened, Source, SourceFailed
from vigild.camera.sources.mjpeg import Splitter, picture
from vigild.camera.sources.unchunk import BadChunk, Unchunk
from vigild.config.schema import CameraConfig
from vigild.config.source import redact

MAX_REDIRECTS = 5
READ_BYTES = 2**18

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class HttpSource:
    """A stream at an http or https URL."""

    live = True
    paced = False

    def __init__(self, url: str, config: CameraConfig) -> None:
        self._url = url
        self._config = config
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._unchunk: Unchunk | None = None
        self._splitter = Splitter()
        self._frame: bytes | None = None
        self._video: Source | None = None
        self._poll = select.poll()
        self.skipped = 0

    def open(self) -> Opened:
        """Connect and look at what the server answers with. Raises SourceFailed."""
        deadline_s = time.monotonic() + self._config.open_timeout
        url = self._url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._get(url, deadline_s - time.monotonic())
                location = response.getheader("Location")
                if response.status in _REDIRECTS and location:
                    url = self._redirected(url, location)
                    self.close()
                    continue
                return self._opened(url, response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceFailed("open", f"{redact(self._url)}: {_words(error)}") from None
        raise SourceFailed("open", f"{redact(self._url)} redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, url: str, location: str) -> str:
        """Where to go next; the credentials go along only to the same host."""
        target = urlsplit(urljoin(url, location))
        if target.scheme not in ("http", "https"):
            raise SourceFailed("open", f"{redact(self._url)} redirects to {redact(location)}, which is not HTTP")
        source = urlsplit(url)
        userinfo, at, _ = source.netloc.rpartition("@")
        if at and "@" not in target.netloc and _same_server(source, target):
            target = target._replace(netloc=f"{userinfo}@{target.netloc}")
        return target.geturl()

    def _get(self, url: str, timeout_s: float) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        assert parts.hostname is not None
        timeout_s = max(timeout_s, 0.1)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._connection = connection
        connection.connect()
        # getresponse() drops its reference where the server closes afterwards; the body is read from here.
        self._socket = connection.sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers=_headers(parts))
        self._response = connection.getresponse()
        return self._response

    def _opened(self, url: str, response: http.client.HTTPResponse) -> Opened:
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        where = redact(self._url)
        if response.status == 401 and urlsplit(url).username is not None and _wants_digest(response):
            return self._open_video(url)
        if response.status in (401, 403):
            raise SourceFailed("open", f"{where}: the server wants other credentials ({response.status}); {_HOW_AUTH}")
        if response.status != 200:
            raise SourceFailed("open", f"{where}: the server answered {response.status} {response.reason}")
        if kind == "image/jpeg":
            raise SourceFailed("open", f"{where} is a single picture; give the address of the camera's MJPEG stream")
        if kind.startswith("text/"):
            raise SourceFailed(
                "open", f"{where} is a web page ({kind}), not a stream; give the address of the picture in it"
            )
        if kind.startswith("video/") and kind not in ("video/x-motion-jpeg", "video/x-mjpeg", "video/mjpeg"):
            return self._open_video(url)
        self._start(response)
        return Opened(0.0, f"HTTP, {where}, {kind or 'no content type'}")

    def _open_video(self, url: str) -> Opened:
        from vigild.camera.sources.video import StreamSource

        self.close()
        config = self._config
        self._video = StreamSource(url, config.decode_threads, config.open_timeout, config.read_timeout)
        return self._video.open()

    def _start(self, response: http.client.HTTPResponse) -> None:
        assert self._socket is not None
        self._splitter = Splitter()
        chunked = (response.getheader("Transfer-Encoding") or "").lower() == "chunked"
        self._unchunk = Unchunk() if chunked else None
        # What came along with the header lies in the response's buffer; more than its size empties it.
        self._socket.settimeout(0.0)
        self._take(_buffered(response))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def grab(self) -> Grab:
        """The newest frame that has arrived; waits for one, but not long. Raises SourceFailed."""
        if self._video is not None:
            return self._video.grab()
        before = self._splitter.complete
        # A server may send without pause, frames or noise: this loop must end all the same.
        until_s = time.monotonic() + POLL_S
        while self._splitter.complete - before <= MAX_BURST_FRAMES and (left_s := until_s - time.monotonic()) > 0:
            # With a frame at hand, only what has arrived already can be better.
            timeout_s = left_s if self._splitter.complete == before else 0.0
            if not self._pending() and not self._poll.poll(timeout_s * 1000):
                break
            self._receive()
        found = self._splitter.complete - before
        if not found:
            return Grab.NOTHING
        self.skipped += found - 1
        self._frame = self._splitter.newest()
        return Grab.FRAME

    def _pending(self) -> bool:
        """Decrypted bytes that poll() cannot see."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise SourceFailed("read", f"the connection broke: {_words(error)}") from None
        if not data:
            raise SourceFailed("read", "the server closed the stream")
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._unchunk is not None:
            try:
                data = self._unchunk.feed(data)
            except BadChunk as error:
                raise SourceFailed("read", f"the server's chunked encoding is broken: {error}") from None
        self._splitter.feed(data)
        if self._unchunk is not None and self._unchunk.ended:
            raise SourceFailed("read", "the server ended the stream")

    def retrieve(self, buffers: Buffers) -> Picture:
        if self._video is not None:
            return self._video.retrieve(buffers)
        assert self._frame is not None
        return picture(self._frame)

    def skip(self, frames: int) -> int:
        return 0

    def rewind(self) -> None:
        raise SourceFailed("read", "a stream has no beginning to go back to")

    def missing(self) -> int:
        return 0

    def set_rate(self, fps: float | None) -> None:
        """The sender decides."""

    def close(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
        for part in (self._response, self._connection, self._socket):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()
        self._response = self._connection = self._socket = None


def _same_server(source: SplitResult, target: SplitResult) -> bool:
    """Whether credentials for `source` may be sent to `target`: the same origin, or its encrypted twin."""
    if source.hostname != target.hostname:
        return False
    if source.scheme == target.scheme:
        return source.port == target.port
    return target.scheme == "https"


_HOW_AUTH = "write them as http://USER:PASSWORD@HOST/"


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"User-Agent": f"vigild/{__version__}", "Accept": "multipart/x-mixed-replace, image/jpeg, */*"}
    if parts.username is not None:
        userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(userinfo.encode()).decode()
    return headers


def _wants_digest(response: http.client.HTTPResponse) -> bool:
    return any(value.lower().startswith("digest") for value in response.headers.get_all("WWW-Authenticate", []))


def _buffered(response: http.client.HTTPResponse) -> bytes:
    """The part of the body that came with the header; needs a non-blocking socket."""
    fp: Any = response.fp
    try:
        # With something in the buffer, peek() gives all of that and does not read.
        return fp.peek() or b""
    except ssl.SSLWantReadError:
        return b""


def _words(error: Exception) -> str:
    """An exception in words for people."""
    if isinstance(error, socket.gaierror):
        return "the host's name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is the server running, and on this port?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__} {error}".strip()
