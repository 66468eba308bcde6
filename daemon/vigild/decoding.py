"""JSON and MessagePack that others wrote, decoded: whatever is wrong with them is one exception. And ours, encoded.

    decoded(decoder.decode, data)      # msgspec.DecodeError, for bytes that are not UTF-8 and endless nesting, too
    encoded(encoder.encode, message)   # never fails over a text in it

msgspec itself raises UnicodeDecodeError for a text that is not UTF-8 (before 0.23), UnicodeEncodeError for a str that
cannot be (the arguments of a command hold any bytes) and RecursionError for what is nested too deeply: none of them is
a MsgspecError, so whoever catches that alone dies of the first damaged byte. And a message with the name of a file in
it, which is bytes, could not be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from vigild import plain

B = TypeVar("B")
T = TypeVar("T")


def decoded(decode: Callable[[B], T], data: B) -> T:
    """`decode(data)`, a method of msgspec's. Raises msgspec.DecodeError (a ValueError), and nothing else for `data`."""
    try:
        return decode(data)
    except UnicodeError as error:
        why = getattr(error, "reason", error)
        where = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "a text"
        raise msgspec.DecodeError(f"{where} is not UTF-8 ({why})") from None
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None


def encoded(encode: Callable[[Any], bytes], value: object) -> bytes:
    """`encode(value)`, a method of msgspec's; U+FFFD stands for what no UTF-8 has."""
    try:
        return encode(value)
    except UnicodeEncodeError:
        return encode(_whole(msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview))))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return plain.whole(value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, (list, tuple)) else value
