"""What `health` and `status` say: the state of everything, put together from where it is kept.

monitor = Monitor(hub, Sensors(root))
monitor.tick(now_ns)                # publishes health on change and every few seconds
monitor.health(clients)
"""

from __future__ import annotations

import os
import time

from vigild.board.board import Board
from vigild.board.budgets import Budgets, resolve
from vigild.board.memory import Usage, memory_of
from vigild.board.sensors import Sensors
from vigild.config.schema import BudgetConfig
from vigild.hub.hub import Hub
from vigild.wire import messages as wire

SENSORS_S = 1.0
MEMORY_S = 5.0
"""Adding up Pss walks the page tables of every process: some milliseconds each."""

SETTLING_S = 1.0
"""Sooner after a process came or went: a worker that has just started is still small."""


class Monitor:
    """Reads the sensors at their own pace and publishes health."""

    def __init__(self, hub: Hub, sensors: Sensors) -> None:
        self._hub = hub
        self._sensors = sensors
        self._board = Board(sensors.root)
        self._budgets: tuple[BudgetConfig, Budgets] | None = None
        self.temperatures: dict[str, float] = {}
        self.flags: list[str] = []
        self.memory = Usage({}, "pss")
        self._measured: dict[str, int] = {}
        self._next_sensors_ns = 0
        self._next_memory_ns = 0
        self._next_health_ns = 0
        self._last_told: object = None

    @property
    def hottest_celsius(self) -> float | None:
        counted = self._sensors.counted
        return max((self.temperatures[name] for name in counted if name in self.temperatures), default=None)

    @property
    def budgets(self) -> Budgets:
        """Those in force; worked out again after a key was changed."""
        configured = self._hub.config.budget
        if self._budgets is None or self._budgets[0] is not configured:
            self._budgets = configured, resolve(configured, self._board)
        return self._budgets[1]

    def tick(self, now_ns: int) -> None:
        if now_ns >= self._next_sensors_ns:
            self._next_sensors_ns = now_ns + int(SENSORS_S * 1e9)
            self.temperatures = self._sensors.temperatures()
            self.flags = self._sensors.flags()
        pids = self._pids()
        if now_ns >= self._next_memory_ns or pids != self._measured:
            settled = pids == self._measured
            self._measured = pids
            self._next_memory_ns = now_ns + int((MEMORY_S if settled else SETTLING_S) * 1e9)
            self.memory = memory_of(pids)
        told = self._what_matters()
        if told != self._last_told or now_ns >= self._next_health_ns:
            self._last_told = told
            self._next_health_ns = now_ns + int(self._hub.config.daemon.health_interval * 1e9)
            if self._hub.server is not None:
                self._hub.server.publish(self.health())

    def _pids(self) -> dict[str, int]:
        processes = [worker.process for worker in self._hub.workers.values()]
        processes += self._hub.service.processes()
        named = {process.name: process.pid for process in processes if process is not None}
        return {"hub": os.getpid(), **named}

    def _what_matters(self) -> object:
        """Changes of these are told at once; figures that always move are not among them."""
        hub = self._hub
        return (
            tuple((name, camera.told) for name, camera in hub.cameras.items()),
            tuple((name, worker.process is not None, worker.restarts.total) for name, worker in hub.workers.items()),
            hub.service.rung,
            hub.service.restarts.total,
            hub.model.sha256 if hub.model else None,
            tuple(self.flags),
        )

    def health(self) -> wire.Health:
        hub = self._hub
        now_ns = time.monotonic_ns()
        return wire.Health(
            time=wire.wall_time(time.time_ns()),
            uptime_s=round((now_ns - hub.started_ns) / 1e9, 1),
            temperatures=self.temperatures,
            flags=self.flags,
            memory=wire.Memory(
                used_bytes=self.memory.total_bytes,
                budget_bytes=self.budgets.memory,
                source=self.memory.source,
                processes=self.memory.processes,
            ),
            workers=self._workers(),
            cameras={
                name: wire.CameraHealth(
                    status=camera.status(now_ns, hub.detector_ok),
                    fps=round(camera.fps, 2),
                    inferred_fps=round(camera.inferred_rate.per_second(now_ns / 1e9), 2),
                    frame=camera.last_frame,
                    drops=camera.drops(),
                    reason=camera.reason or None,
                )
                for name, camera in hub.cameras.items()
            },
            latency_ms={
                stage: wire.Quantiles(p50=round(p50, 3), p95=round(p95, 3), p99=round(p99, 3))
                for stage, samples in hub.stages.items()
                if len(samples)
                for p50, p95, p99 in (samples.percentiles(),)
            },
            clients=hub.server.clients_health() if hub.server is not None else [],
            operating_point=self._operating_point(),
            temperature_budget=self.budgets.temperature,
        )

    def _operating_point(self) -> wire.OperatingPoint | None:
        model = self._hub.model
        if model is None:
            return None
        return wire.OperatingPoint(
            model=model.name,
            variant=model.variant,
            runtime=model.runtime,
            runtime_version=model.runtime_version,
            delegate=model.delegate,
            delegate_nodes=model.delegate_nodes,
            total_nodes=model.total_nodes,
            threads=model.threads,
        )

    def _workers(self) -> list[wire.WorkerHealth]:
        hub = self._hub
        workers = [
            wire.WorkerHealth(
                name=worker.name,
                kind="camera",
                pid=worker.process.pid if worker.process else 0,
                state="running" if worker.process else "restarting",
                restarts=worker.restarts.total,
                reason=worker.last_reason or None,
            )
            for worker in hub.workers.values()
        ]
        current = hub.service.current
        workers.append(
            wire.WorkerHealth(
                name="detector",
                kind="detector",
                pid=current.process.pid if current else 0,
                state="restarting" if current is None else "running" if current.ready else "loading",
                restarts=hub.service.restarts.total,
                reason=hub.service.last_reason or None,
            )
        )
        return workers
