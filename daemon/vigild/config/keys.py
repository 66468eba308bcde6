"""Single keys of a configuration by their dotted names: shown, and changed one or a few at a time.

    flatten(config)                                  # {"model.min_score": 0.5, "budget.dwell": "10 s", ...}
    config = set_keys(config, {"model.min_score": 0.4})
    config = set_keys(config, {"model.path": "/models/b.tflite", "model.labels": None})

What may be set and how errors read is as for a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vigild.config import credentials, rules, targets
from vigild.config.document import DocumentError, KeyPath, key_text, parse_key
from vigild.config.fields import Field, Number
from vigild.config.load import ConfigError, missing
from vigild.config.names import unknown
from vigild.config.source import HIDDEN, redact
from vigild.config.tree import Section, tables, tree
from vigild.config.units import format_value
from vigild.config.values import Fault, check, show

S = TypeVar("S", bound=msgspec.Struct)


def flatten(config: msgspec.Struct) -> dict[str, Any]:
    """Every key that is set, as the file would hold it (units written out), without credentials."""
    flat: dict[str, Any] = {}
    for path, section, table in tables(tree(type(config)), config):
        for field in section.fields:
            value = getattr(table, field.name)
            if value is not None:
                flat[key_text((*path, field.name))] = _shown(field, value)
    return flat


def _shown(field: Field, value: Any) -> Any:
    if isinstance(field.type, Number) and field.type.unit:
        return format_value(field.type.unit, value)
    return _without_credentials(value)


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        # A delegate's options may hold anything, so a secret too.
        return {name: HIDDEN if redact(f"{name}=x") != f"{name}=x" else redact(text) for name, text in value.items()}
    return [_without_credentials(item) for item in value] if isinstance(value, (list, tuple)) else value


def set_keys(config: S, values: Mapping[str, object]) -> S:
    """A copy of `config` with these keys changed, checked when all of them are in place.

    A value is what the file would hold ("10 s", 0.5, "testcard"); None means not set, so the default.
    File names must be absolute: whoever asks is not in the daemon's working directory.
    A table that may be left out begins with its first key; a named one is made in the file only.

    Raises ConfigError, whose sentences name the keys.
    """
    problems: list[str] = []
    edits: dict[KeyPath, Any] = {}
    for key, value in values.items():
        shown = key
        try:
            path = parse_key(key)
            shown = key_text(path)
            field, table = _found(config, path, value)
            if table is not None or value is not None:  # of a table that is left out nothing is set that could be unset
                edits[path] = _checked(field, value)
        except DocumentError as error:
            problems.append(str(error))
        except Fault as fault:
            problems.append(f"{shown}: {fault}")
    if not problems:
        try:
            config = _edited(tree(type(config)), config, edits, ())
        except Fault as fault:
            problems.append(str(fault))
    if not problems:
        touched = {path[:-1] for path in edits}
        for path, _, table in tables(tree(type(config)), config):
            if path in touched:
                problems += [f"{key_text((*path, problem.key))}: {problem.text}" for problem in rules.faults(table)]
    if problems:
        raise ConfigError([redact(problem) for problem in problems])
    return config


def _checked(field: Field, value: object) -> Any:
    """The value as the schema holds it. Raises Fault."""
    if value is None:
        if field.required:
            raise Fault("cannot be unset")
        return field.default
    checked = check(field.type, value)
    if credentials.names(str(checked)):
        # Or whoever may change settings could have a secret sent to an address of their own.
        raise Fault("a secret can be named in the file only, not by a client; write it there and reload")
    if targets.absolute(field.target, checked, Path("/")) != targets.absolute(field.target, checked, Path("/x")):
        raise Fault(f"found {show(checked)}, a relative path; write an absolute one")
    return targets.absolute(field.target, checked, None)


def _found(config: msgspec.Struct, path: KeyPath, value: object) -> tuple[Field, Any]:
    """The key at `path`, and its table: None for one that is left out. Raises Fault; the `value` is for its words."""
    root = section = tree(type(config))
    held: Any = config
    parts = list(path)
    while parts:
        name = parts.pop(0)
        entry = section.entries.get(name)
        if entry is None:
            raise Fault(unknown(name, value, section, root))
        if isinstance(entry, Field):
            if not parts:
                return entry, held
            break
        section, held = entry, getattr(held, name) if held is not None else None
        if section.named and parts:
            given, known = parts.pop(0), held or {}
            if parts and given not in known:
                kind, names = section.kind, ", ".join(known) or "none"
                raise Fault(f"there is no {kind} {show(given)}; the {kind}s are: {names}")
            held = known.get(given)
    raise Fault(f"not the name of one key; expected {'.'.join((*section.path, 'KEY'))}")


def _edited(section: Section, table: Any, edits: Mapping[KeyPath, Any], path: KeyPath) -> Any:
    """The table at `path`, None if it is left out, with these values at paths below it. Raises Fault."""
    values: dict[str, Any] = {}
    for name, below in _by_first(edits).items():
        entry = section.entries[name]
        if isinstance(entry, Field):
            values[name] = below[()]
            continue
        held: Any = getattr(table, name) if table is not None else None
        if entry.named:
            edited = {
                given: _edited(entry, held[given], inner, (*path, name, given))
                for given, inner in _by_first(below).items()
            }
            values[name] = {**held, **edited}
        else:
            values[name] = _edited(entry, held, below, (*path, name))
    if table is not None:
        return msgspec.structs.replace(table, **values)
    for name, entry in section.entries.items():
        if entry.required and name not in values:
            text = missing(entry) if isinstance(entry, Field) else f"[{key_text((*path, name))}] is missing"
            raise Fault(f"{key_text(path)}: {text}")
    return section.struct(**values)


def _by_first(edits: Mapping[KeyPath, Any]) -> dict[str, dict[KeyPath, Any]]:
    grouped: dict[str, dict[KeyPath, Any]] = {}
    for path, value in edits.items():
        grouped.setdefault(path[0], {})[path[1:]] = value
    return grouped
