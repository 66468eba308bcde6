"""TOML text and overrides in, a `Config` or sentences about everything that is wrong out.

    config = load_file("vigild.toml", ["camera.front.fps=5"])
    try: ...
    except ConfigError as error:
        for problem in error.problems: print(problem)
    # vigild.toml: camera.front.fps: found 0, expected a number above 0 and at most 1000

All problems are found, not the first. Relative paths in a file are relative to the file's folder,
those of an override to the working directory. Nothing is looked up on the machine but the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vigild import plain
from vigild.config import rules
from vigild.config.document import Document, DocumentError, key_text
from vigild.config.fields import FIELDS, STRUCTS, Field
from vigild.config.names import is_model_file, unknown
from vigild.config.schema import CameraConfig, Config
from vigild.config.source import SourceError, parse_source, redact
from vigild.config.values import Fault, check, show

MAX_FILE_BYTES = 1024 * 1024
"""A configuration of 64 cameras with every key written out has 60 KB."""


MAX_PROBLEMS = 100
"""Told at a time; a file with more is not a configuration, and clients are sent all of it."""


class ConfigError(ValueError):
    """The configuration cannot be used. `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: list[str] = [plain.sentence(problem) for problem in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            self.problems.append(f"... and {len(problems) - MAX_PROBLEMS} more problems")
        super().__init__("\n".join(self.problems))


def load(text: str, overrides: Sequence[str] = (), where: str = "vigild.toml", *, folder: Path | None = None) -> Config:
    """Read a configuration from TOML text.

    `overrides` are KEY=VALUE (see `document`), applied in order on top. `where` is what messages call the text.
    `folder` is what its relative paths are relative to; None leaves them as they are.

    Raises ConfigError.
    """
    return _load(text, overrides, where, folder, {})


def load_file(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file. Raises ConfigError, also when the file cannot be read."""
    return _load(_read(path), overrides, os.fspath(path), Path(path).absolute().parent, {})


def from_command_line(
    source: str | None = None,
    model: str | None = None,
    labels: str | None = None,
    config: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """What `vigild run --config F --source S --model M --labels L -o K=V` means.

    `source` stands for all cameras of the file: one, named "camera". `model` (a file, or a manifest
    entry's name) stands for the file's model, with its labels and its hash. Overrides come last.
    Raises ConfigError.
    """
    arguments = {"--source": source, "--model": model, "--labels": labels}
    given = {option: value for option, value in arguments.items() if value is not None}
    if config is None:
        return _load("", overrides, "the command line", None, given)
    return _load(_read(config), overrides, os.fspath(config), Path(config).absolute().parent, given)


def _read(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - also takes /dev/stdin
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror or error}"]) from None
    except ValueError as error:  # a NUL in the name
        raise ConfigError([f"{name!r}: cannot be read: {error}"]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"{name}: larger than {MAX_FILE_BYTES // 1024} KiB, which no configuration is"])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [f"{name}: line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"]
        ) from None


def _load(text: str, overrides: Sequence[str], where: str, folder: Path | None, arguments: Mapping[str, str]) -> Config:
    problems: list[str] = []
    document = Document(where, folder)
    try:
        document.read(text)
    except DocumentError as error:
        problems.append(str(error))
    _apply_arguments(document, arguments)
    for override in overrides:
        try:
            document.override(override)
        except DocumentError as error:
            problems.append(str(error))
    builder = Builder(document)
    config = builder.config()
    problems += builder.problems
    if problems:
        raise ConfigError([redact(problem) for problem in problems])
    return config


def _apply_arguments(document: Document, arguments: Mapping[str, str]) -> None:
    if "--source" in arguments:
        document.set(("camera",), {"camera": {"source": arguments["--source"]}}, "--source")
    if "--model" in arguments:
        model = arguments["--model"]
        is_file = is_model_file(model)
        for key in ("path", "name", "variant", "labels", "sha256"):
            document.remove(("model", key))
        document.set(("model", "path" if is_file else "name"), model, "--model")
    if "--labels" in arguments:
        document.set(("model", "labels"), arguments["--labels"], "--labels")


class Builder:
    """Turns a document into a Config, collecting problems on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[str] = []

    def config(self) -> Config:
        """The configuration; with problems, defaults stand for what is wrong."""
        tables: dict[str, Any] = {}
        for name, value in self._document.tables.items():
            if name not in STRUCTS:
                self._problem((name,), unknown(name, value, STRUCTS, "table"))
            elif not isinstance(value, dict):
                self._problem(
                    (name,), f"found {show(value)}, expected a table: [{'camera.NAME' if name == 'camera' else name}]"
                )
            elif name == "camera":
                tables[name] = self._cameras(value)
            else:
                tables[name] = self._table((name,), name, value)
        return Config(**tables)

    def _cameras(self, value: dict[str, object]) -> dict[str, CameraConfig]:
        cameras: dict[str, CameraConfig] = {}
        for name, table in value.items():
            path = ("camera", name)
            if not isinstance(table, dict):
                hint = f"; {name} belongs into a camera's own table: [camera.front]" if name in FIELDS["camera"] else ""
                self._problem(path, f"found {show(table)}, expected a table [camera.NAME]{hint}")
                continue
            fault = rules.camera_name(name)
            if fault:
                self._problem(path, fault)
            camera = self._table(path, "camera", table)
            assert isinstance(camera, CameraConfig)
            cameras[name] = camera
        return cameras

    def _table(self, path: tuple[str, ...], kind: str, table: dict[str, object]) -> msgspec.Struct:
        """One table of a known kind; never fails."""
        values: dict[str, Any] = {}
        for key, value in table.items():
            field = FIELDS[kind].get(key)
            if field is None:
                self._problem((*path, key), unknown(key, value, FIELDS[kind], "key"))
                continue
            try:
                checked = check(field.type, value)
                values[key] = resolve(field, (*path, key), checked, self._document.folder((*path, key)))
            except Fault as fault:
                self._problem((*path, key), str(fault))
        for field in FIELDS[kind].values():
            if field.required and field.name not in values:
                if field.name not in table:
                    self._problem(path, f"{field.name} is missing; set it, for example {field.name} = {field.example}")
                values[field.name] = "testcard"  # keeps the table whole while the other keys are checked
        struct = STRUCTS[kind](**values)
        for problem in rules.faults(struct):
            self._problem((*path, problem.key), problem.text)
        return struct

    def _problem(self, path: tuple[str, ...], text: str) -> None:
        self.problems.append(f"{self._document.where(path)}: {key_text(path)}: {text}")


def resolve(field: Field, path: tuple[str, ...], value: Any, folder: Path | None) -> Any:
    """A checked value, with file names made absolute; a `folder` of None leaves relative ones as they are."""
    if not isinstance(value, str):
        return value
    if field.path:
        return _absolute(folder, value)
    if path[0] == "camera" and field.name == "source":
        return _absolute_source(folder, value)
    if path == ("model", "delegate") and "/" in value and not value.startswith("edgetpu:"):
        return _absolute(folder, value)
    return value


def _absolute(folder: Path | None, text: str) -> str:
    if text == "~" or text.startswith("~/"):
        return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises where there is no home
    return text if folder is None else os.path.normpath(folder / text)


def _absolute_source(folder: Path | None, text: str) -> str:
    try:
        source = parse_source(text)
    except SourceError:
        return text  # `rules` says what is wrong with it
    if source.kind == "file":
        return _absolute(folder, source.target)
    if source.kind == "images":
        return "images:" + _absolute(folder, source.target)
    return text.strip()
