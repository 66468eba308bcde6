"""What clients are told of the State: `health`, `status`, `hello`. Pure."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

import vigild
from vigild.budget.summary import Warming
from vigild.config.keys import flatten
from vigild.hub.state import CameraState, Latency, State, WorkerState
from vigild.ipc.messages import ModelReady, RawDetection
from vigild.wire import messages as wire


def detections(found: list[RawDetection]) -> list[wire.Detection]:
    """As clients see them: a box to 1e-5 of the frame (half a pixel of an 8K one is 6e-5)."""
    return [
        wire.Detection(
            label=d.label,
            class_=d.class_,
            score=round(d.score, 4),
            box=(round(d.box[0], 5), round(d.box[1], 5), round(d.box[2], 5), round(d.box[3], 5)),
        )
        for d in found
    ]


def model_info(ready: ModelReady | None) -> wire.ModelInfo | None:
    if ready is None:
        return None
    return wire.ModelInfo(name=ready.name, variant=ready.variant, sha256=ready.sha256, labels=ready.labels)


def hello(state: State, instance: str) -> wire.Hello:
    return wire.Hello(
        protocol=wire.PROTOCOL,
        version=vigild.__version__,
        instance=instance,
        cameras=cameras(state),
        model=model_info(state.model),
    )


def cameras(state: State) -> list[wire.CameraInfo]:
    return [wire.CameraInfo(name=camera.name, size=camera.size) for camera in state.cameras]


def status(
    state: State, clients: list[wire.ClientHealth], *, instance: str, socket: str, config_file: Path | None
) -> wire.StatusAnswer:
    return wire.StatusAnswer(
        version=vigild.__version__,
        instance=instance,
        pid=os.getpid(),
        socket=socket,
        cameras=cameras(state),
        model=model_info(state.model),
        health=health(state, clients),
        config=flatten(state.config),
        config_file=str(config_file) if config_file else None,
    )


def health(state: State, clients: list[wire.ClientHealth]) -> wire.Health:
    memory = state.readings.memory
    return wire.Health(
        time=wire.wall_time(state.wall_ns),
        uptime_s=state.uptime_s,
        temperatures=state.readings.temperatures,
        lost=list(state.readings.lost),
        flags=list(state.readings.flags),
        memory=wire.Memory(
            used_bytes=memory.used_bytes,
            budget_bytes=state.budgets.memory,
            source=memory.source,
            words=memory.words,
            processes=memory.processes,
        ),
        workers=[_worker(worker) for worker in state.workers],
        cameras={camera.name: _camera(camera) for camera in state.cameras},
        latency_ms=_quantiles(state.latency),
        clients=clients,
        operating_point=_operating_point(state.model, _governed_fps(state)),
        temperature_budget=state.budgets.temperature,
        budget=wire.BudgetHealth(
            degraded=state.budget.degraded,
            point=state.budget.point,
            moves=dict(state.budget.moves),
            board=state.budget.board,
            warming=_warming(state.budget.warming),
            temperature_why=state.budgets.temperature_why,
            memory_why=state.budgets.memory_why,
        ),
        faults=state.faults,
        unsent=state.unsent,
    )


def what_matters(state: State) -> object:
    """Changes of this are told at once; figures that always move are not in it."""
    return (
        [(camera.name, camera.status, camera.limits) for camera in state.cameras],
        [(worker.name, worker.pid != 0, worker.restarts, worker.state) for worker in state.workers],
        state.model.sha256 if state.model else None,
        state.readings.flags,
        state.readings.lost,
        state.budgets.temperature,
    )


def _camera(camera: CameraState) -> wire.CameraHealth:
    return wire.CameraHealth(
        status=camera.status,
        fps=round(camera.fps, 2),
        inferred_fps=round(camera.inferred_fps, 2),
        frame=camera.frame,
        drops=camera.drops,
        reason=camera.reason or None,
        max_fps=camera.limits.max_fps,
        holds=sorted(camera.limits.holds),
    )


def _warming(warming: Warming | None) -> wire.Warming | None:
    if warming is None:
        return None
    figures = msgspec.structs.asdict(warming)
    return wire.Warming(**{name: round(value, 4) if name != "sure" else value for name, value in figures.items()})


def _worker(worker: WorkerState) -> wire.WorkerHealth:
    return wire.WorkerHealth(
        name=worker.name,
        kind=worker.kind,
        pid=worker.pid,
        state=worker.state,
        restarts=worker.restarts,
        reason=worker.reason or None,
        operating_point=_operating_point(worker.ready),
        latency_ms=_quantiles(worker.latency),
    )


def _quantiles(latency: Latency) -> dict[str, wire.Quantiles]:
    return {
        stage: wire.Quantiles(p50=round(p50, 3), p95=round(p95, 3), p99=round(p99, 3))
        for stage, (p50, p95, p99) in latency.items()
    }


def _governed_fps(state: State) -> float | None:
    """The lowest cap that the governor sets on a camera; None while it sets none."""
    return min((cap for camera in state.cameras if (cap := camera.limits.caps.get("governor"))), default=None)


def _operating_point(ready: ModelReady | None, fps_cap: float | None = None) -> wire.OperatingPoint | None:
    if ready is None:
        return None
    return wire.OperatingPoint(
        model=ready.name,
        variant=ready.variant,
        runtime=ready.runtime,
        runtime_version=ready.runtime_version,
        delegate=ready.delegate,
        delegate_nodes=ready.delegate_nodes,
        total_nodes=ready.total_nodes,
        threads=ready.threads,
        fps_cap=fps_cap,
    )
