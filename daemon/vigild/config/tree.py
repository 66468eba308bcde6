"""The tables of a configuration, found from its types: tables, named tables, and tables within them.

    ROOT.entries["camera"]                       # Section: named, of CameraConfig
    find(ROOT, ("camera", "front", "fps"))       # its Field
    for path, section, table in tables(ROOT, config): ...   # (), ("daemon",), ..., ("camera", "front"), ...

In a Struct, a field that is itself a Struct is a table ([budget]), one that is a Struct or None a table that may be
left out, and dict[str, Struct] holds tables that the user names ([camera.NAME]); to any depth. Everything else is a
key. Nothing but this knows how tables nest: reading, setting, showing, comparing and printing all walk the tree.
"""

from __future__ import annotations

import functools
import itertools
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from vigild.config.document import KeyPath
from vigild.config.fields import Field, extra, read_field, strip
from vigild.config.schema import Config

NAME = "NAME"
"""Stands in a path for what the user names a table."""

RELOADS = ("live", "detector", "restart")
"""What a reload can do with a key beside opening one of the named tables around it again."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of table and what it may hold."""

    struct: type[msgspec.Struct]
    path: KeyPath
    """As messages write it: ("camera", "NAME", "zone", "NAME")."""
    named: bool
    """There is one of it for each name that the user gives."""
    default: Any
    """Of the field that holds it: None for a table that may be left out, msgspec.NODEFAULT for one that may not."""
    example: str
    """A name for one, in the reference."""
    shown: bool
    """The reference writes it out as a table in force, and not as a comment."""
    entries: dict[str, Field | Section]

    @property
    def kind(self) -> str:
        """What one of it is called: "camera", "budget"."""
        return self.path[-2 if self.named else -1]

    @property
    def required(self) -> bool:
        """It may not be left out."""
        return self.default is msgspec.NODEFAULT

    @property
    def fields(self) -> list[Field]:
        """Its keys."""
        return [entry for entry in self.entries.values() if isinstance(entry, Field)]

    @property
    def sections(self) -> dict[str, Section]:
        """The tables within it."""
        return {name: entry for name, entry in self.entries.items() if isinstance(entry, Section)}

    def walk(self) -> Iterator[Section]:
        """It and all kinds of tables below, parents first."""
        yield self
        for section in self.sections.values():
            yield from section.walk()

    def around(self, kind: str, path: KeyPath) -> KeyPath:
        """The path of the nearest named table of this kind that the table at `path`, of this section, is or lies in;
        () when there is none."""
        for depth in range(len(path), 1, -1):
            if self.path[depth - 2 : depth] == (kind, NAME):
                return path[:depth]
        return ()


@functools.cache
def tree(struct: type[msgspec.Struct]) -> Section:
    """The whole of a configuration. Raises TypeError for a Struct that cannot be one."""
    return _section(struct, (), False, None, [])


def _section(
    struct: type[msgspec.Struct], path: KeyPath, named: bool, default: Any, metas: list[msgspec.Meta]
) -> Section:
    hints = typing.get_type_hints(struct, include_extras=True)
    entries: dict[str, Field | Section] = {}
    kinds = {kind for kind, name in itertools.pairwise(path) if name == NAME}
    for info in msgspec.structs.fields(struct):
        bare, found = strip(hints[info.name])
        held = info.default
        if info.default_factory is not msgspec.NODEFAULT:
            held = info.default_factory()
        at = (*path, info.name)
        below: Any = strip(typing.get_args(bare)[1])[0] if typing.get_origin(bare) is dict else None
        if _is_table(bare):
            entries[info.name] = _section(bare, at, False, held, found)
        elif _is_table(below):
            entries[info.name] = _section(below, (*at, NAME), True, held, found)
        else:
            field = read_field(info.name, hints[info.name], held)
            if field.reload not in RELOADS and field.reload not in kinds:
                raise TypeError(
                    f"{'.'.join(at)}: a reload cannot do {field.reload!r}; "
                    f"expected {', '.join(RELOADS)} or the kind of a named table around it"
                )
            entries[info.name] = field
    return Section(
        struct=struct,
        path=path,
        named=named,
        default=default,
        example=extra(metas, "example") or NAME,
        shown=bool(extra(metas, "shown")) or (not named and (default is not None or not path)),
        entries=entries,
    )


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


ROOT = tree(Config)
"""The file."""


def find(root: Section, path: KeyPath) -> Field | Section | None:
    """What the schema has at `path`, which holds names where tables are named; None if nothing."""
    here: Field | Section | None = root
    rest = list(path)
    while rest:
        if not isinstance(here, Section):
            return None
        here = here.entries.get(rest.pop(0))
        if isinstance(here, Section) and here.named:
            if not rest:
                return None
            rest.pop(0)
    return here


def tables(section: Section, table: msgspec.Struct, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Section, Any]]:
    """Every table that a configuration holds, with its path and its kind; those around others first."""
    yield path, section, table
    for name, below in section.sections.items():
        held = getattr(table, name)
        if below.named:
            for given, inner in held.items():
                yield from tables(below, inner, (*path, name, given))
        elif held is not None:
            yield from tables(below, held, (*path, name))
