"""How a picture file says it is to be turned: the orientation tag, wherever a format keeps it.

    orientation(data)            # an `Orientation`; upright for what says nothing

JPEG keeps EXIF data in an APP1 segment, PNG in the chunk eXIf, WebP in the chunk EXIF. OpenCV reads the tag
of some formats from some version on (of WebP not in 4.8, but in 5.0), so it is told to leave pictures as they
are stored, and the tag is read here: the same everywhere.
"""

from __future__ import annotations

from vigild.camera.orientation import Orientation

_TAG = 0x0112
_SHORT, _LONG = 3, 4
_PREFIX = b"Exif\0\0"
"""In front of the TIFF header in JPEG; some writers put it into PNG and WebP, too."""

_MAX_IFD_ENTRIES = 512
_MAX_CHUNKS = 100_000
"""A PNG of 256 MiB in IDAT chunks of 8 KiB has a third of that."""

_PNG = b"\x89PNG\r\n\x1a\n"
UPRIGHT = 1


def orientation(data: bytes) -> Orientation:
    """Of PNG and WebP, and of anything else upright; JPEG's is in `jpeg.parse_header`. Never raises."""
    if data[:8] == _PNG:
        return Orientation.from_exif(_png(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Orientation.from_exif(_webp(data))
    return Orientation()


def tag(exif: bytes) -> int | None:
    """The orientation (1 to 8) in EXIF data, with or without its prefix; None when it is not there or is none."""
    tiff = exif[len(_PREFIX) :] if exif.startswith(_PREFIX) else exif
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return None
    little = tiff[:1] == b"I"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if little else "big")

    ifd = number(4, 4)
    for i in range(min(number(ifd, 2), _MAX_IFD_ENTRIES)):
        entry = ifd + 2 + 12 * i
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == _TAG:
            # The standard says SHORT; a LONG is met, and its value lies in other bytes.
            value = {_SHORT: number(entry + 8, 2), _LONG: number(entry + 8, 4)}.get(number(entry + 2, 2), 0)
            return value if 1 <= value <= 8 else None
    return None


def _png(data: bytes) -> int:
    """Chunks are length, type, content, CRC; eXIf may stand before or behind the data (PNG extensions 1.5)."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"eXIf":
            return tag(data[at + 8 : at + 8 + length]) or UPRIGHT
        if kind in (b"IEND", b""):
            break
        at += 12 + length
    return UPRIGHT


def _webp(data: bytes) -> int:
    """RIFF chunks are type, length (little-endian), content, and a zero where the length is odd."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"EXIF":
            return tag(data[at + 8 : at + 8 + length]) or UPRIGHT
        if not kind:
            break
        at += 8 + length + length % 2
    return UPRIGHT
