"""Single keys of a configuration by their dotted names: shown, and changed one or a few at a time.

    flatten(config)                                  # {"model.min_score": 0.5, "budget.dwell": "10 s", ...}
    config = set_keys(config, {"model.min_score": 0.4})
    config = set_keys(config, {"model.path": "/models/b.tflite", "model.labels": None})

What may be set and how errors read is as for a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vigild.config import credentials, rules
from vigild.config.document import DocumentError, KeyPath, key_text, parse_key
from vigild.config.fields import FIELDS, Field, Number
from vigild.config.load import ConfigError, resolve
from vigild.config.names import unknown
from vigild.config.schema import Config
from vigild.config.source import HIDDEN, redact
from vigild.config.units import format_value
from vigild.config.values import Fault, check, show


def flatten(config: Config) -> dict[str, Any]:
    """Every key that is set, as the file would hold it (units written out), without credentials."""
    flat: dict[str, Any] = {}
    for table, fields in FIELDS.items():
        owner = getattr(config, table)
        owners = {(table, name): camera for name, camera in owner.items()} if table == "camera" else {(table,): owner}
        for path, struct in owners.items():
            for field in fields.values():
                value = getattr(struct, field.name)
                if value is not None:
                    flat[key_text((*path, field.name))] = _shown(field, value)
    return flat


def _shown(field: Field, value: Any) -> Any:
    if isinstance(field.type, Number) and field.type.unit:
        return format_value(field.type.unit, value)
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        # A delegate's options may hold anything, so a secret too.
        return {name: HIDDEN if redact(f"{name}=x") != f"{name}=x" else redact(text) for name, text in value.items()}
    return list(value) if isinstance(value, (list, tuple)) else value


def set_keys(config: Config, values: Mapping[str, object]) -> Config:
    """A copy of `config` with these keys changed, checked when all of them are in place.

    A value is what the file would hold ("10 s", 0.5, "testcard"); None means not set, so the default.
    File names must be absolute: whoever asks is not in the daemon's working directory.

    Raises ConfigError, whose sentences name the keys.
    """
    problems: list[str] = []
    touched: set[KeyPath] = set()
    for key, value in values.items():
        shown = key
        try:
            path = parse_key(key)
            shown = key_text(path)
            config = _replace(config, path, _checked(config, path, value))
            touched.add(path[:-1])
        except DocumentError as error:
            problems.append(str(error))
        except Fault as fault:
            problems.append(f"{shown}: {fault}")
    if not problems:
        for path in sorted(touched):
            owner = getattr(config, path[0]) if len(path) == 1 else config.camera[path[1]]
            problems += [f"{key_text((*path, problem.key))}: {problem.text}" for problem in rules.faults(owner)]
    if problems:
        raise ConfigError([redact(problem) for problem in problems])
    return config


def _checked(config: Config, path: KeyPath, value: object) -> Any:
    """The value as the schema holds it. Raises Fault."""
    table = path[0]
    if table not in FIELDS:
        raise Fault(unknown(table, value, FIELDS, "table"))
    if len(path) != (3 if table == "camera" else 2):
        form = "camera.NAME.KEY" if table == "camera" else f"{table}.KEY"
        raise Fault(f"not the name of one key; expected {form}")
    if table == "camera" and path[1] not in config.camera:
        known = ", ".join(config.camera) or "none"
        raise Fault(f"there is no camera {show(path[1])}; the cameras are: {known}")
    field = FIELDS[table].get(path[-1])
    if field is None:
        raise Fault(unknown(path[-1], value, FIELDS[table], "key"))
    if value is None:
        if field.required:
            raise Fault("cannot be unset")
        return field.default
    checked = check(field.type, value)
    if credentials.names(str(checked)):
        # Or whoever may change settings could have a secret sent to an address of their own.
        raise Fault("a secret can be named in the file only, not by a client; write it there and reload")
    if resolve(field, path, checked, Path("/")) != resolve(field, path, checked, Path("/x")):
        raise Fault(f"found {show(checked)}, a relative path; write an absolute one")
    return resolve(field, path, checked, None)


def _replace(config: Config, path: KeyPath, value: Any) -> Config:
    if path[0] == "camera":
        camera = msgspec.structs.replace(config.camera[path[1]], **{path[2]: value})
        return msgspec.structs.replace(config, camera={**config.camera, path[1]: camera})
    table = msgspec.structs.replace(getattr(config, path[0]), **{path[1]: value})
    return msgspec.structs.replace(config, **{path[0]: table})
