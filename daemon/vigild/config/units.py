"""Text with a unit, to a number in the base unit and back.

    parse_temperature("75 °C")     # 75.0, degrees Celsius
    parse_size("256 MiB")          # 268435456, bytes
    parse_duration("500 ms")       # 0.5, seconds
    format_size(268435456)         # "256 MiB"

A number without a unit is refused: "memory = 256" has been read as bytes, KiB and MB by different
programs, and none of them said so. `parse` and `format_value` choose by the schema's name of the quantity.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

Quantity = Literal["temperature", "temperature difference", "size", "duration"]

_VALUE = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*", re.ASCII)
_DEGREES = str.maketrans(
    {"℃": "°C", "℉": "°F", "º": "°", "˚": "°", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "μ": "µ"}
)
"""What keyboards and word processors make of a degree sign, a space and a micro sign."""

_DECIMALS = 9
"""Conversions are rounded to this many, so that "348.15 K" is 75 °C and not 74.99999999999994."""


class UnitError(ValueError):
    """The text is no quantity of the wanted kind; the message says how to write it."""


class _Scale(NamedTuple):
    """base = value * factor + offset."""

    factor: float
    offset: float = 0.0


class _Quantity(NamedTuple):
    units: dict[str, _Scale]
    usual: tuple[str, ...]
    """The units named in messages."""
    bare: str
    """The unit that a number without one is likely to be in."""


_QUANTITIES: dict[str, _Quantity] = {
    "temperature": _Quantity(
        {
            "°C": _Scale(1.0),
            "C": _Scale(1.0),
            "°F": _Scale(5 / 9, -32 * 5 / 9),
            "F": _Scale(5 / 9, -32 * 5 / 9),
            "K": _Scale(1.0, -273.15),
        },
        ("°C", "°F", "K"),
        "°C",
    ),
    "temperature difference": _Quantity(
        {"°C": _Scale(1.0), "C": _Scale(1.0), "°F": _Scale(5 / 9), "F": _Scale(5 / 9), "K": _Scale(1.0)},
        ("°C", "°F", "K"),
        "°C",
    ),
    "size": _Quantity(
        {
            "B": _Scale(1),
            "kB": _Scale(1000),
            "KB": _Scale(1000),
            "MB": _Scale(1000**2),
            "GB": _Scale(1000**3),
            "KiB": _Scale(1024),
            "MiB": _Scale(1024**2),
            "GiB": _Scale(1024**3),
        },
        ("B", "KiB", "MiB", "GiB", "kB", "MB", "GB"),
        "MiB",
    ),
    "duration": _Quantity(
        {"ms": _Scale(0.001), "s": _Scale(1.0), "min": _Scale(60.0), "h": _Scale(3600.0)},
        ("ms", "s", "min", "h"),
        "s",
    ),
}


def _read(quantity: Quantity, text: str) -> float:
    kind = _QUANTITIES[quantity]
    match = _VALUE.fullmatch(text.translate(_DEGREES))
    if match is None:
        example = {"size": "256 MiB", "duration": "10 s"}.get(quantity, "75 °C")
        raise UnitError(f'a {quantity} is a number and a unit, for example "{example}"')
    number, unit = match[1], match[2]
    if not unit:
        raise UnitError(f'a number without a unit; write "{_suggest(quantity, number)}"')
    scale = kind.units.get(unit)
    if scale is None:
        folded = {name.casefold(): name for name in reversed(kind.units)}
        near = folded.get(unit.casefold()) or folded.get(unit.casefold() + "ib") or folded.get(unit.casefold()[:1])
        hint = f'; write "{number} {near}"' if near else ""
        raise UnitError(f'"{unit}" is not a unit of {quantity} (known are {", ".join(kind.usual)}){hint}')
    value = float(number)
    base = value * scale.factor + scale.offset
    if not math.isfinite(base):
        raise UnitError("the number is too large")
    return round(base, _DECIMALS) if scale.factor != 1.0 or scale.offset else base


def _suggest(quantity: Quantity, number: str) -> str:
    """The text a person who wrote a bare number most likely meant."""
    value = float(number)
    if quantity == "size" and math.isfinite(value) and value >= 1024**2:
        return format_size(round(value))
    return f"{number} {_QUANTITIES[quantity].bare}"


def parse_temperature(text: str) -> float:
    """Degrees Celsius from "75 °C", "75 C", "167 °F" or "348.15 K". Raises UnitError."""
    return _read("temperature", text)


def parse_temperature_difference(text: str) -> float:
    """Kelvins (which are degrees Celsius apart) from "5 °C", "9 °F" or "5 K". Raises UnitError."""
    return _read("temperature difference", text)


def parse_size(text: str) -> int:
    """Bytes from "256 MiB", "1.5 GiB" (powers of 1024), "200 MB" (of 1000) or "900000 B". Raises UnitError."""
    return round(_read("size", text))


def parse_duration(text: str) -> float:
    """Seconds from "500 ms", "10 s", "2 min" or "1 h". Raises UnitError."""
    return _read("duration", text)


def _number(value: float) -> str:
    whole = int(value)
    return str(whole) if whole == value and abs(value) < 1e15 else repr(float(value))


def format_temperature(celsius: float) -> str:
    """Degrees Celsius as "75 °C"; also for differences."""
    return f"{_number(celsius)} °C"


def format_size(nbytes: int) -> str:
    """Bytes as "256 MiB", in the largest unit that needs no fraction."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
        factor = int(_QUANTITIES["size"].units[unit].factor)
        if nbytes and nbytes % factor == 0:
            return f"{nbytes // factor} {unit}"
    return f"{nbytes} B"


def format_duration(seconds: float) -> str:
    """Seconds as "10 s", "500 ms" or "2 min", in the unit that needs no fraction."""
    for unit in ("h", "min", "s", "ms"):
        value = seconds / _QUANTITIES["duration"].units[unit].factor
        if value and round(value) == round(value, _DECIMALS):
            text = f"{round(value)} {unit}"
            if parse_duration(text) == seconds:
                return text
    return f"{_number(seconds)} s"


_PARSERS: dict[str, Callable[[str], float]] = {
    "temperature": parse_temperature,
    "temperature difference": parse_temperature_difference,
    "size": parse_size,
    "duration": parse_duration,
}


def parse(quantity: Quantity, text: str) -> float:
    """The value in the base unit: degrees Celsius, kelvins, bytes (an int) or seconds. Raises UnitError."""
    return _PARSERS[quantity](text)


def format_value(quantity: Quantity, value: float) -> str:
    """The text that `parse` reads back."""
    if quantity == "size":
        return format_size(int(value))
    if quantity == "duration":
        return format_duration(value)
    return format_temperature(value)


def suggest(quantity: Quantity, value: float) -> str:
    """How to write a number that came without a unit, for a message: 75 -> "75 °C"."""
    return _suggest(quantity, _number(value))
