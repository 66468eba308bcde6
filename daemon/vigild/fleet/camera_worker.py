"""A process that serves one camera, or all cameras with `isolation = "shared"`.

    worker = CameraWorker("camera.front", owner, clock, starter, restarts)
    worker.add(camera)
    worker.start()
    worker.check(now_ns)             # often

It is started again when it dies, hangs or cannot be started; what happens with a source that merely
fails is the worker's own business (it reopens it) and only reported.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from vigild.fleet import deadlines
from vigild.fleet.camera import Camera
from vigild.fleet.clock import Clock
from vigild.fleet.process import Starter, Worker, why_not_started
from vigild.fleet.restarts import Restarts
from vigild.ipc import messages as ipc
from vigild.ipc.progress import STAGE_TEXT

EXIT_GRACE_S = 1.0


class Owner(Protocol):
    """Whom a camera worker tells. Nothing of it raises."""

    def worker_started(self, worker: CameraWorker) -> None:
        """Connect its cameras."""

    def worker_failed(self, worker: CameraWorker, reason: str, delay_s: float) -> None:
        """Its rings are gone; it will be started again after `delay_s`."""

    def worker_back(self, worker: CameraWorker) -> None:
        """One of its cameras was opened, the first since it failed."""

    def camera_opened(self, camera: Camera, detail: str) -> None: ...
    def camera_lost(self, camera: Camera, reason: str) -> None: ...
    def camera_ended(self, camera: Camera, message: ipc.CameraEnded) -> None: ...
    def snapshot_taken(self, snapshot: ipc.Snapshot, memfd: int | None) -> None:
        """The answer to a TakeSnapshot; the owner closes `memfd`."""


class CameraWorker:
    """Supervises one camera worker process."""

    def __init__(self, name: str, owner: Owner, clock: Clock, starter: Starter, restarts: Restarts) -> None:
        self.name = name
        self.cameras: dict[str, Camera] = {}
        self.process: Worker | None = None
        self.restarts = restarts
        self.last_reason = ""
        self.start_due_ns: int | None = None
        """When it is to be started (again); None: not by itself."""
        self._owner = owner
        self._clock = clock
        self._starter = starter
        self._lanes: dict[str, int] = {}
        """Where on the progress page each camera's thread says what it does; the worker tells."""
        self._stopping = False
        self._trimmed = False
        self._failed = False
        """From a failure to the first camera that is open after it."""

    # ---- life

    def start(self) -> None:
        if self._stopping or self.process is not None:
            return
        self.start_due_ns = None
        self._lanes = {}
        try:
            self.process = self._starter.start(self.name, "vigild.camera", ipc.FromCamera, self._heard, self._exited)
        except Exception as error:  # as in `slot`
            self._fails(why_not_started(error), started=False)
            return
        for camera in self.cameras.values():
            # What has been played to its end is not played again.
            if not camera.ended:
                self._send_camera(camera)
        if self._trimmed:
            self.process.send(ipc.Trim(on=True))
        self._owner.worker_started(self)

    def stop(self) -> None:
        """For good."""
        self._stopping = True
        self.start_due_ns = None
        process = self.process
        if process is not None:
            process.send(ipc.Exit())
            self._clock.call_later(EXIT_GRACE_S, lambda: process.kill("did not stop when asked"))

    def add(self, camera: Camera) -> None:
        """Serve this camera too, or take up its changed settings."""
        self.cameras[camera.name] = camera
        if self.process is not None:
            self._send_camera(camera)

    def remove(self, camera: Camera) -> None:
        self.cameras.pop(camera.name, None)
        self._lanes.pop(camera.name, None)
        if self.process is not None:
            self.process.send(ipc.RemoveCamera(camera=camera.name))

    def send_limits(self, camera: Camera) -> None:
        if self.process is not None:
            limits = camera.limits
            self.process.send(
                ipc.SetLimits(camera=camera.name, max_fps=limits.max_fps or 0.0, holds=sorted(limits.holds))
            )

    def trim(self, on: bool) -> None:
        """See `Fleet.trim`; one that is started later is told then."""
        self._trimmed = on
        if self.process is not None:
            self.process.send(ipc.Trim(on=on))

    def _send_camera(self, camera: Camera) -> None:
        assert self.process is not None
        self.process.send(
            ipc.AddCamera(
                camera=camera.name,
                config=camera.config,
                resume_after=camera.last_frame,
                passed_over=camera.passed_over,
            )
        )
        if camera.limits.caps or camera.limits.holds:
            self.send_limits(camera)

    def check(self, now_ns: int) -> None:
        """Start it when that is due; kill it if it, or one of its cameras, hangs; notice an end that was not told."""
        process = self.process
        if process is None:
            if self.start_due_ns is None and not self._stopping:
                # Its end was told, and something that followed from it failed.
                self._fails("ended, and that was not taken in", started=False)
            elif self.start_due_ns is not None and now_ns >= self.start_due_ns:
                self.start()
            return
        if process.exit_status is not None:
            self._exited("ended")
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
                camera.lost(f"no answer for {spent_s:.1f} s {STAGE_TEXT[stage]}", now_ns)
                process.kill(f"camera {camera.name} hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
                return

    # ---- what the process says

    def _heard(self, message: Any, fds: list[int]) -> None:
        if isinstance(message, ipc.Snapshot):
            self._owner.snapshot_taken(message, fds.pop() if fds else None)
            return
        for fd in fds:
            os.close(fd)
        camera = self.cameras.get(message.camera)
        if camera is None:
            return
        if isinstance(message, ipc.CameraStats):
            camera.stats(message, self._clock.now_ns())
        elif isinstance(message, ipc.CameraLane):
            self._lanes[camera.name] = message.lane
        elif isinstance(message, ipc.CameraOpened):
            was_open = camera.source is not None
            camera.opened(message, self._clock.now_ns())
            self.restarts.works(self._clock.now_ns() / 1e9)
            if not was_open:  # else its size or rate is another one now
                self._owner.camera_opened(camera, message.detail)
            if self._failed:
                self._failed = False
                self._owner.worker_back(self)
        elif isinstance(message, ipc.CameraLost):
            camera.lost(message.reason, self._clock.now_ns())
            self._owner.camera_lost(camera, message.reason)
        elif isinstance(message, ipc.CameraEnded):
            self._owner.camera_ended(camera, message)

    def _exited(self, reason: str) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        for camera in self.cameras.values():
            camera.worker_died(self._clock.now_ns())
        if not self._stopping:
            self._fails(reason, outside=process.killed_from_outside)

    def _fails(self, reason: str, *, outside: bool = False, started: bool = True) -> None:
        now_ns = self._clock.now_ns()
        delay_s = self.restarts.died(now_ns / 1e9, outside=outside, started=started)
        self.last_reason = f"{self.name} {reason}; {self.restarts.in_words(now_ns / 1e9, delay_s)}"
        self._failed = True
        self.start_due_ns = now_ns + round(delay_s * 1e9)
        self._owner.worker_failed(self, self.last_reason, delay_s)
