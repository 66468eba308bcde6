"""The numbers in a FlexBuffer map: how TFLite keeps a custom operator's options.

    options(data)["nms_score_threshold"]

Format: https://flatbuffers.dev/flexbuffers/. Only what such maps hold is read: integers, floats and
booleans by name; other values are left out.
"""

from __future__ import annotations

import struct

from vigild.detector.flatbuffer import OutOfBounds

_INT, _UINT, _FLOAT, _INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP, _BOOL = 1, 2, 3, 6, 7, 8, 9, 26
_SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_REAL = {4: "f", 8: "d"}


def _read(data: bytes, position: int, width: int, codes: dict[int, str]) -> float:
    if width not in codes or position < 0 or position + width > len(data):
        raise OutOfBounds(f"an option refers to byte {position} of {len(data)}")
    value: float = struct.unpack_from("<" + codes[width], data, position)[0]
    return value


def _offset(data: bytes, position: int, width: int) -> int:
    """Where the (backward) offset stored at `position` leads."""
    return position - int(_read(data, position, width, _UNSIGNED))


def _value(data: bytes, position: int, parent_width: int, packed: int) -> float | None:
    kind, width = packed >> 2, 1 << (packed & 3)
    if kind in (_INT, _UINT, _FLOAT, _BOOL):
        codes = {_INT: _SIGNED, _FLOAT: _REAL}.get(kind, _UNSIGNED)
        return _read(data, position, parent_width, codes)
    if kind in (_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT):
        codes = {_INDIRECT_INT: _SIGNED, _INDIRECT_FLOAT: _REAL}.get(kind, _UNSIGNED)
        return _read(data, _offset(data, position, parent_width), width, codes)
    return None


def options(data: bytes) -> dict[str, float]:
    """The map at the buffer's root. Raises OutOfBounds when it is damaged or no map."""
    if len(data) < 3:
        raise OutOfBounds("the options are empty")
    root_width, packed = data[-1], data[-2]
    if packed >> 2 != _MAP or root_width not in _UNSIGNED:
        raise OutOfBounds("the options are not a map")
    width = 1 << (packed & 3)
    start = _offset(data, len(data) - 2 - root_width, root_width)
    count = int(_read(data, start - width, width, _UNSIGNED))
    keys = _offset(data, start - 3 * width, width)
    keys_width = int(_read(data, start - 2 * width, width, _UNSIGNED))
    found: dict[str, float] = {}
    for index in range(count):
        name_at = _offset(data, keys + index * keys_width, keys_width)
        end = data.find(b"\0", name_at) if 0 <= name_at < len(data) else -1
        type_at = start + count * width + index
        if end < 0 or type_at >= len(data):
            raise OutOfBounds("an option's name or type lies beyond the options")
        value = _value(data, start + index * width, width, data[type_at])
        if value is not None:
            found[data[name_at:end].decode(errors="replace")] = value
    return found
