"""What clients may ask of the hub: the answers to their requests, and the taking up of settings.

Implements `requests.HubApi`. Everything that changes something goes through one place, `_take_up`:
a reload, a `set` and a `swap` differ only in where the new configuration comes from.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vigild import log
from vigild.budget import schedule
from vigild.config.changes import Changes, diff, emptied, new_code, taken_up
from vigild.config.keys import set_keys
from vigild.config.load import ConfigError
from vigild.config.rules import unknown_labels
from vigild.config.schema import OF_ONE_MODEL, Config, ModelConfig
from vigild.config.source import absent
from vigild.fleet import events
from vigild.fleet.takeover import NotReplaced
from vigild.hub import answers
from vigild.hub.hub import Hub
from vigild.hub.model_files import ModelFiles
from vigild.hub.places import Maker, no_way_back
from vigild.hub.snapshots import TRIES, SnapshotFailed
from vigild.ipc.messages import ModelReady
from vigild.wire import messages as wire
from vigild.wire.requests import RequestError, Swap

LABEL_KEYS = {"model.labels_allowed", "model.labels_denied"}

_log = log.logger("hub")


class Api:
    """The hub as the socket server sees it."""

    def __init__(self, hub: Hub, read_config: Callable[[], Config], config_file: Path | None) -> None:
        self._hub = hub
        self._read_config = read_config
        self._config_file = config_file
        self.files = ModelFiles()
        """What the model in service is made of."""
        self._changing = asyncio.Lock()
        """One change after the other: each begins with the configuration that the one before left."""
        self.socket_path = ""

    # ---- what is

    def hello(self) -> wire.Hello:
        return answers.hello(self._hub.state(), self._hub.instance)

    def cameras(self) -> list[str]:
        return list(self._hub.fleet.cameras)

    def labels(self) -> list[str] | None:
        model = self._hub.state().model
        return model.labels if model is not None else None

    def privileged_group(self) -> str:
        return self._hub.config.daemon.privileged_group

    def max_clients(self) -> int:
        return self._hub.config.daemon.max_clients

    def status(self) -> wire.StatusAnswer:
        hub = self._hub
        return answers.status(
            hub.state(),
            hub.clients_health(),
            instance=hub.instance,
            socket=self.socket_path,
            config_file=self._config_file,
        )

    async def snapshot(self, camera: str | None, annotate: bool) -> wire.SnapshotAnswer:
        hub = self._hub
        name = self._known(camera) if camera else self._only_camera()
        for tries_left in reversed(range(TRIES)):
            process, recent = hub.fleet.worker_of(name).process, hub.seen(name)
            if process is None or not recent:
                why = hub.state().camera(name).reason or "just started"
                raise RequestError("no_frame", f"camera {name} has no inferred frame yet ({why})")
            try:
                snapshot, jpeg = await hub.snapshots.take(name, process, recent, annotate)
                break
            except SnapshotFailed as error:
                # By now there may be newer frames: those are asked for then.
                if not error.passed or not tries_left or hub.seen(name)[-1] == recent[-1]:
                    raise RequestError("no_frame", str(error)) from None
        seen = next((seen for seen in recent if seen.frame == snapshot.frame), None)
        return wire.SnapshotAnswer(
            camera=name,
            frame=snapshot.frame,
            size=(snapshot.width, snapshot.height),
            format="jpeg",
            data=base64.b64encode(jpeg).decode("ascii"),
            time=wire.wall_time(seen.wall_ns) if seen else None,
            detections=answers.detections(seen.detections) if seen else [],
        )

    def _only_camera(self) -> str:
        names = list(self._hub.fleet.cameras)
        if len(names) != 1:
            raise RequestError("camera_needed", f"there are {len(names)} cameras; say which: {', '.join(names)}")
        return names[0]

    def _known(self, name: str) -> str:
        if name not in self._hub.fleet.cameras:
            raise RequestError(
                "unknown_camera", f'there is no camera "{name}"; the cameras are: {", ".join(self._hub.fleet.cameras)}'
            )
        return name

    # ---- what is to change

    async def pause(self, camera: str | None) -> str:
        names = self._named(camera)
        for name in names:
            limits = self._hub.fleet.cameras[name].limits.held("client", "asked by a client")
            self._hub.fleet.limit(name, limits, "asked by a client")
        return f"paused: {', '.join(names)}"

    async def resume(self, camera: str | None) -> str:
        names = self._named(camera)
        held: list[str] = []
        for name in names:
            limits = self._hub.fleet.cameras[name].limits.released("client")
            self._hub.fleet.limit(name, limits, "asked by a client")
            held += [f"{name} is still held by {who} ({why})" for who, why in limits.holds.items()]
        return "; ".join([f"resumed: {', '.join(names)}", *held])

    def _named(self, camera: str | None) -> list[str]:
        return [self._known(camera)] if camera else list(self._hub.fleet.cameras)

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
            forgotten = dict.fromkeys(f"model.{name}" for name in OF_ONE_MODEL)
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
                if why := emptied(self._hub.config, new):
                    raise ConfigError([why])
            except ConfigError as error:
                reason = "; ".join(error.problems)
                self._hub.happened(events.ReloadRefused(reason=reason))
                raise RequestError("invalid", f"the old configuration stays in force: {reason}") from None
            try:
                done = await self._take_up(new, await self.files.changed(new.model))
            except RequestError as error:
                self._hub.happened(events.ReloadRefused(reason=error.message))
                raise
            self._hub.happened(events.Reloaded(done=done))
            return done

    async def _take_up(self, new: Config, other_contents: Sequence[str] = ()) -> str:
        """Make `new` the configuration in force; returns what that did, in a line.

        `other_contents`: files of the model that hold something else than what runs, under the same names.
        """
        hub = self._hub
        changes = diff(hub.config, new)
        if other_contents and not changes.detector:
            changes = msgspec.structs.replace(changes, rewritten=tuple(other_contents))
        if not changes:
            return "nothing has changed"
        self._refuse_unknown_labels(new, changes)
        _refuse_absent_sources(hub.config, new)
        started = time.monotonic()
        # The model first, and before anything else is touched: it is what can be refused.
        if changes.detector:
            hub.keeper.asked_for_model(True)
            try:
                outcome = await self._replace(new.model)
            finally:
                hub.keeper.asked_for_model(False)
            if isinstance(outcome, NotReplaced):
                raise RequestError(outcome.code, f"the running model stays: {outcome}")
        hub.take_up(taken_up(hub.config, new), changes)
        text = changes.describe() + self._held_lower(changes)
        _log.info("configuration: %s (%.1f s)", text, time.monotonic() - started)
        return text

    def _held_lower(self, changes: Changes) -> str:
        """That a temperature that was set is not the one that holds now."""
        quiet, asked = self._hub.quiet(), self._hub.config.budget.temperature
        if quiet is None or quiet.temperature is None or "budget.temperature" not in changes.live:
            return ""
        if asked is not None and asked <= quiet.temperature:
            return ""
        return f"; {schedule.until(quiet)} hold {quiet.temperature:g} °C"

    def _refuse_unknown_labels(self, new: Config, changes: Changes) -> None:
        """Raises RequestError: a label that the model in force does not know would never be seen.

        Of a model that is only being loaded nothing is known yet; what it lacks is told when it serves.
        """
        model = self._hub.state().model
        if changes.detector or model is None or not LABEL_KEYS & set(changes.live):
            return
        if unknown := unknown_labels(new.model, model.labels):
            raise RequestError("invalid", "; ".join(unknown))

    async def _replace(self, config: ModelConfig) -> ModelReady | NotReplaced:
        outcome: asyncio.Future[ModelReady | NotReplaced] = asyncio.get_running_loop().create_future()

        def done(told: ModelReady | NotReplaced) -> None:
            if not outcome.done():  # the asker may be gone
                outcome.set_result(told)

        self._hub.fleet.replace(config, done)
        return await outcome


def _refuse_new_code(old: Config, new: Config) -> None:
    """The privileged group may steer the daemon, but not run programs as its user: those come from the file alone.

    Raises RequestError.
    """
    for code in new_code(old, new):
        raise RequestError("forbidden", f"{code} cannot be set by a client; write it into the file")


def _refuse_absent_sources(old: Config, new: Config) -> None:
    """Raises RequestError: a file or folder that is not there does not come by itself."""
    for name, camera in new.camera.items():
        before = old.camera.get(name)
        if (before is None or before.source != camera.source) and (why := absent(camera.source)):
            raise RequestError("invalid", f"camera.{name}.source: {why}")
