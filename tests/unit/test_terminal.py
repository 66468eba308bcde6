"""Lines that fit the terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

from hypothesis import given
from hypothesis import strategies as st

from vigild.terminal import RED, Part, Screen, calm, columns, fit, one_line, pad, table, width, wrap

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


def test_what_is_no_terminal_gets_everything_and_no_colours():
    screen = Screen.of(io.StringIO(), {"TERM": "xterm"})
    assert screen == (None, False)
    assert screen.fit("x" * 500) == "x" * 500 and screen.paint("x", RED) == "x"


def test_a_terminal_has_a_width_and_colours():
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        wide = {"COLUMNS": "40"}
        assert Screen.of(terminal, {**wide, "TERM": "xterm"}) == (40, True)
        assert Screen.of(terminal, {**wide, "TERM": "dumb"}) == (40, False)
        assert Screen.of(terminal, wide) == (40, False)
        assert Screen.of(terminal, {**wide, "TERM": "xterm", "NO_COLOR": "1"}) == (40, False)
        assert Screen.of(terminal, {**wide, "TERM": "xterm", "NO_COLOR": ""}) == (40, True)
        assert Screen.of(terminal, {"COLUMNS": "3"}).columns is None


def test_the_width_is_what_columns_says_or_the_kernel_or_the_usual(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 132, 0, 0))
        monkeypatch.setattr("sys.__stdout__", terminal)
        assert columns({"COLUMNS": "40"}) == 40
        assert [columns(environ) for environ in ({}, {"COLUMNS": ""}, {"COLUMNS": "-3"}, {"COLUMNS": "x"})] == [132] * 4
    assert columns({}) == 80, "closed"
    monkeypatch.setattr("sys.__stdout__", None)
    assert columns({}) == 80


def test_a_long_text_ends_in_an_ellipsis():
    assert fit("a longer text", 8) == "a longe…"
    assert fit("short", 8) == "short"
    assert fit("\033[31mlonger\033[0m text", 5) == "\033[31mlong…\033[0m"
    assert fit("\033[31mab\033[0m longer", 5) == "\033[31mab\033[0m l…"


def test_wide_characters_take_two_columns_and_marks_none():
    assert width("人") == 2 and width("e\u0301") == 1 and width("\033[1mx\033[0m") == 1
    assert fit("人人人", 5) == "人人…"
    assert pad("人", 4) == "人  " and pad("7", 3, right=True) == "  7"


@given(texts, st.integers(1, 40))
def test_nothing_is_wider_than_it_may_be(text, columns):
    assert width(fit(text, columns)) <= columns
    assert width(one_line([Part(text, 0), Part(text, 1)], columns)) <= columns


@given(st.text("ab cdefgh", max_size=80), st.integers(10, 40), st.integers(0, 8))
def test_wrapping_loses_no_letter(text, columns, indent):
    lines = list(wrap(text, columns, indent))
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_wrapped_lines_hang():
    assert list(wrap("  head  some words that go on", 16, 8)) == [
        "  head some",
        "        words",
        "        that go",
        "        on",
    ]
    assert list(wrap("as it  is", None, 8)) == ["as it  is"]


def test_what_can_be_spared_goes_first():
    parts = [Part("front"), Part("ok"), Part("12.0 fps", 1), Part("45 °C", 2), Part("", 0), Part("person 0.87")]
    assert one_line(parts, None) == "front  ok  12.0 fps  45 °C  person 0.87"
    assert one_line(parts, 35) == "front  ok  12.0 fps  person 0.87"
    assert one_line(parts, 25) == "front  ok  person 0.87"
    assert one_line(parts, 12) == "front  ok  …"


def test_a_table_drops_what_can_be_spared():
    head, rows = ["NAME", "P50", "LOAD", "NOTE"], [["a", "1.5", "300", "fine"], ["longer", "12", "4", ""]]
    assert list(table(head, rows, None, right={"P50", "LOAD"})) == [
        "NAME    P50  LOAD  NOTE",
        "a       1.5   300  fine",
        "longer   12     4",
    ]
    assert list(table(head, rows, 20, right={"P50"}, spare=["LOAD", "P50"]))[1] == "a       1.5  fine"
    assert list(table(head, rows, 9, spare=["LOAD", "P50"])) == ["NAME    …", "a       …", "longer"]


def test_what_lines_are_made_of_steers_nothing() -> None:
    odd = "a\x1b[2J\nb\x9b\u202e\udcff"
    calmed = "a\ufffd[2J b\ufffd\ufffd\ufffd"
    assert calm(odd) == fit(odd, None) == one_line([Part(odd)], None) == calmed
    assert list(wrap(odd, None)) == list(table([odd], [], None)) == [calmed]
    assert calm("\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert Screen(colored=True).paint("x\x1b[0m\n", RED) == "\x1b[31mx\ufffd[0m \x1b[0m"
    assert Screen().paint("x\x1b[31m", RED) == "x\ufffd[31m"
