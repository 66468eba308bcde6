"""JSON and MessagePack that others wrote, decoded: whatever is wrong with them is one exception.

    decoded(decoder.decode, data)      # msgspec.DecodeError, for bytes that are not UTF-8 and endless nesting, too

msgspec itself raises UnicodeDecodeError for a text that is not UTF-8, UnicodeEncodeError for a str that cannot be (the
arguments of a command hold any bytes) and RecursionError for what is nested too deeply: none of them is a MsgspecError,
so whoever catches that alone dies of the first damaged byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

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
