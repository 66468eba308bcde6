"""What differs between two configurations, and what follows from it.

    changes = diff(old, new)
    changes.cameras_reopened         # ["front"]
    changes.detector                 # ["model.path"]: a new detector takes over
    changes.restart                  # ["daemon.socket"]: not taken up, tell the user
    config = taken_up(old, new)      # `new` with the keys in `changes.restart` as they were

What a key asks for is written at the key (`schema`, reload). Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vigild.config.document import key_text
from vigild.config.fields import FIELDS, Field
from vigild.config.schema import CameraConfig, Config


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Dotted keys (camera.front.fps) by what a reload does with them, and cameras by what happens to them."""

    live: list[str] = []
    """Taken up at once, without interrupting anything."""
    detector: list[str] = []
    """A new detector is started with them and takes over."""
    restart: list[str] = []
    """Stay as they are until the daemon is started again; the user has to be told."""
    reopen: list[str] = []
    """Keys for whose sake a camera is reopened."""
    cameras_added: list[str] = []
    cameras_removed: list[str] = []
    cameras_changed: list[str] = []
    """Cameras that are in both and whose settings differ."""
    cameras_reopened: list[str] = []
    """Those among them whose source is closed and opened again for it."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return any(msgspec.structs.astuple(self))

    def describe(self) -> str:
        """One line for people."""
        parts = [
            ("taken up", self.live),
            ("new detector for", self.detector),
            ("camera added", self.cameras_added),
            ("camera removed", self.cameras_removed),
            ("camera reopened", [f"{name} ({self._why(name)})" for name in self.cameras_reopened]),
            ("ignored until restart", self.restart),
        ]
        return "; ".join(f"{what}: {', '.join(which)}" for what, which in parts if which) or "nothing changed"

    def _why(self, camera: str) -> str:
        prefix = key_text(("camera", camera)) + "."
        return ", ".join(key.removeprefix(prefix) for key in self.reopen if key.startswith(prefix))


def diff(old: Config, new: Config) -> Changes:
    """Compare two configurations."""
    lists: dict[str, list[str]] = {"live": [], "detector": [], "restart": []}
    for table in ("daemon", "model", "budget"):
        for field in _changed(table, getattr(old, table), getattr(new, table)):
            lists[field.reload].append(f"{table}.{field.name}")
    reopen: list[str] = []
    reopened: list[str] = []
    changed: list[str] = []
    for name in new.camera:
        if name not in old.camera:
            continue
        fields = _changed("camera", old.camera[name], new.camera[name])
        for field in fields:
            keys = reopen if field.reload == "camera" else lists["live"]
            keys.append(key_text(("camera", name, field.name)))
        if any(field.reload == "camera" for field in fields):
            reopened.append(name)
        if fields:
            changed.append(name)
    return Changes(
        **lists,
        reopen=reopen,
        cameras_added=[name for name in new.camera if name not in old.camera],
        cameras_removed=[name for name in old.camera if name not in new.camera],
        cameras_reopened=reopened,
        cameras_changed=changed,
    )


def _changed(table: str, old: msgspec.Struct, new: msgspec.Struct) -> list[Field]:
    return [field for name, field in FIELDS[table].items() if getattr(old, name) != getattr(new, name)]


def reopens(old: CameraConfig, new: CameraConfig) -> bool:
    """Whether going from `old` to `new` needs the source closed and opened again."""
    return any(field.reload == "camera" for field in _changed("camera", old, new))


def taken_up(old: Config, new: Config) -> Config:
    """`new`, with the keys that only a restart takes up as they are in `old`: what is in force after a reload."""
    tables: dict[str, Any] = {}
    for table in ("daemon", "model", "budget"):
        before, after = getattr(old, table), getattr(new, table)
        kept = {
            field.name: getattr(before, field.name)
            for field in _changed(table, before, after)
            if field.reload == "restart"
        }
        tables[table] = msgspec.structs.replace(after, **kept)
    return msgspec.structs.replace(new, **tables)
