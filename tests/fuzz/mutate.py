"""Damage to bytes that knows nothing of their meaning.

data = damage(data, rng, others)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

INTERESTING = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1)
"""Where sizes and indexes go wrong; their negatives and neighbours are taken, too."""

MAX_BYTES = 32 * 2**20
"""A case does not grow beyond this."""


def interesting(rng: Random) -> int:
    """A number at an edge, as 32 bits unsigned."""
    value = rng.choice(INTERESTING) + rng.choice((-1, 0, 0, 0, 1))
    return (-value if rng.random() < 0.3 else value) & 0xFFFFFFFF


def _place(data: bytearray, rng: Random) -> int:
    """Somewhere; the ends, where headers and directories are, more often."""
    at = rng.randrange(len(data))
    if rng.random() < 0.3:
        at = min(rng.randrange(256), len(data) - 1)
    return len(data) - 1 - at if rng.random() < 0.3 else at


def flip_bits(data: bytearray, rng: Random) -> None:
    for _ in range(rng.randint(1, 16)):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def set_bytes(data: bytearray, rng: Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[_place(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_word(data: bytearray, rng: Random) -> None:
    if len(data) >= 4:
        at = min(_place(data, rng), len(data) - 4) & ~3
        struct.pack_into("<I", data, at, interesting(rng))


def truncate(data: bytearray, rng: Random) -> None:
    del data[_place(data, rng) :]


def remove(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.randint(1, 64)]


def repeat(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.randint(1, 64)] * rng.choice((1, 1, 2, 16))


def insert(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at:at] = bytes(rng.choice((0, 0xFF, rng.randrange(256))) for _ in range(rng.randint(1, 64)))


def swap_blocks(data: bytearray, rng: Random) -> None:
    size = rng.randint(1, 32)
    a, b = _place(data, rng), _place(data, rng)
    if abs(a - b) >= size and max(a, b) + size <= len(data):
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


MUTATORS: tuple[Callable[[bytearray, Random], None], ...] = (
    flip_bits,
    set_bytes,
    set_word,
    truncate,
    remove,
    repeat,
    insert,
    swap_blocks,
)


def splice(data: bytes, other: bytes, rng: Random) -> bytes:
    """The beginning of one and the end of another."""
    cut = rng.randrange(len(data) + 1)
    return data[:cut] + other[rng.choice((cut, rng.randrange(len(other) + 1))) :]


def damage(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one to four kinds of damage."""
    if others and rng.random() < 0.08:
        data = splice(data, rng.choice(others), rng)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if changed:
            rng.choice(MUTATORS)(changed, rng)
    return bytes(changed[:MAX_BYTES])
