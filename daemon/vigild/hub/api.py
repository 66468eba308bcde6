"""What clients may ask of the hub: the answers to their requests, and the taking up of settings.

Implements `server.HubApi`. Everything that changes something goes through one place, `_take_up`:
a reload, a `set` and a `swap` differ only in where the new configuration comes from.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import vigild
from vigild import log
from vigild.config.changes import diff, taken_up
from vigild.config.keys import flatten, set_keys
from vigild.config.load import ConfigError
from vigild.config.schema import Config, ModelConfig
from vigild.config.source import parse_source
from vigild.fleet.detector import Refused
from vigild.hub.health import Monitor
from vigild.hub.hub import Hub, as_wire
from vigild.hub.places import Maker, no_way_back
from vigild.hub.snapshots import SnapshotFailed
from vigild.wire import messages as wire
from vigild.wire.requests import RequestError, Swap

_log = log.logger("hub")


class Api:
    """The hub as the socket server sees it."""

    def __init__(self, hub: Hub, monitor: Monitor, read_config: Callable[[], Config], config_file: Path | None) -> None:
        self._hub = hub
        self._monitor = monitor
        self._read_config = read_config
        self._config_file = config_file
        self._changing = asyncio.Lock()
        """One change after the other: each begins with the configuration that the one before left."""
        self.socket_path = ""

    # ---- what is

    def hello(self) -> wire.Hello:
        return wire.Hello(
            protocol=wire.PROTOCOL,
            version=vigild.__version__,
            instance=self._hub.instance,
            cameras=self._cameras(),
            model=self._hub.model_info(),
        )

    def _cameras(self) -> list[wire.CameraInfo]:
        return [wire.CameraInfo(name=camera.name, size=camera.size) for camera in self._hub.cameras.values()]

    def cameras(self) -> list[str]:
        return list(self._hub.cameras)

    def labels(self) -> list[str] | None:
        return self._hub.model.labels if self._hub.model is not None else None

    def privileged_group(self) -> str:
        return self._hub.config.daemon.privileged_group

    def max_clients(self) -> int:
        return self._hub.config.daemon.max_clients

    def status(self) -> wire.StatusAnswer:
        return wire.StatusAnswer(
            version=vigild.__version__,
            instance=self._hub.instance,
            pid=os.getpid(),
            socket=self.socket_path,
            cameras=self._cameras(),
            model=self._hub.model_info(),
            health=self._monitor.health(),
            config=flatten(self._hub.config),
            config_file=str(self._config_file) if self._config_file else None,
        )

    async def snapshot(self, camera: str | None, annotate: bool) -> wire.SnapshotAnswer:
        name = camera or self._only_camera()
        unit = self._hub.cameras[self._known(name)]
        try:
            snapshot, jpeg = await self._hub.snapshots.take(unit, self._hub.roster.worker_of(name).process, annotate)
        except SnapshotFailed as error:
            raise RequestError("no_frame", str(error)) from None
        result = next((result for result in unit.recent if result.frame == snapshot.frame), None)
        return wire.SnapshotAnswer(
            camera=name,
            frame=snapshot.frame,
            size=(snapshot.width, snapshot.height),
            format="jpeg",
            data=base64.b64encode(jpeg).decode("ascii"),
            time=wire.wall_time(result.wall_ns) if result else None,
            detections=as_wire(result.detections) if result else [],
        )

    def _only_camera(self) -> str:
        names = list(self._hub.cameras)
        if len(names) != 1:
            raise RequestError("camera_needed", f"there are {len(names)} cameras; say which: {', '.join(names)}")
        return names[0]

    def _known(self, name: str) -> str:
        if name not in self._hub.cameras:
            raise RequestError(
                "unknown_camera", f'there is no camera "{name}"; the cameras are: {", ".join(self._hub.cameras)}'
            )
        return name

    # ---- what is to change

    async def pause(self, camera: str | None) -> str:
        return self._pause(camera, paused=True)

    async def resume(self, camera: str | None) -> str:
        return self._pause(camera, paused=False)

    def _pause(self, camera: str | None, paused: bool) -> str:
        names = [self._known(camera)] if camera else list(self._hub.cameras)
        self._hub.pause(names, paused)
        return f"{'paused' if paused else 'resumed'}: {', '.join(names)}"

    async def set(self, key: str, value: Any, maker: Maker) -> str:
        """One key, until the next reload or start."""
        return await self._set({key: value}, maker)

    async def swap(self, request: Swap) -> str:
        """Another model; what belongs to the old one (variant, labels, sha256, and path or name) is forgotten."""
        values: dict[str, object] = {
            f"model.{name}": value
            for name in ModelConfig.__struct_fields__
            if (value := getattr(request, name, msgspec.UNSET)) is not msgspec.UNSET
        }
        if not values:
            raise RequestError("invalid", "swap names nothing; expected a path or a name, or another key of [model]")
        if {"model.path", "model.name"} & values.keys():
            forgotten = dict.fromkeys(f"model.{name}" for name in ("path", "name", "variant", "labels", "sha256"))
            values = {**forgotten, **values}
        return await self._set(values)

    async def _set(self, values: dict[str, object], maker: Maker | None = None) -> str:
        async with self._changing:
            try:
                new = set_keys(self._hub.config, values)
            except ConfigError as error:
                raise RequestError("invalid", "; ".join(error.problems)) from None
            _refuse_new_code(self._hub.config, new)
            if maker is not None and (why := no_way_back(maker, self._hub.config.daemon, new.daemon)):
                raise RequestError("no_way_back", why)
            return await self._take_up(new)

    async def reload(self) -> str:
        """Read the file again; an invalid one changes nothing."""
        async with self._changing:
            try:
                new = self._read_config()
            except ConfigError as error:
                reason = "; ".join(error.problems)
                self._hub.publish_event("reload_failed", reason=reason)
                raise RequestError("invalid", f"the old configuration stays in force: {reason}") from None
            try:
                done = await self._take_up(new)
            except RequestError as error:
                self._hub.publish_event("reload_failed", reason=error.message)
                raise
            self._hub.publish_event("reload", reason=done)
            return done

    async def _take_up(self, new: Config) -> str:
        """Make `new` the configuration in force; returns what that did, in a line."""
        hub = self._hub
        changes = diff(hub.config, new)
        if not changes:
            return "nothing has changed"
        started = time.monotonic()
        # The model first, and before anything else is touched: it is what can be refused.
        if changes.detector:
            try:
                await hub.service.replace(new.model)
            except Refused as error:
                raise RequestError(error.code, f"the running model stays: {error}") from None
        hub.take_up(taken_up(hub.config, new), changes)
        text = changes.describe()
        _log.info("configuration: %s (%.1f s)", text, time.monotonic() - started)
        return text


def _refuse_new_code(old: Config, new: Config) -> None:
    """The privileged group may steer the daemon, but not run programs as its user: those come from the file alone.

    Raises RequestError.
    """
    for name, camera in new.camera.items():
        if camera.source != old.camera[name].source and parse_source(camera.source).kind == "exec":
            raise RequestError(
                "forbidden", f"camera.{name}.source: an exec: source cannot be set by a client; write it into the file"
            )
    if new.model.delegate != old.model.delegate and "/" in new.model.delegate:
        raise RequestError(
            "forbidden", "model.delegate: a library's path cannot be set by a client; write it into the file"
        )
