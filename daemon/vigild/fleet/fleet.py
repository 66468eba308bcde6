"""Who runs and who feeds whom: the detectors, the cameras, and the rings between them.

    fleet = Fleet(config, clock, starter, emit)
    fleet.start()
    fleet.check(now_ns)                                      # often
    fleet.limit("front", limits, "asked by a client")
    fleet.replace(model_config, done)

What happens is told as `events`. Time, processes and chance come from outside; nothing here waits.
Supervision is by level, not by edge: every start that is due and every ring that is missing is seen by
`check`, so that a call that was lost or failed costs a tick, never the daemon.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from vigild import log
from vigild.config.schema import CameraConfig, Config, ModelConfig
from vigild.config.source import redact
from vigild.fleet import events
from vigild.fleet.camera import Camera
from vigild.fleet.camera_worker import CameraWorker
from vigild.fleet.clock import Clock
from vigild.fleet.detectors import Detectors
from vigild.fleet.limits import Limits
from vigild.fleet.process import Starter, Worker
from vigild.fleet.restarts import Restarts
from vigild.fleet.rings import Rings
from vigild.fleet.slot import Slot
from vigild.fleet.takeover import Done
from vigild.ipc import messages as ipc

SHARED_WORKER = "cameras"
"""Name of the process of all cameras with `isolation = "shared"`."""

CAMERA_BACKOFF_S = 5.0
"""A camera process is small and quickly started: it is not waited for longer."""

RING_RETRY_S = 1.0
"""After a ring could not be made (no descriptor, no memory)."""

_log = log.logger("hub")


class Fleet:
    """Implements `camera_worker.Owner` and `detectors.Wiring`."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        starter: Starter,
        emit: events.Emit,
        *,
        root: Path = Path("/"),
        random: Callable[[], float] = random.random,
    ) -> None:
        """`root`: what /sys and /dev are below. `random`: numbers from 0 to 1, for jitter."""
        self.cameras: dict[str, Camera] = {}
        self.workers: dict[str, CameraWorker] = {}
        self.detectors = Detectors(config.model, clock, starter, emit, self, root, random)
        self._config = config
        self._clock = clock
        self._starter = starter
        self._emit = emit
        self._random = random
        self._rings = Rings(starter)
        self._ring_retry_ns = 0
        self._departing: list[CameraWorker] = []
        self._stopping = False

    # ---- life

    def start(self) -> None:
        """Start everything of the configuration."""
        for name, config in self._config.camera.items():
            self._house(self._new_camera(name, config))
        for worker in list(self.workers.values()):
            worker.start()
        self.detectors.start()

    def stop(self) -> None:
        """Tell everything to end; processes that do not are killed."""
        self._stopping = True
        self.detectors.stop()
        for worker in self.workers.values():
            worker.stop()

    def check(self, now_ns: int) -> None:
        """Start what is due, connect what is not connected, kill what hangs."""
        self._guarded("detectors", lambda: self.detectors.check(now_ns))
        for worker in [*self.workers.values(), *self._departing]:
            self._guarded(worker.name, lambda worker=worker: worker.check(now_ns))  # type: ignore[misc]
        self._departing = [worker for worker in self._departing if worker.process is not None]
        if not self._stopping and now_ns >= self._ring_retry_ns:
            self._guarded("rings", self._connect_missing)

    def _guarded(self, where: str, call: Callable[[], None]) -> None:
        """One part's fault must not keep the others from being looked after."""
        try:
            call()
        except Exception as error:
            _log.exception("a fault of the daemon's own while it looked after %s", where)
            self._emit(events.FaultOfOurs(where=where, error=repr(error)))

    def _soon(self, delay_s: float) -> None:
        """`check` comes by often; after a short delay it need not be waited for."""
        self._clock.call_later(delay_s, lambda: self.check(self._clock.now_ns()))

    def processes(self) -> dict[str, int]:
        """The process of each worker that has one, by name."""
        pids = {worker.name: worker.process.pid for worker in self.workers.values() if worker.process is not None}
        for slot in self.detectors.slots:
            if slot.process is not None:
                pids[slot.name] = slot.process.pid
        for takeover in self.detectors.takeovers:
            if takeover.candidate.process is not None:
                pids[f"{takeover.place.name if takeover.place else 'detector'}.next"] = takeover.candidate.process.pid
        return pids

    @property
    def expected_to_work(self) -> bool:
        """Whether results ought to come: some camera delivers, and some detector is not being restarted."""
        delivering = any(c.source is not None and not c.ended and c.limits.runs for c in self.cameras.values())
        return delivering and self.detectors.expected_to_work

    # ---- detectors

    def replace(self, config: ModelConfig, done: Done, *, beside: bool = True) -> None:
        """Run another [model] instead (see `Detectors.replace`)."""
        self.detectors.replace(config, done, beside=beside)

    def set_model(self, config: ModelConfig) -> None:
        """Take up the keys of [model] that need no new detector."""
        self.detectors.set_config(config)

    def trim(self, on: bool) -> None:
        """Have every worker give back the memory that it can do without; `on`: and keep as little from now on."""
        for slot in self.detectors.slots:
            if slot.process is not None:
                slot.process.send(ipc.Trim(on=on))
        for worker in self.workers.values():
            worker.trim(on)

    def recycle(self, worker: str, reason: str) -> bool:
        """End this process, a camera's or a detector's, so that it is started anew; whether there is one."""
        process = self._process_named(worker)
        if process is not None:
            process.kill(reason)
        return process is not None

    def _process_named(self, name: str) -> Worker | None:
        for slot in self.detectors.slots:
            if slot.name == name:
                return slot.process
        return self.workers[name].process if name in self.workers else None

    # ---- cameras

    def _new_camera(self, name: str, config: CameraConfig) -> Camera:
        camera = self.cameras[name] = Camera(name, config)
        return camera

    def _house(self, camera: Camera) -> CameraWorker:
        """Give the camera to the worker that its settings ask for."""
        name = SHARED_WORKER if camera.config.isolation == "shared" else f"camera.{camera.name}"
        worker = self.workers.get(name)
        if worker is None:
            restarts = Restarts(self._random, max_delay_s=CAMERA_BACKOFF_S)
            worker = self.workers[name] = CameraWorker(name, self, self._clock, self._starter, restarts)
        worker.add(camera)
        return worker

    def worker_of(self, camera: str) -> CameraWorker:
        return next(worker for worker in self.workers.values() if camera in worker.cameras)

    def add_camera(self, name: str, config: CameraConfig) -> None:
        """Take in a camera that was not there before."""
        self._house(self._new_camera(name, config)).start()
        self._connect_missing()
        self._emit(events.CameraAdded(camera=name, source=redact(config.source)))

    def remove_camera(self, name: str) -> None:
        """Close a camera for good."""
        self._evict(name)
        self._emit(events.CameraRemoved(camera=name))

    def _evict(self, name: str) -> Camera:
        camera, worker = self.cameras.pop(name), self.worker_of(name)
        self._rings.drop(camera=name)
        worker.remove(camera)
        if not worker.cameras:
            del self.workers[worker.name]
            worker.stop()
            self._departing.append(worker)
        return camera

    def change_camera(self, name: str, config: CameraConfig) -> None:
        """Take up new settings of a camera; its worker reopens the source if they need that."""
        camera = self.cameras[name]
        if config.isolation != camera.config.isolation:
            # Another process, but the same camera: its frames are numbered on, its limits stay.
            self._evict(name)
            camera.moved(config, self._clock.now_ns())
            self.cameras[name] = camera
            self._house(camera).start()
            self._connect_missing()
            return
        rewire = camera.ended or (config.pace, config.priority) != (camera.config.pace, camera.config.priority)
        camera.config = config
        camera.ended = False
        self.worker_of(name).add(camera)
        if rewire:
            self._rings.drop(camera=name)
            self._connect_missing()

    def limit(self, name: str, limits: Limits, reason: str) -> bool:
        """Put these limits in force; whether that changed anything. The source stays open."""
        camera = self.cameras[name]
        before = camera.limits
        if limits == before:
            return False
        camera.limits = limits
        if (limits.max_fps, sorted(limits.holds)) != (before.max_fps, sorted(before.holds)):
            self.worker_of(name).send_limits(camera)
        self._emit(events.LimitsChanged(camera=name, before=before, limits=limits, reason=reason))
        return True

    # ---- rings

    def connect(self, slot: Slot, *, serves: bool) -> bool:
        """See `Wiring`."""
        for camera in self.cameras.values():
            source = self.worker_of(camera.name).process
            if not self._rings.join(camera.name, slot, source, slot.process) and (
                serves or camera.config.pace == "live"
            ):
                self._connect(camera, slot)
        return bool(self._rings.of_detector(slot))

    def disconnect(self, slot: Slot) -> None:
        """See `Wiring`."""
        had = self._rings.of_detector(slot)
        self._rings.drop(detector=slot)
        if any(self.cameras[name].config.pace == "every" for name in had if name in self.cameras):
            self._connect_missing()  # another slot goes on with their frames

    def _connect_missing(self) -> None:
        for slot in self.detectors.slots:
            if slot.ready is not None:
                self.connect(slot, serves=True)

    def _connect(self, camera: Camera, slot: Slot) -> None:
        """Make a ring between the two, if both can have one."""
        source, sink = self.worker_of(camera.name).process, slot.process
        if slot.ready is None or source is None or sink is None or camera.ended:
            return
        # A source that is read frame by frame feeds one detector at a time: its order is kept, and what that one
        # has not acknowledged when it dies goes to the next.
        if camera.config.pace == "every" and any(
            other in self.detectors.slots for other in self._rings.of_camera(camera.name) if other is not slot
        ):
            return
        try:
            self._rings.connect(camera.name, camera.config, source, slot, sink, slot.ready.spec, slot.group)
        except OSError as error:
            self._ring_retry_ns = self._clock.now_ns() + round(RING_RETRY_S * 1e9)
            reason = f"no ring to {slot.name} can be made ({error.strerror or error}); trying again"
            self._emit(events.Noticed(kind="no_ring", camera=camera.name, reason=reason))

    # ---- what camera workers say

    def worker_started(self, worker: CameraWorker) -> None:
        self._connect_missing()

    def worker_failed(self, worker: CameraWorker, reason: str, delay_s: float) -> None:
        self._soon(delay_s)
        self._emit(
            events.CameraWorkerFailed(worker=worker.name, cameras=list(worker.cameras), reason=reason, delay_s=delay_s)
        )
        for name in worker.cameras:
            self._rings.drop(camera=name)

    def worker_back(self, worker: CameraWorker) -> None:
        self._emit(events.CameraWorkerBack(worker=worker.name, cameras=list(worker.cameras)))

    def camera_opened(self, camera: Camera, detail: str) -> None:
        self._emit(events.CameraOpened(camera=camera.name, detail=detail))

    def camera_lost(self, camera: Camera, reason: str) -> None:
        self._emit(events.CameraLost(camera=camera.name, reason=reason))

    def camera_ended(self, camera: Camera, message: ipc.CameraEnded) -> None:
        # Its last results left the detectors before their frames were acknowledged, so they are here
        # already, but perhaps not read: they come before the end.
        for slot in self.detectors.slots:
            if slot.process is not None and slot.process.exit_status is None:
                slot.process.drain()
        camera.ended = True
        camera.lost_files = message.lost
        camera.reason = "the source has ended"
        self._rings.drop(camera=camera.name)
        reason = f"{redact(camera.config.source)} ended after {message.frames} frames"
        if message.lost:
            reason += f"; {message.lost} of its pictures could not be read"
        self._emit(events.CameraEnded(camera=camera.name, reason=reason, lost=message.lost))

    def snapshot_taken(self, snapshot: ipc.Snapshot, memfd: int | None) -> None:
        self._emit(events.SnapshotTaken(snapshot=snapshot, memfd=memfd))
