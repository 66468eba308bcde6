"""What a client says and understands, without I/O; `sync` and `aio` add the socket.

`Exchange`  one request and its answer
`Watcher`   a stream over any number of connections: when to give one up, when to try again
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET

from vigild.client.events import Connected, ConnectionLost, Silent, WatchEvent
from vigild.wire.framing import MAX_ANSWER_BYTES, Line, LineReceiver, TooLong, encode_line, parse_server_message
from vigild.wire.messages import (
    HEARTBEAT_INTERVAL_S,
    PROTOCOL,
    Answer,
    Detections,
    Error,
    Event,
    Health,
    Heartbeat,
    Hello,
    ServerMessage,
    Topic,
    Watching,
)
from vigild.wire.requests import Request, Watch

A = TypeVar("A", bound=Answer)

RECEIVE_BYTES = 64 * 1024

SILENCE_S = 3 * HEARTBEAT_INTERVAL_S
"""Two heartbeats may be late, three are missing."""

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0

_ID = 1  # one request is under way at a time, on each connection


class Refused(Exception):
    """The daemon refused a request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """A word for programs; docs/clients.md lists them."""
        self.message = message


class ProtocolError(Exception):
    """What answers at the socket is not a daemon that this client understands."""


class Lost(ConnectionError):
    """The connection is of no more use."""


class _Reader:
    """Bytes to messages; the first must be a `hello` of our protocol."""

    def __init__(self) -> None:
        self._receiver = LineReceiver(MAX_ANSWER_BYTES)
        self.hello: Hello | None = None

    def receive(self, data: bytes) -> Iterator[ServerMessage]:
        """Raises ProtocolError, or Refused for an error before the `hello`."""
        for event in self._receiver.receive(data):
            if isinstance(event, Line):
                message = self._parse(event.data)
                if message is not None:
                    yield message
            elif isinstance(event, TooLong):
                raise ProtocolError(f"a line of more than {event.limit_bytes} bytes; that is no vigild daemon")

    def _parse(self, line: bytes) -> ServerMessage | None:
        try:
            message = parse_server_message(line)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"a line that is not protocol {PROTOCOL} ({error}): {line[:80]!r}") from None
        if self.hello is None:
            self._greet(message)
        return message

    def _greet(self, message: ServerMessage | None) -> None:
        if isinstance(message, Error):
            raise Refused(message.code, message.message)
        if not isinstance(message, Hello):
            raise ProtocolError(f"expected a hello as the first line, got {type(message).__name__}")
        major = PROTOCOL.partition(".")[0]
        if message.protocol.partition(".")[0] != major:
            raise ProtocolError(
                f"the daemon (vigild {message.version}) speaks protocol {message.protocol} and this client {PROTOCOL}; "
                "install the same version of both"
            )
        self.hello = message


class Exchange(Generic[A]):
    """One request, answered by a message of type `kind`, on a connection of its own."""

    def __init__(self, request: Request, kind: type[A]) -> None:
        self.to_send = encode_line(msgspec.structs.replace(request, id=_ID))
        self._kind = kind
        self._reader = _Reader()

    def receive(self, data: bytes) -> A | None:
        """The answer, when it has come. Raises Refused, ProtocolError; Lost at the end of the stream."""
        if not data:
            raise Lost("the daemon closed the connection before it answered")
        for message in self._reader.receive(data):
            if isinstance(message, Error) and message.id in (None, _ID):
                raise Refused(message.code, message.message)
            if isinstance(message, Answer) and message.id == _ID:
                if not isinstance(message, self._kind):
                    raise ProtocolError(f"expected {self._kind.__name__} as the answer, got {type(message).__name__}")
                return message
        return None


def watch_request(
    cameras: Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    min_score: float | None = None,
    max_fps: float | None = None,
    events: Iterable[Topic] | None = None,
    empty: bool = False,
) -> Watch:
    """A `watch`; None leaves a field to its default."""
    return Watch(
        id=_ID,
        cameras=UNSET if cameras is None else list(cameras),
        labels=UNSET if labels is None else list(labels),
        min_score=UNSET if min_score is None else min_score,
        max_fps=UNSET if max_fps is None else max_fps,
        events=UNSET if events is None else list(events),
        empty=empty,
    )


class Watcher:
    """A stream that outlives its connections.

    Silence is measured in time spent waiting for bytes, not on a clock: a program that takes a minute
    over one event has a minute of lines waiting, and no reason to think the daemon dead.
    """

    def __init__(
        self,
        watch: Watch,
        silence_s: float = SILENCE_S,
        patient: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`patient`: wait for a daemon that has never answered yet, instead of raising."""
        self._watch = watch
        self._silence_s = silence_s
        self._jitter = jitter
        self._reader = _Reader()
        self._waited_s = 0.0
        self._heard_s = 0.0
        self._cameras: dict[str, float] = {}
        """When each camera was heard of, on the clock of waiting."""
        self._silent: set[str] = set()
        self._retries = 0
        self._patient = patient
        self._told_lost = False

    def start(self) -> bytes:
        """A connection is made: what to send first."""
        self._reader = _Reader()
        self._waited_s = self._heard_s = 0.0
        self._cameras.clear()
        self._silent.clear()
        return encode_line(self._watch)

    def wait_s(self) -> float:
        """How long to wait for bytes at most."""
        oldest = min(self._cameras.values(), default=self._heard_s)
        return max(0.05, min(self._heard_s, oldest) + self._silence_s - self._waited_s)

    def receive(self, data: bytes, waited_s: float) -> Iterator[WatchEvent]:
        """What was read after waiting for it. Raises Lost, Refused, ProtocolError."""
        if not data:
            raise Lost("the daemon closed the connection")
        self._waited_s += waited_s
        self._heard_s = self._waited_s
        try:
            for message in self._reader.receive(data):
                event = self._take(message)
                if event is not None:
                    yield event
        except Refused as error:
            if self._reader.hello is None and self._patient:  # full, for now
                raise Lost(error.message) from None
            raise
        if len(data) < RECEIVE_BYTES:  # nothing more waits, so what is missing is missing
            yield from self._find_silent()

    def idle(self, waited_s: float) -> Iterator[WatchEvent]:
        """Nothing came. Raises Lost."""
        self._waited_s += waited_s
        hello = self._reader.hello
        if self._waited_s - self._heard_s >= self._silence_s and (hello is None or hello.cameras):
            silent_s = self._waited_s - self._heard_s
            raise Lost(f"the connection stands, but the daemon said nothing for {silent_s:.1f} s")
        yield from self._find_silent()

    def lost(self, error: Exception) -> ConnectionLost | None:
        """A connection failed, or could not be made. Returns the event to yield, the first time;
        then wait `retry_s()`. Raises the error when there never was a connection."""
        if not self._patient:
            raise error
        if self._told_lost:
            return None
        self._told_lost = True
        return ConnectionLost(reason=str(error))

    def retry_s(self) -> float:
        """How long to wait before the next attempt: doubled each time, spread so that the clients of a
        restarted daemon do not all come at once."""
        wait_s = min(FIRST_RETRY_S * 2.0 ** min(self._retries, 16), LONGEST_RETRY_S)
        self._retries += 1
        return wait_s * (0.75 + 0.5 * self._jitter())

    def _take(self, message: ServerMessage) -> WatchEvent | None:
        match message:
            case Detections() | Heartbeat():
                self._cameras[message.camera] = self._waited_s
                self._silent.discard(message.camera)
                return message
            case Health() | Event():
                return message
            case Watching():
                return self._connected(message)
            case Error() if message.id == _ID:
                raise Refused(message.code, message.message)
            case Error():
                raise Lost(message.message)
            case _:
                return None

    def _connected(self, policy: Watching) -> Connected:
        hello = self._reader.hello
        assert hello is not None  # the reader takes nothing before it
        for camera in self._expected(hello, policy.cameras):
            self._cameras[camera] = self._waited_s
        self._retries = 0
        self._patient = True
        self._told_lost = False
        return Connected(hello=hello, policy=policy)

    @staticmethod
    def _expected(hello: Hello, cameras: Sequence[str] | None) -> Sequence[str]:
        return [camera.name for camera in hello.cameras] if cameras is None else cameras

    def _find_silent(self) -> Iterator[WatchEvent]:
        for camera, heard_s in self._cameras.items():
            silent_s = self._waited_s - heard_s
            if silent_s >= self._silence_s and camera not in self._silent:
                self._silent.add(camera)
                yield Silent(camera=camera, silent_s=silent_s)
