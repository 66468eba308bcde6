"""The boards: cross/hosts.toml (an example is beside it).

boards = load(Path("cross/hosts.toml"))
boards.group("yard")              # in the order of the file; "all" is every board
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cross import target as targets
from cross.deploy import Job
from cross.errors import CrossError
from cross.toml import TOMLDecodeError, loads

_DEFAULTS: dict[str, type] = {"window": int, "canary": int, "wave": int, "max_failed": int}
_BOARD: dict[str, type] = {"host": str, "target": str, "groups": list, "window": int, "configuration": str}


@dataclass(frozen=True)
class Board:
    name: str
    target: str
    groups: tuple[str, ...]
    job: Job


@dataclass(frozen=True)
class Inventory:
    boards: tuple[Board, ...]
    canary: int
    wave: int
    max_failed: int

    def group(self, name: str) -> list[Board]:
        """Raises CrossError for a group that no board is in."""
        found = [board for board in self.boards if name == "all" or name in board.groups]
        if not found:
            known = sorted({group for board in self.boards for group in board.groups})
            raise CrossError(f"no board is in the group {name!r}; there are all, {', '.join(known) or 'no others'}")
        return found


def load(path: Path) -> Inventory:
    """Raises CrossError, naming the key."""
    try:
        values = loads(path.read_text())
    except OSError as error:
        raise CrossError(
            f"{path} cannot be read ({error.strerror}): copy hosts.example.toml beside it, or name one with HOSTS="
        ) from None
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise CrossError(f"{path}: {error}") from None
    if unknown := sorted(set(values) - {"defaults", "board"}):
        raise CrossError(f"{path}: unknown table {unknown[0]!r}; [defaults] and [board.NAME] are expected")
    defaults = _checked(path, "defaults", values.get("defaults", {}), _DEFAULTS, ())
    boards = []
    for name, table in values.get("board", {}).items():
        where = f"board.{name}"
        fields = _checked(path, where, table, _BOARD, ("host", "target"))
        if fields["target"] not in targets.names():
            known = ", ".join(targets.names())
            raise CrossError(f"{path}: {where}.target is {fields['target']!r}; one of {known} is expected")
        groups = fields.get("groups", [])
        if not all(isinstance(group, str) and group for group in groups):
            raise CrossError(f"{path}: {where}.groups is {groups!r}; an array of names is expected")
        window_s = int(fields.get("window", defaults.get("window", 60)))
        configuration = path.parent / fields["configuration"] if "configuration" in fields else None
        if configuration is not None and not configuration.is_file():
            raise CrossError(f"{path}: {where}.configuration: {configuration} is not there")
        job = Job(fields["host"], name, window_s, configuration)
        boards.append(Board(name, fields["target"], tuple(groups), job))
    return Inventory(
        tuple(boards), int(defaults.get("canary", 1)), int(defaults.get("wave", 5)), int(defaults.get("max_failed", 0))
    )


def _checked(path: Path, where: str, table: Any, known: dict[str, type], needed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise CrossError(f"{path}: {where} is {table!r}; a table is expected")
    for key, value in table.items():
        if key not in known:
            raise CrossError(f"{path}: {where} has the unknown key {key!r}; there are {', '.join(sorted(known))}")
        if type(value) is not known[key] or (isinstance(value, int) and value < 0) or (known[key] is str and not value):
            wanted = {int: "a whole number, not below 0", str: "a text", list: "an array"}[known[key]]
            raise CrossError(f"{path}: {where}.{key} is {value!r}; {wanted} is expected")
    for key in needed:
        if key not in table:
            raise CrossError(f"{path}: {where} lacks the key {key!r}")
    if "wave" in table and table["wave"] == 0:
        raise CrossError(f"{path}: {where}.wave is 0; 1 or more is expected")
    return table
