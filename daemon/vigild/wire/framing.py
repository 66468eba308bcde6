"""Bytes to lines, and messages to bytes. No I/O.

    receiver = LineReceiver(MAX_REQUEST_BYTES)
    for event in receiver.receive(data):
        match event:
            case Line(data): ...          # without its newline
            case TooLong(): ...           # skipped up to its newline
            case FramingLost(): ...       # this is not a stream of lines: close

However the bytes are cut into pieces, the events are the same, and the cost is linear.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from vigild.decoding import decoded, encoded
from vigild.wire.messages import Answer, Message, RequestId, ServerMessage
from vigild.wire.requests import Request

MAX_REQUEST_BYTES = 64 * 1024
"""Longest request line without its newline: ten times a `watch` that names every COCO label."""

MAX_SKIPPED_BYTES = 1024 * 1024
"""A line so much over the limit is not a line of ours: binary data, or a flood."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Longest line a client accepts: four times what the hub lets be pending for one client."""


class Line(NamedTuple):
    data: bytes
    """Without its newline, and without the carriage return of a terminal; never blank."""


class TooLong(NamedTuple):
    """A line over the limit; it is skipped up to its newline."""

    limit_bytes: int


class FramingLost(NamedTuple):
    """No newline for far too long; nothing more will come of this receiver."""

    skipped_bytes: int


class Unfinished(NamedTuple):
    """The stream ended inside a line."""

    length_bytes: int


LineEvent = Line | TooLong | FramingLost | Unfinished


class LineReceiver:
    """Cuts a stream of bytes into lines of up to `max_line_bytes` (newline not counted)."""

    def __init__(self, max_line_bytes: int, max_skipped_bytes: int = MAX_SKIPPED_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._max_skipped_bytes = max_skipped_bytes
        self._begun = bytearray()
        """The line that has begun; never looked at twice."""
        self._skipped_bytes: int | None = None
        """Set while a line that is too long is being skipped: how much of it has passed."""
        self._lost = False

    def receive(self, data: bytes) -> list[LineEvent]:
        """Take in what was read; returns what it completes, in order. Blank lines are passed over."""
        events: list[LineEvent] = []
        start = 0
        while not self._lost:
            end = data.find(b"\n", start)
            stop = len(data) if end < 0 else end
            self._take(data, start, stop, events)
            if end < 0:
                break
            self._finish(events)
            start = end + 1
        return events

    def receive_eof(self) -> list[LineEvent]:
        """The stream has ended. A line without its newline may have been cut, so it does not count."""
        if self._lost or self._skipped_bytes is not None or not self._begun.strip():
            return []
        event = Unfinished(len(self._begun))
        self._begun.clear()
        return [event]

    def _take(self, data: bytes, start: int, stop: int, events: list[LineEvent]) -> None:
        """Add data[start:stop], which holds no newline, to the line that has begun."""
        if self._skipped_bytes is None:
            if len(self._begun) + stop - start <= self._max_line_bytes:
                self._begun += data[start:stop]
                return
            events.append(TooLong(self._max_line_bytes))
            self._skipped_bytes = len(self._begun)
            self._begun.clear()
        self._skipped_bytes += stop - start
        if self._skipped_bytes > self._max_skipped_bytes:
            self._lost = True
            # Not how much came in this piece: that would depend on how the stream was cut.
            events.append(FramingLost(self._max_skipped_bytes))

    def _finish(self, events: list[LineEvent]) -> None:
        """A newline: the line that has begun is whole."""
        if self._lost:
            return
        if self._skipped_bytes is not None:
            self._skipped_bytes = None
            return
        line = bytes(self._begun.rstrip(b"\r"))
        self._begun.clear()
        if line and not line.isspace():
            events.append(Line(line))


_encoder = msgspec.json.Encoder()
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)


class _Tag(msgspec.Struct):
    type: str


_tag_decoder = msgspec.json.Decoder(_Tag)
_KNOWN = frozenset(str(kind.__struct_config__.tag) for kind in ServerMessage.__args__)


def encode_line(message: Message | Request) -> bytes:
    """The message as a line, newline included."""
    return encoded(_encoder.encode, message) + b"\n"


class SharedAnswer(NamedTuple):
    """An answer that many clients get, each with the id of its own request."""

    head: bytes
    """Up to the type,"""
    tail: bytes
    """and from there on, newline included."""

    def line(self, id: RequestId | None) -> bytes:
        """The line for one client."""
        if id is None:
            return self.head + self.tail
        return b'%b,"id":%b%b' % (self.head, encoded(_encoder.encode, id), self.tail)


def share(answer: Answer) -> SharedAnswer:
    """Encode it once for all; its own `id` has to be None."""
    line = encode_line(answer)
    head = b'{"type":"%b"' % str(answer.__struct_config__.tag).encode()
    return SharedAnswer(head, line[len(head) :])


def parse_server_message(line: bytes) -> ServerMessage | None:
    """Read one line from the daemon; None for a type of message that this version does not know.

    Raises msgspec.DecodeError when the line is not what protocol 1 allows.
    """
    try:
        return decoded(_server_decoder.decode, line)
    except msgspec.ValidationError:
        if decoded(_tag_decoder.decode, line).type in _KNOWN:
            raise
        return None
