"""Reading a FlatBuffer without generated code, and without trusting it.

    root = Table.root(data)
    root.string(3)                       # field number 3, as its schema numbers them
    [t.vector(0, "i") for t in root.tables(2)]

Every access is checked against the buffer's bounds; a reference beyond them raises `OutOfBounds`, so
a truncated or mutated file can neither crash the reader nor make it loop or allocate more than the
file is long. Format: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

ITEM_BYTES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}
"""Sizes of FlatBuffers' scalars, by struct's letters."""


class OutOfBounds(ValueError):
    """The buffer refers to bytes that it does not have."""


def unpack(data: memoryview, code: str, offset: int) -> Any:
    """One little-endian scalar. Raises OutOfBounds."""
    if offset < 0 or offset + ITEM_BYTES[code] > len(data):
        raise OutOfBounds(f"it refers to byte {offset}, but has {len(data)}")
    return struct.unpack_from("<" + code, data, offset)[0]


class Table:
    """A table at a position of the buffer; fields are asked for by their number in the schema."""

    __slots__ = ("_fields", "_vtable", "data", "position")

    def __init__(self, data: memoryview, position: int) -> None:
        self.data = data
        self.position = position
        self._vtable: int = position - unpack(data, "i", position)
        self._fields: int = (unpack(data, "H", self._vtable) - 4) // 2

    @classmethod
    def root(cls, data: memoryview, offset: int = 0) -> Table:
        return cls(data, offset + unpack(data, "I", offset))

    def _field(self, number: int) -> int:
        """Where the field's value is; 0 when it is absent."""
        if number >= self._fields:
            return 0
        offset: int = unpack(self.data, "H", self._vtable + 4 + 2 * number)
        return self.position + offset if offset else 0

    def _follow(self, number: int) -> int:
        position = self._field(number)
        return position + unpack(self.data, "I", position) if position else 0

    def scalar(self, number: int, code: str, default: Any = 0) -> Any:
        position = self._field(number)
        return unpack(self.data, code, position) if position else default

    def table(self, number: int) -> Table | None:
        position = self._follow(number)
        return Table(self.data, position) if position else None

    def _vector(self, number: int, item_bytes: int) -> tuple[int, int]:
        """(start, count) of a vector, checked to lie in the buffer; (0, 0) when it is absent."""
        position = self._follow(number)
        if not position:
            return 0, 0
        count: int = unpack(self.data, "I", position)
        if position + 4 + count * item_bytes > len(self.data):
            raise OutOfBounds(f"a list of {count} items at byte {position} reaches beyond its {len(self.data)} bytes")
        return position + 4, count

    def bytes_at(self, number: int) -> memoryview:
        """A vector of bytes, without copying; empty when it is absent."""
        start, count = self._vector(number, 1)
        return self.data[start : start + count]

    def string(self, number: int) -> str:
        return bytes(self.bytes_at(number)).decode(errors="replace")

    def vector(self, number: int, code: str) -> Sequence[Any]:
        """A vector of scalars; empty when it is absent."""
        start, count = self._vector(number, ITEM_BYTES[code])
        return struct.unpack_from(f"<{count}{code}", self.data, start) if count else ()

    def tables(self, number: int) -> list[Table]:
        """A vector of tables; empty when it is absent."""
        start, count = self._vector(number, 4)
        tables = []
        for position in range(start, start + 4 * count, 4):
            tables.append(Table(self.data, position + unpack(self.data, "I", position)))
        return tables
