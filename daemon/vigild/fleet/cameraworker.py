"""A process that serves one camera, or all cameras with `isolation = "shared"`.

    worker = CameraWorker("camera.front", listener, [camera])
    worker.start()

It is started again with back-off when it dies or hangs; what happens with a source that merely
fails is the worker's own business (it reopens it) and only reported.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Any, Protocol

from vigild import log
from vigild.fleet import deadlines
from vigild.fleet.cameras import Camera
from vigild.fleet.process import WorkerProcess
from vigild.fleet.restarts import Restarts
from vigild.ipc.messages import (
    AddCamera,
    CameraEnded,
    CameraLane,
    CameraLost,
    CameraOpened,
    CameraStats,
    Exit,
    FromCamera,
    RemoveCamera,
    SetLimits,
    Snapshot,
)
from vigild.ipc.progress import STAGE_TEXT

EXIT_GRACE_S = 1.0


class Listener(Protocol):
    """Whom a camera worker tells (the hub)."""

    def camera_worker_started(self, worker: CameraWorker) -> None:
        """Connect its cameras to the detector."""

    def camera_worker_died(self, worker: CameraWorker, reason: str) -> None:
        """Its links are gone; it will be started again."""

    def camera_opened(self, camera: Camera) -> None: ...
    def camera_lost(self, camera: Camera, reason: str) -> None: ...
    def camera_ended(self, camera: Camera, frames: int) -> None: ...
    def snapshot(self, snapshot: Snapshot, memfd: int | None) -> None:
        """The answer to a TakeSnapshot; the listener closes `memfd`."""


class CameraWorker:
    """Supervises one camera worker process."""

    def __init__(self, name: str, listener: Listener) -> None:
        self.name = name
        self._log = log.logger(name)
        self._listener = listener
        self.cameras: dict[str, Camera] = {}
        self._lanes: dict[str, int] = {}
        """Where the process said that a camera's thread shows what it does."""
        self.process: WorkerProcess | None = None
        self.restarts = Restarts(random.random, max_delay_s=5.0)
        self.last_reason = ""
        self.stopping = False

    # ---- life

    def start(self) -> None:
        if self.stopping or self.process is not None:
            return
        self._lanes = {}
        self.process = WorkerProcess(self.name, "vigild.camera", FromCamera, self._on_message, self._on_exit)
        for camera in self.cameras.values():
            # What has been played to its end is not played again.
            if not camera.ended:
                self._add(camera)
        self._listener.camera_worker_started(self)

    def stop(self) -> None:
        self.stopping = True
        if self.process is not None:
            self.process.send(Exit())
            asyncio.get_running_loop().call_later(EXIT_GRACE_S, self.process.kill, "did not stop when asked")

    def add(self, camera: Camera) -> None:
        """Serve this camera too, or take up its changed settings."""
        self.cameras[camera.name] = camera
        if self.process is not None:
            self._add(camera)

    def remove(self, camera: Camera) -> None:
        self.cameras.pop(camera.name, None)
        self._lanes.pop(camera.name, None)
        if self.process is not None:
            self.process.send(RemoveCamera(camera=camera.name))

    def _add(self, camera: Camera) -> None:
        assert self.process is not None
        self.process.send(
            AddCamera(
                camera=camera.name,
                config=camera.config,
                resume_after=camera.last_frame,
                passed_over=camera.passed_over,
            )
        )
        if camera.paused:
            self.process.send(SetLimits(camera=camera.name, holds=["client"]))

    def check(self, now_ns: int) -> None:
        """Kill the process if it, or one of its cameras, hangs; call often."""
        process = self.process
        if process is None:
            return
        stage, since_ns = process.stage()
        spent_s = deadlines.overdue(stage, since_ns, now_ns, deadlines.CAMERA_MAIN_LIMITS_S)
        if spent_s is not None:
            process.kill(f"hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
            return
        for camera in self.cameras.values():
            if camera.name not in self._lanes:
                continue
            stage, since_ns = process.stage(self._lanes[camera.name])
            limits = deadlines.camera_limits(camera.config.open_timeout, camera.config.read_timeout)
            spent_s = deadlines.overdue(stage, since_ns, now_ns, limits)
            if spent_s is not None:
                camera.lost(f"no answer for {spent_s:.1f} s {STAGE_TEXT[stage]}")
                process.kill(f"camera {camera.name} hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
                return

    # ---- what the process says

    def _on_message(self, _: WorkerProcess, message: Any, fds: list[int]) -> None:
        if isinstance(message, Snapshot):
            self._listener.snapshot(message, fds.pop() if fds else None)
            return
        for fd in fds:
            os.close(fd)
        camera = self.cameras.get(message.camera)
        if camera is None:
            return
        if isinstance(message, CameraLane):
            self._lanes[camera.name] = message.lane
        elif isinstance(message, CameraStats):
            camera.stats(message, time.monotonic_ns())
        elif isinstance(message, CameraOpened):
            camera.opened(message)
            self.restarts.works(time.monotonic())
            self._listener.camera_opened(camera)
        elif isinstance(message, CameraLost):
            camera.lost(message.reason)
            self._listener.camera_lost(camera, message.reason)
        elif isinstance(message, CameraEnded):
            self._listener.camera_ended(camera, message.frames)

    def _on_exit(self, process: WorkerProcess, reason: str) -> None:
        self.process = None
        for camera in self.cameras.values():
            camera.worker_died()
        if self.stopping:
            return
        now_s = time.monotonic()
        delay_s = self.restarts.died(now_s)
        self.last_reason = f"{self.name} {reason}; {self.restarts.in_words(now_s, delay_s)}"
        self._log.error("%s", self.last_reason.removeprefix(f"{self.name} "))
        self._listener.camera_worker_died(self, self.last_reason)
        asyncio.get_running_loop().call_later(delay_s, self.start)
