"""Pictures out of a byte stream: multipart or bare, whatever stands between them.

    splitter = Splitter()
    splitter.feed(data)
    data = splitter.newest()         # the newest complete picture, or None
    splitter.came()                  # what came instead, for people

Pictures are found by their own marks, so multipart headers, a broken boundary or noise of a command are passed
over, and a stream may be joined anywhere. Inside a JPEG's header, segments are passed by their length: an EXIF
thumbnail has an end marker of its own. A frame whose end marker the camera leaves out ends where the next one
or the next part begins. PNG and WebP, which browsers show in a stream, too, end by their own lengths.
"""

from __future__ import annotations

import re

from vigild.camera import jpeg
from vigild.camera.frames import BadFrame, Picture
from vigild.camera.sources import still
from vigild.camera.sources.parts import MAX_DELIMITER_BYTES, Parts, describe

MAX_FRAME_BYTES = 32 * 2**20
"""A JPEG of 8K at best quality has about 20 MiB; more than this is a stream without ends."""

MAX_LINE_BYTES = 8192
"""Of the text between pictures; longer ones are noise."""

_BEGIN_BYTES = 2048
"""The begin of the stream, kept for `came`."""

_JPEG = jpeg.SOI + b"\xff"
"""A JPEG's first marker and the begin of its second: by two bytes alone, noise has a start every 64 KiB."""
_START = re.compile(re.escape(_JPEG) + b"|" + re.escape(still.PNG) + b"|" + still.RIFF + b"....WEBP", re.DOTALL)
_START_BYTES = 12
"""The longest of them."""
_HALF_START = re.compile(
    rb"(?:\xff\xd8?|\x89(?:P(?:N(?:G(?:\r(?:\n\x1a?)?)?)?)?)?|R(?:I(?:F(?:F.{0,7})?)?)?)\Z", re.DOTALL
)
"""A mark of which the rest has yet to come."""

_SOS = 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_IN_SCAN = re.compile(rb"\xff[\xc4\xd8-\xdd\xfe]")
"""What may follow the data of a scan (T.81, B.2.1): in the data, 0xFF is followed by 0, a restart marker or itself."""
_MAX_SEGMENT_BYTES = 4096
"""Of tables between scans. One that claims more is a fault in the data, and must not hide the picture's end."""


class Splitter:
    """Bytes in, the newest complete picture out. No I/O."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inside = ""
        """What the data begin with: "jpeg", "png", "webp", "other" (a part to pass over), or "": text."""
        self._at = 0
        """How far the picture's end was looked for."""
        self._in_scan = False
        self._newest: bytes | None = None
        self._parts = Parts()
        self._begin = b""
        self._total = 0
        self._length_holds = False
        """The last part that announced its length told the truth."""
        self.complete = 0
        """Pictures that were complete so far."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take in the next bytes of the stream."""
        if len(self._begin) < _BEGIN_BYTES:
            self._begin += bytes(data[: _BEGIN_BYTES - len(self._begin)])
        self._total += len(data)
        self._data += data
        while self._step():
            pass

    def finish(self) -> None:
        """The stream has ended: a frame whose end marker is missing ends here."""
        if self._inside == "jpeg" and self._in_scan:
            self._emit(len(self._data))
        if self._inside == "other":
            self._parts.content(bytes(self._data[:_BEGIN_BYTES]))
        self._parts.close()

    def newest(self) -> bytes | None:
        """The newest complete picture, once."""
        frame, self._newest = self._newest, None
        return frame

    @property
    def other_parts(self) -> int:
        """Parts that held no picture."""
        return self._parts.without

    @property
    def total(self) -> int:
        """Bytes that came."""
        return self._total

    def came(self) -> str:
        """What came that is no picture, in words: "12 parts of image/png, no JPEG"."""
        if self._inside == "other":
            self._parts.content(bytes(self._data[:_BEGIN_BYTES]))
        words = self._parts.words()
        if words:
            return words + ("" if self.complete else ", no JPEG")
        return describe(self._begin, self._total)

    # ---- one step: whether there may be more to find

    def _step(self) -> bool:
        match self._inside:
            case "":
                return self._text()
            case "other":
                return self._pass_over()
            case "png":
                return self._png()
            case "webp":
                return self._webp()
        if not self._in_scan and not self._pass_header():
            return False
        return self._inside == "jpeg" and self._find_end()

    def _text(self) -> bool:
        """Between pictures: lines, up to the first mark of a picture."""
        data = self._data
        line_end = data.find(b"\n")
        stop = line_end if line_end >= 0 else len(data)
        # A PNG's mark has line ends in itself.
        start = _START.search(data, 0, min(stop + _START_BYTES, len(data)))
        if start is not None and start.start() <= stop:
            self._discard(start.start())
            self._parts.picture()
            self._inside = {_JPEG[0]: "jpeg", still.PNG[0]: "png"}.get(data[0], "webp")
            self._at, self._in_scan = (2 if self._inside == "jpeg" else len(still.PNG)), False
            return True
        half = _HALF_START.search(data, max(0, len(data) - _START_BYTES + 1))
        if line_end < 0 or (half is not None and half.start() <= line_end):
            if len(data) > MAX_LINE_BYTES:
                self._discard(len(data) - _START_BYTES)
            return False
        self._parts.line(bytes(data[:line_end]).rstrip(b"\r"))
        self._discard(line_end + 1)
        if self._parts.is_other:
            self._inside, self._at = "other", 0
        return True

    def _pass_over(self) -> bool:
        """A part of another type: everything up to the next delimiter."""
        end = self._delimiter(self._at)
        if end < 0:
            self._at = max(0, len(self._data) - MAX_DELIMITER_BYTES)
            if len(self._data) > MAX_FRAME_BYTES:
                self._give_up(len(self._data))
                return True
            return False
        self._parts.content(bytes(self._data[: min(end, _BEGIN_BYTES)]))
        self._parts.close()
        self._discard(end)
        self._inside = ""
        return True

    def _pass_header(self) -> bool:
        """Go through a JPEG's segments up to the scan; False when more bytes are needed."""
        data = self._data
        while True:
            if self._too_long():
                return True
            if len(data) < self._at + 4:
                return False
            if data[self._at] != 0xFF:
                # Stray bytes between segments, which decoders pass over, or no JPEG at all: the next marker tells.
                following = data.find(b"\xff", self._at)
                self._at = following if following >= 0 else len(data)
                continue
            marker = data[self._at + 1]
            if marker == 0xFF:
                self._at += 1
            elif marker in _STANDALONE or marker == 0:
                self._at += 2
            elif marker in (0xD8, 0xD9):
                self._give_up(self._at if marker == 0xD8 else 2)
                return True
            else:
                length = int.from_bytes(data[self._at + 2 : self._at + 4], "big")
                self._at += 2 + max(length, 2)
                if marker == _SOS:
                    self._in_scan = True
                    return True

    def _find_end(self) -> bool:
        """In the scan: the end marker, a sign that it was left out, or (in progressive JPEGs) a segment."""
        data = self._data
        found = _IN_SCAN.search(data, self._at)
        delimiter = self._delimiter(self._at, found.start() if found else len(data))
        if delimiter >= 0:
            self._emit(delimiter)
            return True
        if found is not None:
            marker = data[found.start() + 1]
            if marker == 0xD9:
                self._emit(found.end())
                return True
            if marker == 0xD8:
                self._emit(found.start())
                return True
            if len(data) < found.end() + 2:
                self._at = found.start()
                return self._too_long()
            length = int.from_bytes(data[found.end() : found.end() + 2], "big")
            self._at = found.end() + (length if 2 <= length <= _MAX_SEGMENT_BYTES else 0)
            return True
        # A delimiter's begin, or a marker's, may be the last bytes.
        self._at = max(self._at, len(data) - MAX_DELIMITER_BYTES)
        return self._ends_by_length() or self._too_long()

    def _ends_by_length(self) -> bool:
        """Without an end marker, where the part's announced length says so and is to be believed."""
        length = self._parts.length
        if length is None or len(self._data) < length or not self._length_holds:
            return False
        self._emit(length)
        return True

    def _delimiter(self, start: int, end: int | None = None) -> int:
        """Where the line end in front of the next delimiter is, in a part of this stream; -1: not there (yet)."""
        if self._parts.mark is None:
            return -1
        found = self._parts.mark.search(self._data, start, len(self._data) if end is None else end)
        return found.start() if found else -1

    def _png(self) -> bool:
        """Through its chunks (length, type, content, CRC) to the last."""
        data = self._data
        while len(data) >= self._at + 8:
            length, kind = int.from_bytes(data[self._at : self._at + 4], "big"), data[self._at + 4 : self._at + 8]
            if not kind.isalpha() or length > MAX_FRAME_BYTES:
                return self._no_picture()
            if kind == b"IEND":
                return self._whole(self._at + 12 + length)
            self._at += 12 + length
        return self._too_long()

    def _webp(self) -> bool:
        """By the size in its first header."""
        if len(self._data) < 8:
            return False
        size = 8 + int.from_bytes(self._data[4:8], "little")
        return self._no_picture() if size > MAX_FRAME_BYTES else self._whole(size)

    def _whole(self, size: int) -> bool:
        """A picture that says how long it is: whether it is there."""
        if len(self._data) < size:
            return False
        self._emit(size)
        return True

    # ---- what a step does

    def _emit(self, end: int) -> None:
        """The first `end` bytes are a picture."""
        frame = bytes(memoryview(self._data)[:end])
        if self._inside == "jpeg" and not frame.endswith(jpeg.EOI):
            # Whoever gets it as it is, as a snapshot, gets a whole one.
            frame += jpeg.EOI
        self._newest = frame
        self.complete += 1
        self._length_holds = self._parts.length == end
        self._parts.length = None
        del self._data[:end]
        self._inside = ""

    def _too_long(self) -> bool:
        if len(self._data) <= MAX_FRAME_BYTES:
            return False
        self._give_up(2)
        return True

    def _no_picture(self) -> bool:
        self._give_up(2)
        return True

    def _give_up(self, count: int) -> None:
        """This is no picture: look for the next behind its first bytes."""
        self._parts.failed()
        self._discard(count)
        self._inside = ""

    def _discard(self, count: int) -> None:
        del self._data[:count]


def picture(data: bytes) -> Picture:
    """A picture of the stream. Raises BadFrame."""
    header = jpeg.parse_header(data)
    if header is not None:
        return Picture(header.width, header.height, data=data, orientation=header.orientation)
    if data.startswith(jpeg.SOI):
        raise BadFrame(f"{len(data)} bytes that begin and end like a JPEG but have no valid header")
    decoded = still.decode(data)
    if decoded is None:
        kind = "PNG" if data.startswith(still.PNG) else "WebP"
        raise BadFrame(f"{len(data)} bytes that begin like a {kind} but cannot be decoded")
    return decoded
