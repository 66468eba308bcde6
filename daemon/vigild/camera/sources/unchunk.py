"""HTTP's chunked transfer coding (RFC 9112, section 7.1): bytes in, content out. No I/O."""

from __future__ import annotations

MAX_LINE_BYTES = 1024
"""A chunk's size with its extensions; servers send a handful of digits."""


class BadChunk(ValueError):
    """The coding is broken; what follows cannot be found any more."""


class Unchunk:
    """Strips chunk sizes and line ends; knows when the content has ended."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0
        """Bytes of the present chunk still to come."""
        self._in_trailing = False
        """Between a chunk's content and the line end behind it."""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The content in `data`. Raises BadChunk."""
        out = bytearray()
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                part = data[at : at + self._left]
                out += part
                at += len(part)
                self._left -= len(part)
                self._in_trailing = self._left == 0
                continue
            end = data.find(b"\n", at)
            line_end = end + 1 if end >= 0 else len(data)
            self._line += data[at:line_end]
            at = line_end
            if len(self._line) > MAX_LINE_BYTES:
                raise BadChunk(f"a chunk size of more than {MAX_LINE_BYTES} bytes")
            if end >= 0:
                self._take_line(bytes(self._line).strip())
                self._line.clear()
        return bytes(out)

    def _take_line(self, line: bytes) -> None:
        if self._in_trailing:
            if line:
                raise BadChunk("a chunk is longer than its size says")
            self._in_trailing = False
            return
        digits = line.partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise BadChunk(f"{digits[:20]!r} is no chunk size") from None
        if size < 0:
            raise BadChunk("a negative chunk size")
        self._left = size
        self.ended = size == 0
