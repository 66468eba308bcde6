"""Everything there is to say about the daemon at one moment, as one frozen value.

    state = take(fleet, ...)
    health(state), status(state)            # `answers`
    line(state, "front")                    # `console`

`health`, `status`, the console and systemd's status line are functions of it; nothing reaches through the
hub for them. It is made at most once a tick, when somebody asks (`hub.state`).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from vigild.board.budgets import Budgets
from vigild.board.readings import Readings
from vigild.budget.summary import Summary
from vigild.config.schema import Config
from vigild.config.source import redact
from vigild.fleet.camera import Camera, Status
from vigild.fleet.camera_worker import CameraWorker
from vigild.fleet.fleet import Fleet
from vigild.fleet.limits import Limits
from vigild.fleet.metrics import StageTimes
from vigild.fleet.slot import Slot
from vigild.ipc.messages import ModelReady, RawDetection

Latency = dict[str, tuple[float, float, float]]
"""p50, p95 and p99 in ms, by stage (`metrics.STAGES`); a stage without a sample is left out."""


class CameraState(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    source: str
    """Without credentials."""
    status: Status
    reason: str
    """Why the status is not ok; empty when it is."""
    size: tuple[int, int] | None
    fps: float
    """That the source gives."""
    wanted_fps: float
    """That are to be inferred; 0: unknown."""
    inferred_fps: float
    frame: int
    drops: dict[str, int]
    limits: Limits
    ended: bool
    seen: list[RawDetection]
    """On the newest frame."""


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A camera worker's process, or a detector's."""

    name: str
    kind: str
    pid: int
    """0 while none runs."""
    state: str
    restarts: int
    reason: str
    """Why it was last restarted."""
    ready: ModelReady | None = None
    """What a detector has loaded."""
    latency: Latency = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Times are CLOCK_MONOTONIC in ns, unless the name says wall."""

    now_ns: int
    wall_ns: int
    uptime_s: float
    config: Config
    cameras: list[CameraState]
    workers: list[WorkerState]
    """Camera workers first, then detectors."""
    model: ModelReady | None
    """In service, or what was last."""
    latency: Latency
    """Of all detectors together."""
    results: int
    """Inferred frames since the start."""
    expected_to_work: bool
    """Some camera delivers and some detector runs: results ought to come."""
    readings: Readings
    budgets: Budgets
    """In force."""
    budget: Summary
    """What they ask for, and what was learned of the board."""
    faults: int
    """Exceptions that nobody expected, since the start."""
    unsent: dict[str, int]
    """Messages that "journal" or "systemd" did not take, since the start."""

    def camera(self, name: str) -> CameraState:
        return next(camera for camera in self.cameras if camera.name == name)


def take(
    fleet: Fleet,
    config: Config,
    seen: dict[str, list[RawDetection]],
    readings: Readings,
    budgets: Budgets,
    budget: Summary,
    *,
    now_ns: int,
    wall_ns: int,
    started_ns: int,
    results: int,
    faults: int,
    unsent: dict[str, int],
) -> State:
    """The state of everything now. `seen`: what was reported of each camera's newest frame."""
    detectors = fleet.detectors
    workers = [_camera_worker(worker) for worker in fleet.workers.values()]
    workers += [_detector(slot) for slot in detectors.slots]
    return State(
        now_ns=now_ns,
        wall_ns=wall_ns,
        uptime_s=round((now_ns - started_ns) / 1e9, 1),
        config=config,
        cameras=[
            _camera(camera, seen.get(camera.name, []), now_ns, fleet, budget) for camera in fleet.cameras.values()
        ],
        workers=workers,
        model=detectors.model,
        latency=_latency([slot.times for slot in detectors.slots]),
        results=results,
        expected_to_work=fleet.expected_to_work,
        readings=readings,
        budgets=budgets,
        budget=budget,
        faults=faults,
        unsent=unsent,
    )


def _camera(camera: Camera, seen: list[RawDetection], now_ns: int, fleet: Fleet, budget: Summary) -> CameraState:
    status = camera.status(now_ns, fleet.detectors.at_full_strength and not budget.reduced)
    reason = camera.why()
    if status == "degraded":
        reason = "; ".join(filter(None, (reason, *_given_up(camera, fleet, budget))))
        reason = (
            reason
            or f"{camera.inferred_rate.per_second(now_ns / 1e9):.1f} of {camera.wanted_fps():.1f} fps are inferred"
        )
    return CameraState(
        name=camera.name,
        source=redact(camera.config.source),
        status=status,
        reason=reason,
        size=camera.size,
        fps=camera.fps,
        wanted_fps=camera.wanted_fps(),
        inferred_fps=camera.inferred_rate.per_second(now_ns / 1e9),
        frame=camera.last_frame,
        drops=camera.drops(),
        limits=camera.limits,
        ended=camera.ended,
        seen=seen,
    )


def _given_up(camera: Camera, fleet: Fleet, budget: Summary) -> Iterator[str]:
    """What a degraded camera has less of, and why, as far as others are the cause."""
    if budget.reduced or "governor" in camera.limits.caps:
        yield budget.degraded
    for slot in fleet.detectors.slots:
        if slot.down:
            yield slot.down
        elif slot.ladder.lowered:
            yield slot.lowered or f"{slot.name} is on delegate {slot.rung}, not on the best one"


def _camera_worker(worker: CameraWorker) -> WorkerState:
    return WorkerState(
        name=worker.name,
        kind="camera",
        pid=worker.process.pid if worker.process else 0,
        state="running" if worker.process else "restarting",
        restarts=worker.restarts.total,
        reason=worker.last_reason,
    )


def _detector(slot: Slot) -> WorkerState:
    return WorkerState(
        name=slot.name,
        kind="detector",
        pid=slot.process.pid if slot.process else 0,
        state=slot.state.value,
        restarts=slot.restarts.total,
        reason=slot.last_reason,
        ready=slot.ready if slot.process else None,
        latency=_latency([slot.times]),
    )


def _latency(slots: list[StageTimes]) -> Latency:
    return (slots[0] if len(slots) == 1 else StageTimes.together(slots)).percentiles()
