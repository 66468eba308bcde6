"""Pictures over HTTP: MJPEG as IP cameras, ustreamer and mjpg-streamer serve it, and addresses of a single picture.

A browser is the measure: what one shows at an address is read. A picture alone is asked for again and again, as
often as `fps` says, else STILLS_A_SECOND times. A video that is not MJPEG, and a server that asks for digest
authentication, are handed to OpenCV's FFmpeg.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from urllib.parse import SplitResult, urljoin, urlsplit

from vigild.camera.frames import Buffers, Picture
from vigild.camera.sources import exchange
from vigild.camera.sources.base import MAX_BURST_FRAMES, POLL_S, Cause, Grab, Opened, Source, SourceFailed
from vigild.camera.sources.exchange import Exchange
from vigild.camera.sources.mjpeg import Splitter, picture
from vigild.camera.sources.response import BadHead, Head
from vigild.camera.sources.silence import Silence
from vigild.camera.sources.unchunk import BadChunk, Unchunk
from vigild.config.schema import CameraConfig
from vigild.config.source import redact

MAX_REDIRECTS = 5
READ_BYTES = 2**18

STILLS_A_SECOND = 2.0
"""Of a picture alone. Few cameras make a new one more often, and each costs a connection."""

FIRST_LOOK_S = 1.0
"""How long `open` waits for what comes first: by then a page, an error or a picture alone has shown itself."""

_AFTER_PICTURE_S = 0.3
"""And how long behind a first picture, for the end that tells a picture alone from a stream."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MJPEG_TYPES = frozenset({"video/x-motion-jpeg", "video/x-mjpeg", "video/mjpeg", "video/x-jpeg"})


class HttpSource:
    """A stream, or a picture, at an http or https URL."""

    live = True

    def __init__(self, url: str, config: CameraConfig) -> None:
        self._url = url
        self._config = config
        self._where = redact(url)
        self._exchange: Exchange | None = None
        self._unchunk: Unchunk | None = None
        self._left: int | None = None
        """Bytes of the content still to come, where the server said how many and it is one picture."""
        self._splitter = Splitter()
        self._frame: bytes | None = None
        self._video: Source | None = None
        self._poll = select.poll()
        self._ended = False
        self._taken = 0
        """Pictures of this answer that `grab` has seen."""
        self._silence = Silence(config.open_timeout, config.read_timeout, 0.0)
        self.skipped = 0
        self.paced = False
        """It is a picture alone, asked for at each grab."""

    # ---- opening

    def open(self) -> Opened:
        """Connect and look at what the server answers with. Raises SourceFailed."""
        deadline_s = time.monotonic() + self._config.open_timeout
        self.paced = False
        opened = self._ask("open", deadline_s)
        if opened is not None:
            return opened
        assert self._exchange is not None
        head = self._exchange.head
        kind = head.type or "no content type"
        self._look(min(time.monotonic() + FIRST_LOOK_S, deadline_s))
        self._silence = Silence(self._config.open_timeout, self._config.read_timeout, time.monotonic())
        page = head.type.startswith("text/") and not self._splitter.other_parts
        if not self._splitter.complete and (self._ended or page):
            raise SourceFailed("open", self._no_picture(head))
        if self._ended and self._splitter.complete == 1:
            self.paced = True
            fps = self._config.fps or STILLS_A_SECOND
            return Opened(fps, f"HTTP, {self._where}, a picture alone ({kind}), asked for {fps:g} times a second")
        return Opened(0.0, f"HTTP, {self._where}, {kind}")

    def _look(self, until_s: float) -> None:
        """Read what comes first: up to the answer's end, or until more comes behind a picture."""
        while not self._ended and (left_s := until_s - time.monotonic()) > 0:
            had = self._splitter.complete
            if not self._arrives(min(left_s, _AFTER_PICTURE_S) if had else left_s):
                return
            self._receive()
            if had and not self._ended:
                return

    def _ask(self, cause: Cause, deadline_s: float) -> Opened | None:
        """Send the request, follow redirects. What a video is opened as; None: `_exchange` has the answer."""
        url = self._url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                self._exchange = exchange.get(url, deadline_s)
                head = self._exchange.head
                location = head.get("location")
                if head.status in _REDIRECTS and location:
                    url = self._redirected(url, location)
                    self.close()
                    continue
                return self._answered(url, head)
        except BadHead as error:
            raise SourceFailed(cause, f"{self._where}: {error}") from None
        except (OSError, ValueError) as error:
            raise SourceFailed(cause, f"{self._where}: {exchange.words(error)}") from None
        raise SourceFailed(cause, f"{self._where} redirects more than {MAX_REDIRECTS} times")

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

    def _answered(self, url: str, head: Head) -> Opened | None:
        if head.status == 401 and urlsplit(url).username is not None and _wants_digest(head):
            return self._open_video(url)
        if head.status in (401, 403):
            raise SourceFailed(
                "open", f"{self._where}: the server wants other credentials ({head.status}); {_HOW_AUTH}"
            )
        if not 200 <= head.status < 300 or head.status == 204:
            raise SourceFailed("open", f"{self._where}: the server answered {head.status} {head.reason}".rstrip())
        if head.type.startswith("video/") and head.type not in _MJPEG_TYPES:
            return self._open_video(url)
        self._start(head)
        return None

    def _open_video(self, url: str) -> Opened:
        from vigild.camera.sources.video import StreamSource

        self.close()
        config = self._config
        self._video = StreamSource(url, config.decode_threads, config.open_timeout, config.read_timeout)
        return self._video.open()

    def _start(self, head: Head) -> None:
        """Make ready to read the content, beginning with what came along with the head."""
        assert self._exchange is not None
        self._splitter = Splitter()
        self._taken = 0
        self._ended = False
        self._unchunk = Unchunk() if head.get("transfer-encoding").lower() == "chunked" else None
        length = head.get("content-length")
        # Of a multipart stream the length is made up.
        counts = length.isascii() and length.isdigit() and len(length) < 12 and not head.type.startswith("multipart/")
        self._left = (int(length) or None) if counts and self._unchunk is None else None
        self._exchange.socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._exchange.socket, select.POLLIN)
        self._take(self._exchange.body)

    def _no_picture(self, head: Head) -> str:
        """What came and is no picture, as a sentence."""
        came = self._splitter.came()
        if came.startswith("a web page"):
            return f"{self._where} is {came}, not a stream; give the address of the picture in it"
        return f"{self._where} gave no picture, but {came} ({head.type or 'no content type'})"

    # ---- reading

    def grab(self) -> Grab:
        """The newest frame that has arrived; waits for one, but not long. Raises SourceFailed."""
        if self._video is not None:
            return self._video.grab()
        if self.paced and self._splitter.complete == self._taken:
            self._ask_again()
        # A server may send without pause, frames or noise: this loop must end all the same.
        until_s = time.monotonic() + POLL_S
        splitter = self._splitter
        while not self._ended and splitter.complete - self._taken <= MAX_BURST_FRAMES:
            # With a frame at hand, only what has arrived already can be better.
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not self._arrives(left_s if splitter.complete == self._taken else 0.0):
                break
            self._receive()
        found = splitter.complete - self._taken
        now_s = time.monotonic()
        if not found:
            if self._ended:
                raise SourceFailed("read", "the server closed the stream")
            self._silence.check(splitter, now_s)
            return Grab.NOTHING
        self._silence.picture(splitter, now_s)
        self.skipped += found - 1
        self._taken = splitter.complete
        self._frame = splitter.newest()
        return Grab.FRAME

    def _ask_again(self) -> None:
        """The next picture of an address that gives one at a time. Raises SourceFailed."""
        deadline_s = time.monotonic() + self._config.read_timeout
        self.close()
        if self._ask("read", deadline_s) is not None:
            raise SourceFailed("shape", f"{self._where} gave a picture, and now a video")
        assert self._exchange is not None
        while not self._ended and not self._splitter.complete:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._arrives(left_s):
                raise SourceFailed("read", f"{self._where}: the picture did not come in time")
            self._receive()
        if not self._splitter.complete:
            raise SourceFailed("read", self._no_picture(self._exchange.head))
        self._ended = True

    def _arrives(self, timeout_s: float) -> bool:
        """Whether there is something to read, now or in time; decrypted bytes are what poll() cannot see."""
        assert self._exchange is not None
        sock = self._exchange.socket
        return (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0) or bool(self._poll.poll(timeout_s * 1000))

    def _receive(self) -> None:
        assert self._exchange is not None
        try:
            data = self._exchange.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise SourceFailed("read", f"the connection broke: {exchange.words(error)}") from None
        if data:
            self._take(data)
        else:
            self._finish()

    def _take(self, data: bytes) -> None:
        if self._unchunk is not None:
            try:
                data = self._unchunk.feed(data)
            except BadChunk as error:
                raise SourceFailed("read", f"the server's chunked encoding is broken: {error}") from None
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._splitter.feed(data)
        if self._left == 0 or (self._unchunk is not None and self._unchunk.ended):
            self._finish()

    def _finish(self) -> None:
        """The answer has ended."""
        self._ended = True
        self._splitter.finish()

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
        if self._exchange is not None:
            with contextlib.suppress(OSError):
                self._exchange.socket.close()
            self._exchange = None


def _same_server(source: SplitResult, target: SplitResult) -> bool:
    """Whether credentials for `source` may be sent to `target`: the same origin, or its encrypted twin."""
    if source.hostname != target.hostname:
        return False
    if source.scheme == target.scheme:
        return source.port == target.port
    return target.scheme == "https"


_HOW_AUTH = "write them as http://USER:PASSWORD@HOST/"


def _wants_digest(head: Head) -> bool:
    return any(value.lower().startswith("digest") for value in head.all("www-authenticate"))
