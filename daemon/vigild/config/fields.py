"""One key of the schema as data: its type, limits, unit, default and documentation.

    field = read_field("fps", annotation, default)
    field.type                       # Number(ge=0.001, le=1000)
    field.reload                     # "live"

Read off the annotations in `schema`, so that checking, the printed reference and reloads cannot
disagree with it. Which tables hold which keys is `tree`'s.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from vigild.config.targets import Target
from vigild.config.units import Quantity


class Text(msgspec.Struct, frozen=True):
    """A string; `form` says in words what `pattern` asks."""

    min_length: int = 0
    pattern: str | None = None
    form: str = ""


class Number(msgspec.Struct, frozen=True):
    """A number, finite; with `unit` it is written as text and held in the unit's base."""

    whole: bool = False
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    unit: Quantity | None = None


class Flag(msgspec.Struct, frozen=True):
    """true or false."""


class Choice(msgspec.Struct, frozen=True):
    """One of these values."""

    values: tuple[str | int, ...]


class Items(msgspec.Struct, frozen=True):
    """An array of any length within these limits, all of one type."""

    item: Type
    min_length: int = 0
    max_length: int | None = None


class Fixed(msgspec.Struct, frozen=True):
    """An array of exactly these."""

    items: tuple[Number, ...]


class Table(msgspec.Struct, frozen=True):
    """A table whose keys are free and whose values are texts."""

    value: Text


Type = Text | Number | Flag | Choice | Items | Fixed | Table


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One key."""

    name: str
    type: Type
    default: Any
    """In the base unit; None when unset is a value of its own; msgspec.NODEFAULT when the key is required."""
    reload: str
    """What a reload does with it: "live", "detector", "restart", or the kind of named table that is opened again."""
    text: str
    example: str
    """A TOML value, for keys without a default."""
    target: Target
    """What the text points at."""

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    @property
    def takes_text(self) -> bool:
        """Whether the value is a text, so that it needs no quotes on a command line."""
        if isinstance(self.type, Choice):
            return isinstance(self.type.values[0], str)
        return isinstance(self.type, Text)


def strip(annotation: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The bare type below Annotated and `| None`, and every Meta on the way, innermost first."""
    metas: list[msgspec.Meta] = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *found = get_args(annotation)
            metas = [meta for meta in found if isinstance(meta, msgspec.Meta)] + metas
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (arm for arm in get_args(annotation) if arm is not type(None))
        else:
            return annotation, metas


def extra(metas: list[msgspec.Meta], name: str) -> Any:
    return next((meta.extra[name] for meta in metas if meta.extra and meta.extra.get(name)), None)


def _limit(metas: list[msgspec.Meta], name: str) -> Any:
    return next((getattr(meta, name) for meta in metas if getattr(meta, name) is not None), None)


def _type(annotation: Any) -> Type:
    bare, metas = strip(annotation)
    if bare is str:
        return Text(_limit(metas, "min_length") or 0, _limit(metas, "pattern"), extra(metas, "form") or "")
    if bare is bool:
        return Flag()
    if bare in (int, float):
        limits = {name: _limit(metas, name) for name in ("ge", "gt", "le")}
        return Number(whole=bare is int, unit=extra(metas, "unit"), **limits)
    origin, args = get_origin(bare), get_args(bare)
    if origin is Literal:
        return Choice(args)
    if origin is list:
        return Items(_type(args[0]), _limit(metas, "min_length") or 0, _limit(metas, "max_length"))
    if origin is tuple:
        return Fixed(tuple(typing.cast(Number, _type(arg)) for arg in args))
    if origin is dict and strip(args[1])[0] is str:
        return Table(typing.cast(Text, _type(args[1])))
    raise TypeError(f"the schema uses {bare!r}, which the configuration's reader does not know")


def read_field(name: str, annotation: Any, default: Any) -> Field:
    """The key `name` of a Struct, from its annotation and default. Raises TypeError for what no key can be."""
    metas = strip(annotation)[1]
    return Field(
        name=name,
        type=_type(annotation),
        default=default,
        reload=extra(metas, "reload"),
        text=_limit(metas, "description"),
        example=extra(metas, "example") or "",
        target=extra(metas, "target") or "",
    )
