"""One value against one key's type: the value in its base unit, or a sentence about what is wrong.

check(Number(gt=0, le=1000), 0)          # raises Fault: found 0, expected a number above 0 and at most 1000
check(Number(unit="duration"), "500 ms")  # 0.5
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from vigild.closest import closest
from vigild.config import units
from vigild.config.fields import Choice, Fixed, Flag, Items, Number, Text, Type
from vigild.config.source import redact

SHOWN_CHARACTERS = 80
"""Of a found value in a message; a message is one line."""


class Fault(ValueError):
    """The value does not fit; the message says what was found, what is allowed and, if known, what to write."""


def show(value: object) -> str:
    """A value as TOML would write it, shortened, without credentials."""
    text = _toml(value, 0)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _toml(value: object, depth: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # Hidden before it is cut: half a URL no longer shows that it begins with a password.
        return json.dumps(redact(value)[: 4 * SHOWN_CHARACTERS], ensure_ascii=False)
    if isinstance(value, int):
        # Python refuses to write out integers of more than 4300 digits.
        return str(value) if value.bit_length() < 1024 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item, depth + 1) for item in value[:8]) + "]" if depth < 4 else "[...]"
    if isinstance(value, Mapping):
        return "a table"
    return str(value)


def _number(kind: Number, value: float) -> str:
    if kind.unit:
        return f'"{units.format_value(kind.unit, value)}"'
    return str(int(value)) if float(value).is_integer() else str(value)


def _range(kind: Number) -> str:
    """The limits in words, with a leading space; empty when there are none."""
    if kind.ge is not None and kind.le is not None:
        return f" from {_number(kind, kind.ge)} to {_number(kind, kind.le)}"
    parts = []
    if kind.ge is not None:
        parts.append(f"at least {_number(kind, kind.ge)}")
    if kind.gt is not None:
        parts.append(f"above {_number(kind, kind.gt)}")
    if kind.le is not None:
        parts.append(f"at most {_number(kind, kind.le)}")
    return " " + " and ".join(parts) if parts else ""


def describe(kind: Type) -> str:
    """What is allowed, in words: "a number above 0 and at most 1000"."""
    if isinstance(kind, Text):
        return kind.form or ("a text that is not empty" if kind.min_length else "a text")
    if isinstance(kind, Number):
        name = f"a {kind.unit}" if kind.unit else "a whole number" if kind.whole else "a number"
        return name + _range(kind)
    if isinstance(kind, Flag):
        return "true or false"
    if isinstance(kind, Choice):
        *most, last = (show(value) for value in kind.values)
        return f"{', '.join(most)} or {last}"
    if isinstance(kind, Items):
        return _array(kind)
    if isinstance(kind, Fixed):
        return f"an array of {len(kind.items)}, each {describe(kind.items[0])}"
    return "a table of texts"


def _array(kind: Items) -> str:
    of = "an array of texts" if kind.item == Text() else f"an array, each {describe(kind.item)}"
    limits = []
    if kind.min_length:
        limits.append(f"at least {kind.min_length}")
    if kind.max_length is not None:
        limits.append(f"at most {kind.max_length}")
    return of + (f", {' and '.join(limits)} of them" if limits else "")


def check(kind: Type, value: object) -> Any:
    """The value as the schema holds it: units resolved, arrays of fixed length as tuples. Raises Fault."""
    if isinstance(kind, Text):
        return _text(kind, value)
    if isinstance(kind, Number):
        return _quantity(kind, value) if kind.unit else _plain_number(kind, value)
    if isinstance(kind, Flag):
        if not isinstance(value, bool):
            word = value.lower() if isinstance(value, str) else ""
            hint = f"; write {word} without quotes" if word in ("true", "false") else ""
            raise _fault(kind, value, hint)
        return value
    if isinstance(kind, Choice):
        return _choice(kind, value)
    if isinstance(kind, Items):
        if isinstance(value, str) and isinstance(kind.item, Text):
            raise _fault(kind, value, f"; write [{show(value)}]")
        if not isinstance(value, list) or not kind.min_length <= len(value) <= (kind.max_length or len(value)):
            raise _fault(kind, value)
        items = [check(kind.item, item) for item in value]
        if isinstance(kind.item, Choice):
            # An order of words: one that stands twice cannot be meant.
            for item in items:
                if items.count(item) > 1:
                    raise Fault(f"found {show(value)}, expected each of them once; take one {show(item)} out")
        return items
    if isinstance(kind, Fixed):
        if not isinstance(value, list) or len(value) != len(kind.items):
            raise _fault(kind, value)
        return tuple(check(item, part) for item, part in zip(kind.items, value, strict=True))
    if not isinstance(value, Mapping):
        raise _fault(kind, value)
    return {str(name): _text(kind.value, text) for name, text in value.items()}


def _fault(kind: Type, value: object, hint: str = "") -> Fault:
    return Fault(f"found {show(value)}, expected {describe(kind)}{hint}")


def _text(kind: Text, value: object) -> str:
    if not isinstance(value, str):
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        raise _fault(kind, value, f'; write it in quotes: "{show(value)}"' if plain and not kind.form else "")
    if len(value) < kind.min_length:
        raise _fault(kind, value)
    # A pattern's $ also matches in front of a final newline.
    if kind.pattern and (value.endswith("\n") or not re.search(kind.pattern, value)):
        raise _fault(kind, value)
    if "\0" in value:
        raise Fault(f"found {show(value)}, expected a text without NUL characters")
    return value


def _choice(kind: Choice, value: object) -> str | int:
    for allowed in kind.values:
        if type(value) is type(allowed) and value == allowed:
            return allowed
    hint = ""
    if isinstance(value, str):
        names = {str(allowed): allowed for allowed in kind.values}
        near = closest(value, names)
        if near:
            hint = f"; did you mean {show(names[near])}?"
    raise _fault(kind, value, hint)


def _quantity(kind: Number, value: object) -> float:
    assert kind.unit is not None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        finite = math.isfinite(value) if isinstance(value, float) else value.bit_length() < 64
        hint = f'; a number needs a unit: write "{units.suggest(kind.unit, value)}"' if finite else ""
        raise _fault(kind, value, hint)
    if not isinstance(value, str):
        raise _fault(kind, value)
    try:
        base = units.parse(kind.unit, value)
    except units.UnitError as error:
        raise _fault(kind, value, f": {error}") from None
    return _limited(kind, base, value)


def _plain_number(kind: Number, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        hint = ""
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", value, re.ASCII):
            hint = f"; write {value.strip()} without quotes"
        raise _fault(kind, value, hint)
    if kind.whole:
        if not isinstance(value, int):
            raise _fault(kind, value, f"; write {int(value)}" if value.is_integer() else "")
        return int(_limited(kind, value, value))
    if isinstance(value, int) and value.bit_length() >= 1024:  # more than a float holds
        raise _fault(kind, value)
    return float(_limited(kind, value, value))


def _limited(kind: Number, base: float, found: object) -> float:
    inside = (
        not (isinstance(base, float) and not math.isfinite(base))
        and (kind.ge is None or base >= kind.ge)
        and (kind.gt is None or base > kind.gt)
        and (kind.le is None or base <= kind.le)
    )
    if not inside:
        raise _fault(kind, found)
    return base
