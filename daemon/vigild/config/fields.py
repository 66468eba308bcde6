"""The schema as data: each key's type, limits, unit, default and documentation.

    field = FIELDS["camera"]["fps"]
    field.type                       # Number(gt=0, le=1000)
    field.reload                     # "camera"

Read off the annotations in `schema`, so that checking, the printed reference and reloads cannot
disagree with it.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from vigild.config import schema
from vigild.config.schema import Reload
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
    """An array of texts, of any length."""

    item: Text


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
    reload: Reload
    text: str
    example: str
    """A TOML value, for keys without a default."""
    path: bool

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT


def _strip(annotation: Any) -> tuple[Any, list[msgspec.Meta]]:
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


def _extra(metas: list[msgspec.Meta], name: str) -> Any:
    return next((meta.extra[name] for meta in metas if meta.extra and meta.extra.get(name)), None)


def _limit(metas: list[msgspec.Meta], name: str) -> Any:
    return next((getattr(meta, name) for meta in metas if getattr(meta, name) is not None), None)


def _type(annotation: Any) -> Type:
    bare, metas = _strip(annotation)
    if bare is str:
        return Text(_limit(metas, "min_length") or 0, _limit(metas, "pattern"), _extra(metas, "form") or "")
    if bare is bool:
        return Flag()
    if bare in (int, float):
        limits = {name: _limit(metas, name) for name in ("ge", "gt", "le")}
        return Number(whole=bare is int, unit=_extra(metas, "unit"), **limits)
    origin, args = get_origin(bare), get_args(bare)
    if origin is Literal:
        return Choice(args)
    if origin is list:
        return Items(typing.cast(Text, _type(args[0])))
    if origin is tuple:
        return Fixed(tuple(typing.cast(Number, _type(arg)) for arg in args))
    if origin is dict:
        return Table(typing.cast(Text, _type(args[1])))
    raise TypeError(f"the schema uses {bare!r}, which the configuration's reader does not know")


def _fields(struct: type[msgspec.Struct]) -> dict[str, Field]:
    hints = typing.get_type_hints(struct, include_extras=True)
    fields: dict[str, Field] = {}
    for info in msgspec.structs.fields(struct):
        metas = _strip(hints[info.name])[1]
        default = info.default
        if info.default_factory is not msgspec.NODEFAULT:
            default = info.default_factory()
        fields[info.name] = Field(
            name=info.name,
            type=_type(hints[info.name]),
            default=default,
            reload=_extra(metas, "reload"),
            text=_limit(metas, "description"),
            example=_extra(metas, "example") or "",
            path=bool(_extra(metas, "path")),
        )
    return fields


STRUCTS: dict[str, type[msgspec.Struct]] = {
    "daemon": schema.DaemonConfig,
    "model": schema.ModelConfig,
    "camera": schema.CameraConfig,
    "budget": schema.BudgetConfig,
}
"""The tables of the file; "camera" holds one table of this kind per camera."""

FIELDS: dict[str, dict[str, Field]] = {table: _fields(struct) for table, struct in STRUCTS.items()}
