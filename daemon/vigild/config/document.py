"""A TOML document with overrides on top, that remembers where each key came from.

    document = Document("vigild.toml", Path("/etc/vigild"))
    document.read(text)
    document.override('camera."front-door".fps=5')
    document.where(("camera", "front-door", "fps"))   # "-o camera.\"front-door\".fps=5"

An override is KEY=VALUE: a TOML key, and a TOML value or, failing that, a plain text, so that
`-o camera.front.source=/dev/video0` needs no quotes within quotes. Knows nothing of the schema but, if told,
which keys are texts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

from vigild.config.source import redact
from vigild.config.values import show

KeyPath = tuple[str, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_KEY_PART = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"([^"\\\x00-\x1f]*)"|'([^'\x00-\x1f]*)')\s*([.=])""", re.ASCII)
_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|(end of document))\)", re.DOTALL)


class DocumentError(ValueError):
    """The text is not TOML, or an override is not KEY=VALUE; the message says where."""


def key_text(path: KeyPath) -> str:
    """A key path as TOML writes it: camera."two words".fps"""
    return ".".join(part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in path)


class Document:
    """Tables of plain values, with the origin of each."""

    def __init__(
        self, where: str, folder: Path | None, takes_text: Callable[[KeyPath], bool] = lambda path: False
    ) -> None:
        """`takes_text`: whether the key at a path wants a text, which an override may then give without quotes."""
        self.tables: dict[str, Any] = {}
        self._where = where
        self._folder = folder
        self._takes_text = takes_text
        self._origins: dict[KeyPath, str] = {}

    def read(self, text: str) -> None:
        """Take up TOML text. Raises DocumentError."""
        text = text.removeprefix("\ufeff")
        try:
            self.tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DocumentError(f"{self._where}: {_syntax(str(error), text)}") from None
        except RecursionError:
            raise DocumentError(f"{self._where}: not valid TOML: arrays or tables are nested too deeply") from None
        except ValueError:  # Python reads no integers of more than 4300 digits
            raise DocumentError(f"{self._where}: not valid TOML: an integer has thousands of digits") from None

    def override(self, text: str) -> None:
        """Apply KEY=VALUE. Raises DocumentError."""
        shown = redact(f"-o {text}")
        path, value_text = _split(text, shown)
        self.set(path, _value(value_text, self._takes_text(path)), shown)

    def set(self, path: KeyPath, value: object, origin: str) -> None:
        """Put a value at `path`, making tables on the way. Raises DocumentError."""
        table = self.tables
        for depth, part in enumerate(path[:-1], 1):
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise DocumentError(f"{origin}: {key_text(path[:depth])} is {show(inner)} and not a table")
            table = inner
        table[path[-1]] = value
        self._origins = {known: where for known, where in self._origins.items() if known[: len(path)] != path}
        self._origins[path] = origin

    def remove(self, path: KeyPath) -> None:
        """Take a key out, if it is there."""
        table: Any = self.tables
        for part in path[:-1]:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(path[-1], None)

    def where(self, path: KeyPath) -> str:
        """What to call the place `path` was set: the file, or the override."""
        return self._origin(path) or self._where

    def folder(self, path: KeyPath) -> Path | None:
        """What relative paths at `path` are relative to: the file's folder, or the working directory."""
        return Path.cwd() if self._origin(path) else self._folder

    def _origin(self, path: KeyPath) -> str | None:
        return next((self._origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._origins), None)


def _syntax(message: str, text: str) -> str:
    """tomllib's message with the position in front and the line behind."""
    match = _POSITION.fullmatch(message)
    if match is None:
        return f"not valid TOML: {message}"
    if match[4]:
        return f"line {text.count(chr(10)) + 1}: not valid TOML: {match[1]} at the end of the text"
    lines = text.splitlines()
    number = int(match[2])
    line = redact(lines[number - 1].strip())[:80] if number <= len(lines) else ""
    return f"line {number}, column {match[3]}: not valid TOML: {match[1]}" + (f" in: {line}" if line else "")


def parse_key(text: str) -> KeyPath:
    """The parts of a dotted TOML key. Raises DocumentError."""
    path, end = _key(text + "=")
    if end != len(text) + 1:
        raise DocumentError(f"{show(text)} is no key; expected a form like camera.front.fps")
    return path


def _split(text: str, shown: str) -> tuple[KeyPath, str]:
    path, end = _key(text)
    if not path:
        raise DocumentError(f"{shown}: expected a key, = and a value, for example camera.front.fps=5")
    return path, text[end:].strip()


def _key(text: str) -> tuple[KeyPath, int]:
    """The key in front of the first = outside quotes, and where the value begins; ((), 0) if there is none."""
    path: list[str] = []
    position = 0
    while match := _KEY_PART.match(text, position):
        path.append(next(group for group in match.groups()[:3] if group is not None))
        position = match.end()
        if match[4] == "=":
            return tuple(path), position
    return (), 0


def _value(text: str, takes_text: bool) -> object:
    """A TOML value, else the text itself; always the text where one is wanted and it is unquoted."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    if list(read) != ["value"]:
        return text
    value = read["value"]
    return text if takes_text and not isinstance(value, (str, list, dict)) else value
