"""The whole schema as commented TOML: what `vigild config` prints.

    print(reference())

Each key has its meaning, what is allowed, its default and what a reload does with it. The text is
itself a valid configuration: keys with a default are written with it, the others are commented out.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from vigild.config.fields import FIELDS, STRUCTS, Field, Number
from vigild.config.schema import Reload
from vigild.config.units import format_value
from vigild.config.values import describe

WIDTH = 100
"""Characters a line of comment."""

RELOAD_TEXT: dict[Reload, str] = {
    "live": "taken up at once",
    "camera": "this camera is opened again",
    "detector": "a new detector takes over, without a gap",
    "restart": "not taken up; restart the daemon",
}

_HEAD = """\
# vigild's configuration: every key, with its default. A line that begins with "# " and holds a key is
# an example of a key that has no default. Unknown keys are refused. Temperatures, sizes and times are
# texts with a unit: "75 °C", "256 MiB", "10 s". Relative paths are relative to this file's folder.
# Reload (SIGHUP, `vigild reload`): the file is checked first; with a mistake in it nothing changes.
# Cameras that are added, removed or renamed are taken up; those that did not change stay open.
"""

TABLE_NAMES = {"camera": "camera.front"}
"""The reference shows one camera."""


def reference() -> str:
    """The reference, UTF-8 text ending in a newline."""
    parts = [_HEAD]
    for table, fields in FIELDS.items():
        lines = ["", *_comment(" ".join((STRUCTS[table].__doc__ or "").split())), f"[{TABLE_NAMES.get(table, table)}]"]
        for field in fields.values():
            lines += _key(field)
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _toml(field: Field, value: Any) -> str:
    if isinstance(field.type, Number) and field.type.unit:
        return f'"{format_value(field.type.unit, value)}"'
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_plain(item)}" for name, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def facts(field: Field) -> str:
    """What is allowed, and what a reload does with it."""
    text = f"{'Required; ' if field.required else ''}{describe(field.type)}. Reload: {RELOAD_TEXT[field.reload]}."
    return text[0].upper() + text[1:]


def assignment(field: Field) -> str:
    """The key with its default, or with an example where it has none (then commented out, unless it is required)."""
    if field.required:
        return f"{field.name} = {field.example}"
    if field.default is None:
        return f"# {field.name} = {field.example}"
    return f"{field.name} = {_toml(field, field.default)}"


def _key(field: Field) -> list[str]:
    return ["", *_comment(field.text), *_comment(facts(field)), assignment(field)]
