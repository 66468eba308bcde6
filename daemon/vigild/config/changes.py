"""What differs between two configurations, and what follows from it.

    changes = diff(old, new)
    changes.reopened("camera")       # ["front"]
    changes.added("sink")            # ["mqtt"]
    changes.detector                 # ["model.path"]: a new detector takes over
    changes.restart                  # ["daemon.socket"]: not taken up, tell the user
    config = taken_up(old, new)      # `new` with what is in `changes.restart` as it was

What a key asks for is written at the key (`schema`, reload), what follows for the tables around it is decided here,
and everybody asks. Pure, and the same for every schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from vigild.config import targets
from vigild.config.document import KeyPath, key_text
from vigild.config.fields import Field
from vigild.config.schema import CameraConfig, Config
from vigild.config.tree import Section, tables, tree

S = TypeVar("S", bound=msgspec.Struct)

Effect = Literal["live", "reopen", "detector", "restart"]
"""Taken up at once, interrupting nothing; a named table (a camera) is closed and opened again for it; a new detector
is started and takes over; stays as it is until the daemon is started again, and the user has to be told."""

_ABSENT = object()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs: a key, or a table as a whole that is in one of the two only."""

    path: KeyPath
    what: Literal["set", "added", "removed"]
    """A named table comes or goes; keys, and tables that may be left out, are set."""
    effect: Effect
    reopens: KeyPath = ()
    """The named table that is opened again."""

    @property
    def key(self) -> str:
        """The path as TOML writes it."""
        return key_text(self.path)


class Changes(msgspec.Struct, frozen=True):
    """Everything that differs, in the order of the schema."""

    all: tuple[Change, ...] = ()
    rewritten: tuple[str, ...] = ()
    """Files of the model that hold something else than what runs, under the same names."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.all or self.rewritten)

    @property
    def live(self) -> list[str]:
        """Keys that are taken up at once."""
        return [change.key for change in self.all if change.effect == "live" and change.what == "set"]

    @property
    def detector(self) -> list[str]:
        """Keys and tables, and contents of files, for whose sake a new detector takes over."""
        keys = [change.key for change in self.all if change.effect == "detector"]
        return keys + [f"what {path} holds" for path in self.rewritten]

    @property
    def restart(self) -> list[str]:
        """Keys and tables that stay as they are."""
        return [change.key for change in self.all if change.effect == "restart"]

    def added(self, *table: str) -> list[str]:
        """The names that are new in [camera.NAME], for ("camera"); in [camera.front.zone.NAME], for ("camera",
        "front", "zone")."""
        return self._came_or_went("added", table)

    def removed(self, *table: str) -> list[str]:
        """The names that are gone."""
        return self._came_or_went("removed", table)

    def changed(self, *table: str) -> list[str]:
        """The names that are in both, and in or below which anything differs that is taken up."""
        depth = len(table)
        return _once(
            change.path[depth]
            for change in self.all
            if len(change.path) > depth + 1 and change.path[:depth] == table and change.effect != "restart"
        )

    def reopened(self, *table: str) -> list[str]:
        """The names of those that are closed and opened again."""
        return _once(change.reopens[-1] for change in self.all if change.reopens and change.reopens[:-1] == table)

    def _came_or_went(self, what: str, table: KeyPath) -> list[str]:
        return [
            change.path[-1]
            for change in self.all
            if change.what == what and change.effect != "restart" and change.path[:-1] == table
        ]

    def describe(self) -> str:
        """One line for people."""
        parts = [("taken up", self.live), ("new detector for", self.detector)]
        for what in ("added", "removed"):
            parts += self._by_kind(
                what, ((change.path, "") for change in self.all if change.what == what and change.effect != "restart")
            )
        reopened = dict.fromkeys(change.reopens for change in self.all if change.reopens)
        parts += self._by_kind("reopened", ((path, f" ({self._why(path)})") for path in reopened))
        parts.append(("ignored until restart", self.restart))
        return "; ".join(f"{what}: {', '.join(which)}" for what, which in parts if which) or "nothing changed"

    def _by_kind(self, what: str, named: Iterator[tuple[KeyPath, str]]) -> list[tuple[str, list[str]]]:
        kinds: dict[str, list[str]] = {}
        for path, reason in named:
            # [camera.front] is the camera front; of tables in tables the whole path tells which.
            name = key_text(path[-1:] if len(path) == 2 else path)
            kinds.setdefault(path[-2], []).append(name + reason)
        return [(f"{kind} {what}", names) for kind, names in kinds.items()]

    def _why(self, path: KeyPath) -> str:
        return ", ".join(key_text(change.path[len(path) :]) for change in self.all if change.reopens == path)


def _once(names: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(names))


def diff(old: S, new: S) -> Changes:
    """Compare two configurations of one schema."""
    return Changes(tuple(_compared(tree(type(new)), old, new, ())))


def _compared(section: Section, old: Any, new: Any, path: KeyPath) -> Iterator[Change]:
    for name, entry in section.entries.items():
        before, after, at = getattr(old, name), getattr(new, name), (*path, name)
        if isinstance(entry, Field):
            if before != after:
                yield _change(at, "set", [entry.reload], section)
        elif entry.named:
            for given in after:
                if given in before:
                    yield from _compared(entry, before[given], after[given], (*at, given))
                else:
                    yield _change((*at, given), "added", _reloads(entry, after[given]), section)
            for given in before:
                if given not in after:
                    yield _change((*at, given), "removed", _reloads(entry, before[given]), section)
        elif before is None or after is None:
            if before is not after:
                yield _change(at, "set", _reloads(entry, before if after is None else after), section)
        else:
            yield from _compared(entry, before, after, at)


def _reloads(section: Section, table: msgspec.Struct) -> list[str]:
    """What the keys of a table, and of those in it, ask for."""
    return [field.reload for _, each, _ in tables(section, table) for field in each.fields]


def _change(path: KeyPath, what: Literal["set", "added", "removed"], reloads: list[str], section: Section) -> Change:
    """What a reload does for what is at `path` in a table of this section, whose keys ask for `reloads`.

    A table that comes or goes does what all of its keys would. It waits for a restart only if every one of them does,
    for what is new has nothing running that could not take it up.
    """
    # A table that is itself added is opened anyway: only those around it are opened again, the outermost with the rest.
    around = [section.around(reload, path[: len(section.path)]) for reload in reloads]
    reopens = min(filter(None, around), key=len, default=())
    effect: Effect = "reopen" if reopens else "live"
    if "detector" in reloads:
        effect = "detector"
    elif reloads and all(reload == "restart" for reload in reloads):
        effect = "restart"
    return Change(path=path, what=what, effect=effect, reopens=reopens)


def taken_up(old: S, new: S) -> S:
    """`new`, with what only a restart takes up as it is in `old`: what is in force after a reload."""
    for change in diff(old, new).all:
        if change.effect == "restart":
            new = _put(new, change.path, _get(old, change.path))
    return new


def _get(holder: Any, path: KeyPath) -> Any:
    for part in path:
        holder = holder.get(part, _ABSENT) if isinstance(holder, dict) else getattr(holder, part, _ABSENT)
    return holder


def _put(holder: Any, path: KeyPath, value: Any) -> Any:
    """A copy of `holder`, a table or tables by name, with this value at `path`; _ABSENT takes a named table out."""
    name, *rest = path
    if isinstance(holder, dict):
        inner = _put(holder[name], tuple(rest), value) if rest else value
        return {key: held for key, held in {**holder, name: inner}.items() if held is not _ABSENT}
    inner = _put(getattr(holder, name), tuple(rest), value) if rest else value
    return msgspec.structs.replace(holder, **{name: inner})


def reopens(old: CameraConfig, new: CameraConfig) -> bool:
    """Whether going from `old` to `new` needs the source closed and opened again."""
    return bool(diff(Config(camera={"camera": old}), Config(camera={"camera": new})).reopened("camera"))


def new_code(old: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    """What the daemon would run for `new` and not for `old`: "camera.front.source: an exec: source"."""
    found: list[str] = []
    for path, section, table in tables(tree(type(new)), new):
        for field in section.fields:
            value = getattr(table, field.name)
            what = targets.code(field.target, value)
            if what and _get(old, (*path, field.name)) != value:
                found.append(f"{key_text((*path, field.name))}: {what}")
    return found


def emptied(old: Config, new: Config) -> str | None:
    """Why `new` is not to be taken up: it would close every camera, and does not say that it means to."""
    if new.camera or not old.camera or new.daemon.allow_no_cameras:
        return None
    running = ", ".join(old.camera)
    return (
        f"the file holds no camera, and every one that is open ({running}) would be closed; write a [camera.NAME] "
        "table for each that is to stay, or daemon.allow_no_cameras = true if none is"
    )
