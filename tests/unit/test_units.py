"""Quantities with units: read, refused, written back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.config import units
from vigild.config.units import UnitError


@pytest.mark.parametrize(
    ("text", "celsius"),
    [
        ("75 °C", 75.0),
        ("75°C", 75.0),
        ("75 C", 75.0),
        ("75 ℃", 75.0),
        ("75 ºC", 75.0),  # the masculine ordinal, which some keyboards have instead
        ("75\u00a0°C", 75.0),
        ("167 °F", 75.0),
        ("167 F", 75.0),
        ("348.15 K", 75.0),
        ("300.1 K", 26.95),
        ("140.9 °F", 60.5),
        ("-5 °C", -5.0),
        (" 62.5 °C ", 62.5),
    ],
)
def test_temperatures(text: str, celsius: float) -> None:
    assert units.parse_temperature(text) == celsius


@pytest.mark.parametrize(("text", "kelvins"), [("5 °C", 5.0), ("9 °F", 5.0), ("5 K", 5.0)])
def test_a_difference_of_temperatures_has_no_offset(text: str, kelvins: float) -> None:
    assert units.parse_temperature_difference(text) == kelvins


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("256 MiB", 256 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("200 MB", 200_000_000),
        ("900000 B", 900_000),
        ("64 KiB", 65536),
        ("64 kB", 64000),
        ("64 KB", 64000),
        ("2e3 B", 2000),
    ],
)
def test_sizes(text: str, nbytes: int) -> None:
    size = units.parse_size(text)
    assert size == nbytes
    assert isinstance(size, int)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10 s", 10.0), ("500 ms", 0.5), ("2 min", 120.0), ("1 h", 3600.0), (".5 s", 0.5), ("0 s", 0.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("quantity", "text", "corrected"),
    [
        ("temperature", "75", '"75 °C"'),
        ("temperature difference", "5", '"5 °C"'),
        ("size", "256", '"256 MiB"'),
        ("size", "268435456", '"256 MiB"'),
        ("duration", "10", '"10 s"'),
        ("duration", "0.5", '"0.5 s"'),
    ],
)
def test_a_bare_number_is_refused_with_the_corrected_form(quantity: units.Quantity, text: str, corrected: str) -> None:
    with pytest.raises(UnitError) as refused:
        units.parse(quantity, text)
    assert "without a unit" in str(refused.value)
    assert corrected in str(refused.value)


@pytest.mark.parametrize(
    ("quantity", "text", "part"),
    [
        ("size", "256 mib", 'write "256 MiB"'),
        ("size", "256 M", 'write "256 MiB"'),
        ("duration", "10 sec", 'write "10 s"'),
        ("duration", "10 MIN", 'write "10 min"'),
        ("duration", "10 parsec", "known are ms, s, min, h"),
        ("temperature", "75 °X", "known are °C, °F, K"),
        ("duration", "soon", "a number and a unit"),
        ("duration", "1,5 s", "a number and a unit"),
        ("duration", "", "a number and a unit"),
        ("duration", "nan s", "a number and a unit"),
        ("duration", "1e999 s", "too large"),
        ("size", "1e999 B", "too large"),
    ],
)
def test_what_is_wrong_is_said(quantity: units.Quantity, text: str, part: str) -> None:
    with pytest.raises(UnitError) as refused:
        units.parse(quantity, text)
    assert part in str(refused.value)


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        ("temperature", 75.0, "75 °C"),
        ("temperature", 62.5, "62.5 °C"),
        ("temperature difference", 5.0, "5 °C"),
        ("size", 256 * 2**20, "256 MiB"),
        ("size", 200_000_000, "200 MB"),
        ("size", 1, "1 B"),
        ("size", 0, "0 B"),
        ("duration", 10.0, "10 s"),
        ("duration", 0.5, "500 ms"),
        ("duration", 1.5, "1500 ms"),
        ("duration", 120.0, "2 min"),
        ("duration", 0.0, "0 s"),
    ],
)
def test_written_in_the_unit_that_needs_no_fraction(quantity: units.Quantity, value: float, text: str) -> None:
    assert units.format_value(quantity, value) == text


@given(st.integers(0, 2**50))
def test_sizes_come_back(nbytes: int) -> None:
    assert units.parse_size(units.format_size(nbytes)) == nbytes


@given(st.floats(0, 1e6).map(lambda value: round(value, 6)))
def test_durations_come_back(seconds: float) -> None:
    assert units.parse_duration(units.format_duration(seconds)) == seconds


@given(st.floats(-273, 2000).map(lambda value: round(value, 3)))
def test_temperatures_come_back(celsius: float) -> None:
    assert units.parse_temperature(units.format_temperature(celsius)) == celsius


@given(
    st.sampled_from(["temperature", "temperature difference", "size", "duration"]),
    st.text() | st.from_regex(r"[-+]?[0-9.eE]{1,12} ?(°?[CFK]|[kKMG]?i?B|m?s|min|h)?", fullmatch=True),
)
def test_any_text_is_a_finite_number_or_refused(quantity: units.Quantity, text: str) -> None:
    try:
        value = units.parse(quantity, text)
    except UnitError:
        return
    assert math.isfinite(value)
