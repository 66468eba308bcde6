"""Text that fits the terminal it is written to: widths, cutting, tables, colours.

    screen = terminal.Screen.of(sys.stdout)        # columns and colours; neither where it is no terminal
    terminal.calm("red\\x1b[2J")                    # nothing in it but styles steers the terminal
    screen.fit("a line that is far too long")      # "a line that is fa…"
    screen.paint("degraded", terminal.YELLOW)
    terminal.wrap("found: ...", screen.columns, indent=4)
    terminal.one_line([Part("front"), Part("12.0 fps", 1), Part("(invoke 2.9)", 2)], screen.columns)
    terminal.table(head, rows, screen.columns, right={"P50 ms"}, spare=["FIRST ms", "LOAD ms"])

All but `Screen.of` is pure. What lines are made of is calmed. Where `columns` is None nothing is cut: programs that
read the output get all of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TextIO

from vigild import plain

RED, GREEN, YELLOW, DIM, BOLD = "31", "32", "33", "2", "1"
"""Select Graphic Rendition parameters (ECMA-48)."""

STATUS_COLORS = {"ok": GREEN, "degraded": YELLOW, "paused": YELLOW}
"""Of a camera; others are red: it does not see."""

ELLIPSIS = "…"
MIN_COLUMNS = 20
"""A terminal that says it is narrower says nothing (0 is usual where nobody set it)."""
DEFAULT_COLUMNS = 80
"""Of a terminal that cannot be asked."""
GAP = "  "

_STYLE = re.compile(r"\033\[[0-9;]*m")
_STYLES = re.compile(f"({_STYLE.pattern})")
_RESET = "\033[0m"


class Screen(NamedTuple):
    """What lines are written to."""

    columns: int | None = None
    """None: no terminal; lines are as long as they are."""
    colored: bool = False

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Screen:
        """Of an open stream, as it is now: a window's width changes."""
        try:
            is_terminal = stream.isatty()
        except ValueError:  # closed
            is_terminal = False
        if not is_terminal:
            return cls()
        found = columns(environ)
        # https://no-color.org: present and not empty, whatever it says.
        colored = environ.get("TERM", "dumb") != "dumb" and not environ.get("NO_COLOR")
        return cls(found if found >= MIN_COLUMNS else None, colored)

    def fit(self, text: str) -> str:
        """The text, or as much of it as one line holds."""
        return fit(text, self.columns)

    def paint(self, text: str, color: str) -> str:
        """In a colour, where there are any."""
        text = plain.name(text)
        return f"\033[{color}m{text}{_RESET}" if self.colored and text else text


def columns(environ: Mapping[str, str] = os.environ) -> int:
    """Of the terminal of stdout: what COLUMNS says, or the kernel; 80 where neither does.

    shutil.get_terminal_size does the same and brings the compressors along: .4 MiB in a daemon.
    """
    try:
        told = int(environ.get("COLUMNS", ""))
    except ValueError:
        told = 0
    if told > 0:
        return told
    try:
        # The stream that the process began with: what lies on sys.stdout may be a test's.
        return os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else DEFAULT_COLUMNS
    except (OSError, ValueError):  # no terminal, or closed
        return DEFAULT_COLUMNS


def calm(text: str) -> str:
    """`text` in one line that steers nothing: only styles stay, and U+FFFD stands for other control characters."""
    if text.isprintable():
        return text
    pieces = _STYLES.split(text)  # text, style, text, ...
    return "".join(piece if index % 2 else plain.name(piece) for index, piece in enumerate(pieces))


def width(text: str) -> int:
    """The columns a text takes: none for styles and combining marks, two for wide characters."""
    if text.isascii() and "\033" not in text:
        return len(text)
    return sum(map(_cells, _STYLE.sub("", text)))


def _cells(character: str) -> int:
    import unicodedata  # a megabyte of tables, for texts that are not ASCII

    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, columns: int | None) -> str:
    """`text` in at most `columns` columns, its end replaced by an ellipsis if need be. Styles are closed."""
    text = calm(text)
    if columns is None or width(text) <= columns:
        return text
    room = max(columns - 1, 0)
    pieces: list[str] = []
    styled = False
    at = 0
    while at < len(text):
        style = _STYLE.match(text, at)
        if style:
            pieces.append(style[0])
            styled = style[0] != _RESET
            at = style.end()
            continue
        room -= _cells(text[at])
        if room < 0:
            break
        pieces.append(text[at])
        at += 1
    return "".join(pieces) + (ELLIPSIS if columns > 0 else "") + (_RESET if styled else "")


def pad(text: str, columns: int, right: bool = False) -> str:
    """Filled up with spaces to `columns`, which str.ljust counts wrongly for styles and wide characters."""
    filling = " " * max(columns - width(text), 0)
    return filling + text if right else text + filling


def wrap(text: str, columns: int | None, indent: int = 0) -> Iterator[str]:
    """`text` in lines of at most `columns`, the further ones indented; broken between words, and within a word
    only where it alone is too long. Nothing in it is painted yet."""
    text = plain.name(text)
    if columns is None or width(text) <= columns:
        yield text
        return
    indent = min(indent, columns // 2)
    first = re.match(r" *", text)
    line = first[0] if first else ""
    empty = True
    for word in text.split():
        if not empty and width(line) + 1 + width(word) > columns:
            yield line
            line, empty = " " * indent, True
        line += word if empty else f" {word}"
        empty = False
        while width(line) > columns:
            head = _head(line, columns)
            yield head
            line = " " * indent + line[len(head) :]
    if not empty:
        yield line


def _head(text: str, columns: int) -> str:
    """As much of a plain text as `columns` hold, and at least a character of it."""
    end = used = 0
    while end < len(text) and (used := used + _cells(text[end])) <= columns:
        end += 1
    return text[: max(end, 1)]


class Part(NamedTuple):
    """Of a line: a text, and how soon it goes when the line is too long (0: never, then 1 last)."""

    text: str
    spare: int = 0


def one_line(parts: Iterable[Part], columns: int | None, gap: str = GAP) -> str:
    """The parts that fit, in their order: those of the highest `spare` go first; what is left is cut."""
    kept = [Part(calm(part.text), part.spare) for part in parts if part.text]

    def joined() -> str:
        return gap.join(part.text for part in kept).rstrip()

    while columns is not None and width(joined()) > columns:
        most = max((part.spare for part in kept), default=0)
        if most == 0:
            break
        last = max(index for index, part in enumerate(kept) if part.spare == most)
        del kept[last]
    return fit(joined(), columns)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int | None,
    *,
    right: Collection[str] = (),
    spare: Sequence[str] = (),
    without: Collection[str] = (),
) -> Iterator[str]:
    """A head and a line for each row, as wide as their widest cell.

    right: heads of columns of figures. spare: heads of columns that go when it is too wide, the first one first;
    what is too wide without them is cut at its end. without: heads of columns that are not shown at all.
    """
    widths = [max(width(row[column]) for row in (head, *rows)) for column in range(len(head))]
    chosen = [column for column in range(len(head)) if head[column] not in without]
    for name in spare:
        if columns is None or sum(widths[column] for column in chosen) + len(GAP) * (len(chosen) - 1) <= columns:
            break
        chosen = [column for column in chosen if head[column] != name]
    for row in (head, *rows):
        cells = [pad(row[column], widths[column], head[column] in right) for column in chosen]
        yield fit(GAP.join(cells).rstrip(), columns)
