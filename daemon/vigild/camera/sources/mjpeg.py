"""JPEGs out of a byte stream: multipart or bare, whatever stands between them.

    splitter = Splitter()
    splitter.feed(data)
    jpeg = splitter.newest()         # the newest complete one, or None

Frames are found by JPEG's own markers, so multipart headers, a broken boundary or noise of a
command are passed over, and a stream may be joined anywhere. Inside a header, segments are passed
by their length: an EXIF thumbnail has an end marker of its own.
"""

from __future__ import annotations

from vigild.camera import jpeg
from vigild.camera.frames import BadFrame, Picture

MAX_FRAME_BYTES = 32 * 2**20
"""A JPEG of 8K at best quality has about 20 MiB; more than this is a stream without ends."""

_SOS = 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class Splitter:
    """Bytes in, the newest complete JPEG out. No I/O."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._in_frame = False
        self._at = 0
        """How far the frame's end was looked for."""
        self._in_scan = False
        self._newest: bytes | None = None
        self.complete = 0
        """Frames that were complete so far."""
        self.garbage = 0
        """Bytes that belonged to no frame, or to one that was too long."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take in the next bytes of the stream."""
        self._data += data
        while self._step():
            pass

    def newest(self) -> bytes | None:
        """The newest complete frame, once."""
        frame, self._newest = self._newest, None
        return frame

    def _step(self) -> bool:
        """Whether there may be more to find."""
        if not self._in_frame:
            return self._find_start()
        if not self._in_scan and not self._pass_header():
            return False
        return self._in_frame and self._find_end()

    def _find_start(self) -> bool:
        start = self._data.find(jpeg.SOI)
        if start < 0:
            # The first half of a marker may be the last byte.
            keep = 1 if self._data.endswith(b"\xff") else 0
            self._discard(len(self._data) - keep)
            return False
        self._discard(start)
        self._in_frame, self._in_scan, self._at = True, False, 2
        return True

    def _pass_header(self) -> bool:
        """Go through the segments up to the scan; False when more bytes are needed."""
        data = self._data
        while True:
            if self._too_long():
                return True
            if len(data) < self._at + 4:
                return False
            if data[self._at] != 0xFF:
                self._give_up()
                return True
            marker = data[self._at + 1]
            if marker == 0xFF:
                self._at += 1
            elif marker in _STANDALONE:
                self._at += 2
            elif marker == 0xD9 or marker == 0xD8:
                self._give_up()
                return True
            else:
                length = int.from_bytes(data[self._at + 2 : self._at + 4], "big")
                self._at += 2 + max(length, 2)
                if marker == _SOS:
                    self._in_scan = True
                    return True

    def _find_end(self) -> bool:
        """In the scan, 0xFF is followed by 0x00 unless it begins a marker, so an end marker is one."""
        end = self._data.find(jpeg.EOI, self._at)
        if end < 0:
            self._at = max(self._at, len(self._data) - 1)
            return self._too_long()
        self._newest = bytes(memoryview(self._data)[: end + 2])
        self.complete += 1
        del self._data[: end + 2]
        self._in_frame = False
        return True

    def _too_long(self) -> bool:
        if len(self._data) <= MAX_FRAME_BYTES:
            return False
        self._give_up()
        return True

    def _give_up(self) -> None:
        """This is no frame: look for the next start behind its first marker."""
        self._discard(2)
        self._in_frame = False

    def _discard(self, count: int) -> None:
        self.garbage += count
        del self._data[:count]


def picture(data: bytes) -> Picture:
    """A frame of the stream. Raises BadFrame."""
    header = jpeg.parse_header(data)
    if header is None:
        raise BadFrame(f"{len(data)} bytes that begin and end like a JPEG but have no valid header")
    return Picture(header.width, header.height, data=data, orientation=header.orientation)
