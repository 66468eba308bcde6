"""Damage aimed at a model's structure: vtables, offsets, counts, numbers, and the detection op's options.

places = find(data)                       # once a seed
data = damage(data, places, rng)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from fuzz.mutate import interesting
from vigild.detector.flatbuffer import Table, unpack

Schema = Mapping[int, Any]
"""Field -> "s" a scalar, "v" a vector of scalars or a text, a Schema for a table, [Schema] for a vector of tables."""

_TENSOR: Schema = {0: "v", 1: "s", 2: "s", 3: "v", 4: {2: "v", 3: "v"}, 7: "v"}
_OPERATOR: Schema = {0: "s", 1: "v", 2: "v", 3: "s", 4: dict.fromkeys(range(8), "s"), 5: "v"}
_TENSOR_MAP: Schema = {0: "v", 1: "s"}
_MODEL: Schema = {
    0: "s",
    1: [{0: "s", 1: "v", 2: "s", 3: "s"}],
    2: [{0: [_TENSOR], 1: "v", 2: "v", 3: [_OPERATOR], 4: "v"}],
    4: [{0: "v", 1: "s", 2: "s"}],
    6: [{0: "v", 1: "s"}],
    7: [{0: [_TENSOR_MAP], 1: [_TENSOR_MAP], 2: "v", 4: "s"}],
}
MAX_ITEMS = 400
"""Tables followed of one vector; the others are like them."""


class Places(NamedTuple):
    """Byte positions."""

    words: list[int]
    """Offsets, counts, 32-bit numbers."""
    halves: list[int]
    """Entries of vtables."""
    items: list[tuple[int, int]]
    """(start, bytes) of short vectors: shapes, indexes, names, options."""


def find(data: bytes) -> Places:
    """Where the structure of an undamaged model is."""
    places = Places([0], [], [])
    _walk(Table.root(memoryview(data)), _MODEL, places)
    return places


def _walk(table: Table, schema: Schema, places: Places) -> None:
    places.words.append(table.position)
    places.halves.extend((table._vtable, table._vtable + 2))
    for number, kind in schema.items():
        position = table._field(number)
        if not position:
            continue
        places.halves.append(table._vtable + 4 + 2 * number)
        places.words.append(position)
        if kind == "s":
            continue
        target = table._follow(number)
        if isinstance(kind, dict):
            _walk(Table(table.data, target), kind, places)
            continue
        places.words.append(target)
        count = unpack(table.data, "I", target)
        if kind == "v":
            places.items.append((target + 4, min(count * 4, 128)))
            continue
        for at in range(target + 4, target + 4 + 4 * min(count, MAX_ITEMS), 4):
            places.words.append(at)
            _walk(Table(table.data, at + unpack(table.data, "I", at)), kind[0], places)


def damage(data: bytes, places: Places, rng: Random) -> bytes:
    """`data` with one to three aimed changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        if kind < 0.35:
            at = rng.choice(places.words)
            if at + 4 <= len(changed):
                _set_word(changed, at, places, rng)
        elif kind < 0.5:
            at = rng.choice(places.halves)
            if at + 2 <= len(changed):
                struct.pack_into("<H", changed, at, rng.choice((0, 2, 4, 6, 8, 12, 0xFFFF, rng.randrange(64))))
        else:
            start, size = rng.choice(places.items)
            if size and start + size <= len(changed):
                if rng.random() < 0.5 and size >= 4:
                    struct.pack_into("<I", changed, start + rng.randrange(size // 4) * 4, interesting(rng))
                else:
                    changed[start + rng.randrange(size)] = rng.randrange(256)
    return bytes(changed)


def _set_word(changed: bytearray, at: int, places: Places, rng: Random) -> None:
    """An edge, a neighbour, another place of the structure, or what stands at another place."""
    old = struct.unpack_from("<I", changed, at)[0]
    other = rng.choice(places.words)
    value = rng.choice((interesting(rng), old + rng.choice((-4, -1, 1, 4)), other - at, at - other))
    if rng.random() < 0.2 and other + 4 <= len(changed):
        value = struct.unpack_from("<I", changed, other)[0]
    struct.pack_into("<I", changed, at, value & 0xFFFFFFFF)
