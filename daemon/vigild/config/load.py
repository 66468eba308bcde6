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
from typing import Any, Generic, TypeVar

import msgspec

from vigild import plain
from vigild.config import rules, targets
from vigild.config.document import Document, DocumentError, KeyPath, key_text
from vigild.config.fields import Choice, Field, Fixed, Flag, Items, Number, Text, Type
from vigild.config.names import is_model_file, unknown
from vigild.config.schema import OF_ONE_MODEL, Config
from vigild.config.source import redact
from vigild.config.tree import NAME, Section, find, tree
from vigild.config.values import Fault, check, show

S = TypeVar("S", bound=msgspec.Struct)
"""A schema: the Struct of a whole configuration."""

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
    return load_as(Config, text, overrides, where, folder=folder)


def load_file(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file. Raises ConfigError, also when the file cannot be read."""
    return load_as(Config, _read(path), overrides, os.fspath(path), folder=Path(path).absolute().parent)


def from_command_line(
    source: str | None = None,
    model: str | None = None,
    labels: str | None = None,
    config: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    socket: str | None = None,
) -> Config:
    """What `vigild run --config F --source S --model M --labels L --socket P -o K=V` means.

    `source` stands for all cameras of the file: one, named "camera". `model` (a file, or a manifest
    entry's name) stands for the file's model, with its labels and its hash. Overrides come last.
    Raises ConfigError.
    """
    arguments = {"--source": source, "--model": model, "--labels": labels, "--socket": socket}
    given = {option: value for option, value in arguments.items() if value is not None}
    if config is None:
        return load_as(Config, "", overrides, "the command line", arguments=given)
    folder = Path(config).absolute().parent
    return load_as(Config, _read(config), overrides, os.fspath(config), folder=folder, arguments=given)


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


def load_as(
    schema: type[S],
    text: str,
    overrides: Sequence[str] = (),
    where: str = "vigild.toml",
    *,
    folder: Path | None = None,
    arguments: Mapping[str, str] | None = None,
) -> S:
    """`load` for any schema. `arguments` are options of the command line (--source, ...) and their values.

    Raises ConfigError.
    """
    problems: list[str] = []
    root = tree(schema)

    def takes_text(path: KeyPath) -> bool:
        field = find(root, path)
        return isinstance(field, Field) and field.takes_text

    document = Document(where, folder, takes_text)
    try:
        document.read(text)
    except DocumentError as error:
        problems.append(str(error))
    _apply_arguments(document, arguments or {})
    for override in overrides:
        try:
            document.override(override)
        except DocumentError as error:
            problems.append(str(error))
    builder = Builder(document, schema)
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
        for key in OF_ONE_MODEL:
            document.remove(("model", key))
        document.set(("model", "path" if is_file else "name"), model, "--model")
    if "--labels" in arguments:
        document.set(("model", "labels"), arguments["--labels"], "--labels")
    if "--socket" in arguments:
        document.set(("daemon", "socket"), arguments["--socket"], "--socket")


class Builder(Generic[S]):
    """Turns a document into a configuration, collecting problems on the way."""

    def __init__(self, document: Document, schema: type[S]) -> None:
        self._document = document
        self._schema = schema
        self._root = tree(schema)
        self.problems: list[str] = []

    def config(self) -> S:
        """The configuration; with problems, defaults stand for what is wrong."""
        config = self._table((), self._root, self._document.tables)
        assert isinstance(config, self._schema)
        return config

    def _table(self, path: KeyPath, section: Section, table: Mapping[str, object]) -> msgspec.Struct:
        """One table of a known kind; never fails."""
        values: dict[str, Any] = {}
        wrong: set[str] = set()
        for name, value in table.items():
            at = (*path, name)
            entry = section.entries.get(name)
            if entry is None:
                self._problem(at, unknown(name, value, section, self._root))
            elif isinstance(entry, Field):
                try:
                    values[name] = targets.absolute(entry.target, check(entry.type, value), self._document.folder(at))
                except Fault as fault:
                    wrong.add(name)
                    self._problem(at, str(fault))
            elif not isinstance(value, dict):
                form = key_text((*at, NAME) if entry.named else at)
                self._problem(at, f"found {show(value)}, expected a table: [{form}]")
            elif entry.named:
                values[name] = self._named(at, entry, value)
            else:
                values[name] = self._table(at, entry, value)
        for field in section.fields:
            if field.required and field.name not in values:
                if field.name not in wrong:
                    wrong.add(field.name)
                    self._problem(path, missing(field))
                values[field.name] = _blank(field.type)  # keeps the table whole while the other keys are checked
        for name, below in section.sections.items():
            if below.required and name not in values:
                values[name] = {} if below.named else self._table((*path, name), below, {})
        struct = section.struct(**values)
        for problem in rules.faults(struct):
            if problem.key not in wrong:
                self._problem((*path, problem.key), problem.text)
        return struct

    def _named(self, path: KeyPath, section: Section, value: Mapping[str, object]) -> dict[str, msgspec.Struct]:
        """All tables of a kind that the user names."""
        built: dict[str, msgspec.Struct] = {}
        for name, table in value.items():
            at = (*path, name)
            if not isinstance(table, dict):
                form, example = key_text((*path, NAME)), key_text((*path, section.example))
                hint = f"; {name} belongs into a {section.kind}'s own table: [{example}]"
                self._problem(
                    at, f"found {show(table)}, expected a table [{form}]{hint if name in section.entries else ''}"
                )
                continue
            if fault := rules.table_name(section.kind, name):
                self._problem(at, fault)
            built[name] = self._table(at, section, table)
        return built

    def _problem(self, path: KeyPath, text: str) -> None:
        self.problems.append(f"{self._document.where(path)}: {key_text(path)}: {text}")


def missing(field: Field) -> str:
    """A sentence about a key that has to be there, and is not."""
    return f"{field.name} is missing; set it, for example {field.name} = {field.example}"


def _blank(kind: Type) -> Any:
    """A value of the type, with nothing in it."""
    if isinstance(kind, Text):
        return ""
    if isinstance(kind, Number):
        return kind.ge or 0
    if isinstance(kind, Choice):
        return kind.values[0]
    if isinstance(kind, Fixed):
        return tuple(_blank(item) for item in kind.items)
    return False if isinstance(kind, Flag) else [] if isinstance(kind, Items) else {}
