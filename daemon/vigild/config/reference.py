"""The whole schema as commented TOML: what `vigild config` prints.

    print(reference())

Each key has its meaning, what is allowed, its default and what a reload does with it. The text is
itself a valid configuration: keys with a default are written with it, the others are commented out, and so are
tables that are not there unless somebody writes them.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from vigild.config.document import KeyPath, key_text
from vigild.config.fields import Field, Number
from vigild.config.schema import Config
from vigild.config.tree import Section, tree
from vigild.config.units import format_value
from vigild.config.values import describe

WIDTH = 100
"""Characters a line of comment."""

_RELOAD_TEXT = {
    "live": "taken up at once",
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


def reload_text(reload: str) -> str:
    """What a reload does with a key, in words."""
    return _RELOAD_TEXT.get(reload, f"this {reload} is opened again")


def reference(schema: type[msgspec.Struct] = Config) -> str:
    """The reference, UTF-8 text ending in a newline. Of tables that the user names it has one."""
    return _HEAD + "".join("\n".join(lines) + "\n" for lines in _tables(tree(schema), (), True))


def _tables(section: Section, path: KeyPath, shown: bool) -> Iterator[list[str]]:
    """The lines of a table and then those of the tables in it."""
    meaning = " ".join((section.struct.__doc__ or "").split())
    if not shown:
        meaning += " Left out unless you write it: take the # from its name and from the keys you set."
    lines = ["", *_comment(meaning), _line(f"[{key_text(path)}]", shown)]
    for field in section.fields:
        lines += _key(field, shown)
    if path or section.fields:
        yield lines if path else lines[2:]
    for name, below in section.sections.items():
        at = (*path, name, below.example) if below.named else (*path, name)
        yield from _tables(below, at, shown and below.shown)


def _line(text: str, shown: bool) -> str:
    return text if shown else f"# {text}"


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


def _key(field: Field, shown: bool) -> list[str]:
    facts = f"{describe(field.type)}. Reload: {reload_text(field.reload)}."
    if field.required:
        facts = "Required; " + facts
        line = _line(f"{field.name} = {field.example}", shown)
    elif field.default is None:
        line = f"# {field.name} = {field.example}"
    else:
        line = _line(f"{field.name} = {_toml(field, field.default)}", shown)
    return ["", *_comment(field.text), *_comment(facts[0].upper() + facts[1:]), line]
