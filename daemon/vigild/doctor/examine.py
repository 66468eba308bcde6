"""All checks, in the order of the report."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from vigild.board.board import Board
from vigild.board.budgets import resolve
from vigild.config.schema import Config
from vigild.doctor import cameras, libraries, machine, memory, models, service, thermal
from vigild.doctor.finding import Finding, problem

Checks = Callable[[], Iterator[Finding]]


class Subject(msgspec.Struct, kw_only=True, frozen=True):
    """What is examined."""

    root: Path = Path("/")
    """What /sys, /proc, /dev, /etc and /run are below; tests replace it. What runs here stays what it is."""
    config: Config = Config()
    socket: str | None = None
    """--socket."""


def examine(subject: Subject) -> Iterator[Finding]:
    """Findings as they are made; the tries take a second or two each."""
    root, config = subject.root, subject.config
    readings = Board(root)
    daemon = service.find_daemon(config.daemon, subject.socket)
    in_use = [camera.name for camera in daemon.hello.cameras] if daemon.hello else []
    groups: dict[str, Checks] = {
        "board": lambda: machine.checks(root),
        "heat": lambda: thermal.checks(readings, resolve(config.budget, readings)),
        "memory": lambda: memory.checks(readings, resolve(config.budget, readings)),
        "runtimes": lambda: libraries.checks(root, config.model),
        "models": lambda: models.checks(root, config.model),
        "cameras": lambda: cameras.checks(root, config.camera, in_use),
        "service": lambda: service.checks(root, config.daemon, daemon, subject.socket),
    }
    for group, checks in groups.items():
        yield from guarded(group, checks)


def guarded(group: str, checks: Checks) -> Iterator[Finding]:
    """The findings of a group; a check that fails itself (an odd file, a bug) becomes one of them."""
    try:
        for finding in checks():
            yield msgspec.structs.replace(finding, group=group)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = f"the check itself failed: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        finding = problem("doctor", found, "report this line with what is special about the board; the rest holds")
        yield msgspec.structs.replace(finding, group=group)
