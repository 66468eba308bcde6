"""Archives behind models: built strangely, and damaged where a ZIP file's directories are.

data = strange(model, rng)
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from random import Random

from fuzz.mutate import interesting

_MARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")
_HEADER_BYTES = 46
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_NAMES = ("labels.txt", "labels.txt", "labels.txt", "a.txt", "x", "../labels.txt", "l\0.txt", "\u00e4\u20ac.txt", "d/")
_TEXTS = ("red\nblue\n", "0 red\n1 blue\n", "", "???\n", "red\n" * 70_000, "\0" * 100, "x" * 100_000, "0 red\n9999 b\n")


def strange(model: bytes, rng: Random) -> bytes:
    """A model (without an archive) and one to four members behind it, some of them damaged."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name are meant
        for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
            archive.writestr(zipfile.ZipInfo(rng.choice(_NAMES)), rng.choice(_TEXTS), rng.choice(_METHODS))
        if rng.random() < 0.2:
            archive.comment = bytes(rng.randrange(256) for _ in range(rng.choice((1, 22, 65535))))
    data = stream.getvalue()
    if rng.random() < 0.1:
        data *= 2
    return model + (damage(data, rng) if rng.random() < 0.8 else data)


def damage(data: bytes, rng: Random) -> bytes:
    """Fields of the directories and headers changed."""
    changed = bytearray(data)
    places = [at for mark in _MARKS for at in _all(data, mark)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not places:
            break
        at = rng.choice(places) + rng.randrange(4, _HEADER_BYTES)
        if at + 4 > len(changed):
            continue
        kind = rng.random()
        if kind < 0.4:
            changed[at] = rng.choice((0, 1, 8, 12, 14, 0xFF, rng.randrange(256)))
        elif kind < 0.7:
            struct.pack_into("<H", changed, at, interesting(rng) & 0xFFFF)
        elif kind < 0.95:
            struct.pack_into("<I", changed, at, interesting(rng))
        else:
            del changed[at:]
    return bytes(changed)


def _all(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found
