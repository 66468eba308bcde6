"""What clients may ask of the hub, with a clock and processes of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from fleetkit import START_NS, World

from vigild.config.load import ConfigError
from vigild.config.schema import BudgetConfig, CameraConfig, Config, QuietConfig
from vigild.hub.api import Api
from vigild.hub.hub import Hub
from vigild.hub.snapshots import TIMEOUT_S
from vigild.ipc import messages as ipc
from vigild.wire.requests import RequestError


class Asked:
    """A serving world, and the API in front of it."""

    def __init__(self, **config: Any) -> None:
        self.world = World(**config)
        self.world.hub.start()
        self.world.run(0.5)
        for name in self.world.hub.fleet.cameras:
            self.world.gives(name)
        self.file: Config | Exception = self.world.config
        self.api = Api(self.world.hub, self._read, None)

    def _read(self) -> Config:
        if isinstance(self.file, Exception):
            raise self.file
        return self.file

    def config(self, **changes: Any) -> Config:
        return msgspec.structs.replace(self.world.hub.config, **changes)

    async def while_time_passes(self, request: Coroutine[Any, Any, Any], each: Callable[[], None] | None = None) -> Any:
        """The answer, and the world going on meanwhile: an hour of its time at most."""
        task = asyncio.ensure_future(request)
        while not task.done():
            assert self.world.clock.ns < START_NS + 3600 * 10**9, "no answer within an hour"
            await asyncio.sleep(0.001)  # files are read in a thread
            self.world.run(0.5, each)
        return await task


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def refused(error: pytest.ExceptionInfo[RequestError]) -> tuple[str, str]:
    return error.value.code, error.value.message


def test_pause_and_resume_undo_only_a_clients_hold() -> None:
    async def test() -> None:
        asked = Asked()
        fleet = asked.world.hub.fleet
        assert await asked.api.pause("front") == "paused: front"
        assert asked.world.status() == "paused"
        fleet.limit("front", fleet.cameras["front"].limits.held("governor", "too hot"), "too hot")
        assert await asked.api.resume(None) == "resumed: front; front is still held by governor (too hot)"
        assert asked.world.status() == "paused"
        with pytest.raises(RequestError) as error:
            await asked.api.pause("back")
        assert refused(error) == ("unknown_camera", 'there is no camera "back"; the cameras are: front')

    run(test())


def test_a_key_is_set_and_takes_effect_on_the_next_frame() -> None:
    async def test() -> None:
        asked = Asked()
        world = asked.world
        world.gives(score=0.4)
        assert world.messages[-1].detections == []
        assert "model.min_score" in await asked.api._set({"model.min_score": 0.3})
        world.gives(score=0.4)
        assert [d.label for d in world.messages[-1].detections] == ["person"]
        with pytest.raises(RequestError) as error:
            await asked.api._set({"model.labels_allowed": ["persn"]})
        assert error.value.code == "invalid" and "did you mean person?" in error.value.message
        assert world.hub.config.model.labels_allowed == []

    run(test())


def test_a_swap_answers_when_the_new_model_has_taken_over_or_was_refused() -> None:
    async def test() -> None:
        asked = Asked()
        world = asked.world

        def give() -> None:
            for detector in world.detectors():
                if detector.last(ipc.AttachDetector) is not None and detector.pid in world._seen:
                    world.gives(detector=detector)

        new = asked.config(model=msgspec.structs.replace(world.hub.config.model, path="/other.tflite"))
        assert "new detector" in await asked.while_time_passes(asked.api._take_up(new), give)
        assert world.hub.config.model.path == "/other.tflite"
        before = world.results()
        assert before == sorted(set(before)), "no result came twice or out of order"

        world.behave = False
        third = asked.config(model=msgspec.structs.replace(world.hub.config.model, path="/third.tflite"))
        waiting = asyncio.ensure_future(asked.api._take_up(third))
        await asyncio.sleep(0)
        candidate = world.detectors()[-1]
        candidate.says(ipc.ModelRefused(code="classifier", message="It classifies."))
        candidate.dies(3)
        with pytest.raises(RequestError) as error:
            await waiting
        assert refused(error) == ("classifier", "the running model stays: It classifies.")
        assert world.hub.config.model.path == "/other.tflite"

    run(test())


def test_a_reload_that_cannot_be_read_or_would_close_all_cameras_changes_nothing() -> None:
    async def test() -> None:
        asked = Asked()
        asked.file = ConfigError(["camera.front.fps: found -1"])
        with pytest.raises(RequestError, match=r"the old configuration stays in force: camera\.front\.fps"):
            await asked.api.reload()
        asked.file = asked.config(camera={})
        with pytest.raises(RequestError, match="allow_no_cameras"):
            await asked.while_time_passes(asked.api.reload())
        assert list(asked.world.hub.fleet.cameras) == ["front"]
        assert len(asked.world.told("reload_failed")) == 2

    run(test())


def test_cameras_come_and_go_with_a_reload() -> None:
    async def test() -> None:
        asked = Asked()
        front = asked.world.hub.config.camera["front"]
        asked.file = asked.config(camera={"front": front, "side": CameraConfig(source="/dev/video7")})
        assert "camera added: side" in await asked.while_time_passes(asked.api.reload())
        asked.world.run(1)
        asked.world.gives("side")
        assert asked.world.status("side") == "ok"
        asked.file = asked.config(camera={"side": asked.world.hub.config.camera["side"]})
        assert "camera removed: front" in await asked.while_time_passes(asked.api.reload())
        asked.world.run(2)
        assert [w.name for w in asked.world.starter.alive("vigild.camera")] == ["camera.side"]

    run(test())


def test_a_snapshot_that_never_comes_is_said_after_its_time() -> None:
    async def test() -> None:
        asked = Asked()
        begun_ns = asked.world.clock.ns
        with pytest.raises(RequestError) as error:
            await asked.while_time_passes(asked.api.snapshot("front", annotate=False))
        assert refused(error) == ("no_frame", f"camera front gave no picture within {TIMEOUT_S:.0f} s")
        assert asked.world.clock.ns - begun_ns >= TIMEOUT_S * 1e9

    run(test())


def test_newer_frames_are_asked_for_when_the_old_ones_are_gone() -> None:
    async def test() -> None:
        asked = Asked()
        world = asked.world
        waiting = asyncio.ensure_future(asked.api.snapshot(None, annotate=False))
        await asyncio.sleep(0)
        first = world.camera().last(ipc.TakeSnapshot)
        newest = world.gives()
        world.camera().says(ipc.Snapshot(request=first.request, error="gone", passed=True))
        for _ in range(3):
            await asyncio.sleep(0)
        second = world.camera().last(ipc.TakeSnapshot)
        assert second.request != first.request and second.results[-1].frame == newest
        world.camera().says(ipc.Snapshot(request=second.request, error="it cannot be encoded"))
        with pytest.raises(RequestError, match="it cannot be encoded"):
            await waiting

    run(test())


def test_status_costs_a_tick_at_most_once_and_says_what_is() -> None:
    async def test() -> None:
        asked = Asked()
        hub = asked.world.hub
        assert hub.state() is hub.state()
        status = asked.api.status()
        assert status.health.cameras["front"].status == "ok"
        assert [worker.name for worker in status.health.workers] == ["camera.front", "detector"]
        await asked.api.pause("front")
        assert asked.api.status().health.cameras["front"].holds == ["client"], "who changes something sees it at once"

    run(test())


def test_a_temperature_that_is_set_in_quiet_hours_says_what_holds_until_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Hub, "_minute_of_day", lambda self: 23 * 60)

    async def test() -> None:
        asked = Asked(budget=BudgetConfig(quiet=QuietConfig(hours="22:00-07:00", temperature=60.0)))
        assert await asked.api._set({"budget.temperature": "70 °C"}) == (
            "taken up: budget.temperature; quiet hours until 07:00 hold 60 °C"
        )
        assert await asked.api._set({"budget.temperature": "55 °C"}) == "taken up: budget.temperature"

    run(test())
