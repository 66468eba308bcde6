"""The hub: which workers run, what is connected to what, and what clients are told of it.

    hub = Hub(config, server, sysfs_root=Path("/"))
    await hub.run()

Requests of clients are in `api`, the content of health in `health`; here is what happens by itself.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from vigild import log
from vigild.config.changes import Changes
from vigild.config.schema import Config
from vigild.config.source import redact
from vigild.fleet import orphans
from vigild.fleet.cameras import Camera
from vigild.fleet.cameraworker import CameraWorker
from vigild.fleet.detector import DetectorService
from vigild.fleet.detectorworker import Detector
from vigild.fleet.metrics import Samples
from vigild.fleet.process import running_pids
from vigild.fleet.roster import Roster
from vigild.hub.server import Server
from vigild.hub.snapshots import Snapshots
from vigild.ipc.messages import Detection, ModelReady, Result, Snapshot
from vigild.wire import messages as wire

TICK_S = 0.1
HEARTBEAT_S = 2.0
"""Protocol 1 promises one per camera at least this often: silence always means a fault."""

SWEEP_S = 0.5
"""Between looks for orphans, which cost a walk through /proc; they are given a second anyway."""

HUB_STALL_S = 1.0
"""A tick this late means that the hub itself was stopped or starved; workers are not blamed for it."""

STOP_S = 1.5
"""SIGTERM to exit takes at most 2 s; workers get this much of it."""

LAST_WORDS_S = 0.3
"""For clients to take what waits for them when the daemon is told to stop."""

LAST_RESULTS_S = 3.0
"""The same when the sources have ended: nobody waits for the daemon, and the last results are the point."""

ORPHANS_S = 0.3
"""For killed orphans to end, and for theirs."""

_log = log.logger("hub")


def as_wire(detections: list[Detection]) -> list[wire.Detection]:
    """As clients see them: a box to 1e-5 of the frame (half a pixel of an 8K one is 6e-5)."""
    return [
        wire.Detection(
            label=d.label,
            class_=d.class_,
            score=round(d.score, 4),
            box=(round(d.box[0], 5), round(d.box[1], 5), round(d.box[2], 5), round(d.box[3], 5)),
        )
        for d in detections
    ]


class Hub:
    """Implements the listeners of the camera workers and of the detector service."""

    def __init__(self, config: Config, *, exit_at_end: bool = False, sysfs_root: Path = Path("/")) -> None:
        self.config = config
        self.exit_at_end = exit_at_end
        self.instance = os.urandom(6).hex()
        self.started_ns = time.monotonic_ns()
        self.service = DetectorService(self, config.model, sysfs_root)
        self.roster = Roster(self, self.service)
        self.cameras = self.roster.cameras
        self.workers = self.roster.workers
        self.snapshots = Snapshots()
        self.server: Server | None = None
        self.model: ModelReady | None = None
        self.stages = {name: Samples() for name in ("decode", "convert", "wait", "copy", "invoke", "post", "total")}
        self.results = 0
        self._detector_down: str | None = None
        self._worker_down: dict[str, str] = {}
        self._finished: asyncio.Future[int] | None = None
        self._orphans = orphans.Orphans()
        self._grace_s = LAST_WORDS_S
        self._last_tick_ns = 0
        self._blameless_until_ns = 0
        self._next_heartbeat_ns = 0
        self._next_sweep_ns = 0

    # ---- life

    async def run(self) -> int:
        """Start everything and serve until `finish` is called; returns the exit status."""
        self._finished = asyncio.get_running_loop().create_future()
        for name, config in self.config.camera.items():
            self.roster.add(name, config, start=False)
        for worker in self.workers.values():
            worker.start()
        self.service.start()
        ticking = asyncio.ensure_future(self._tick_for_ever())
        try:
            return await self._finished
        finally:
            ticking.cancel()
            await self._stop()

    def finish(self, status: int, why: str = "") -> None:
        """Stop the daemon (once)."""
        if self._finished is not None and not self._finished.done():
            if why:
                _log.info("%s", why)
            self._finished.set_result(status)

    async def _stop(self) -> None:
        self.publish_event("stopping", reason="the daemon stops")
        self.service.stop()
        for worker in self.workers.values():
            worker.stop()
        deadline_s = time.monotonic() + STOP_S
        while running_pids() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.01)
        for pid in running_pids():
            # In uninterruptible sleep, or it would have ended when it was killed.
            _log.warning("worker %d does not end; it is left behind", pid)
        while not orphans.end(running_pids()) and time.monotonic() < deadline_s + ORPHANS_S:
            await asyncio.sleep(0.01)
        if self.server is not None:
            await self.server.close(self._grace_s)

    def pause(self, names: list[str], paused: bool) -> None:
        """Stop or resume inference on these cameras."""
        for name in names:
            if self.roster.pause(name, paused):
                self.publish_event("paused" if paused else "resumed", camera=name, reason="asked by a client")
        self._tell_statuses(time.monotonic_ns())

    # ---- what camera workers tell

    def camera_worker_started(self, worker: CameraWorker) -> None:
        for name in worker.cameras:
            self.roster.connect(name)

    def camera_worker_died(self, worker: CameraWorker, reason: str) -> None:
        for name in worker.cameras:
            self.roster.disconnect(name)
            self.publish_event("worker_died", camera=name, reason=reason)
        self._worker_down[worker.name] = reason
        self._tell_statuses(time.monotonic_ns())

    def camera_opened(self, camera: Camera) -> None:
        assert camera.source is not None
        self.publish_event("camera_back", camera=camera.name, reason=camera.source.detail)
        worker = self.roster.worker_of(camera.name)
        if self._worker_down.pop(worker.name, None) is not None:
            self.publish_event("worker_back", camera=camera.name, reason=f"{worker.name} works again")
        # Its first result may take a moment: until then it is not stale.
        camera.last_result_ns = max(camera.last_result_ns, time.monotonic_ns())
        self._tell_statuses(time.monotonic_ns())

    def camera_lost(self, camera: Camera, reason: str) -> None:
        self.publish_event("camera_lost", camera=camera.name, reason=reason)
        self._tell_statuses(time.monotonic_ns())

    def camera_ended(self, camera: Camera, frames: int) -> None:
        # Its last results left the detector before their frames were acknowledged, so they are
        # here already, but perhaps not read: they come before the end.
        self.service.drain()
        camera.ended = True
        camera.reason = "the source has ended"
        self.roster.disconnect(camera.name)
        reason = f"{redact(camera.config.source)} ended after {frames} frames"
        self.publish_event("ended", camera=camera.name, reason=reason)
        self._tell_statuses(time.monotonic_ns())
        if self.exit_at_end and all(other.ended for other in self.cameras.values()):
            self._grace_s = LAST_RESULTS_S
            self.finish(0)

    def snapshot(self, snapshot: Snapshot, memfd: int | None) -> None:
        self.snapshots.arrived(snapshot, memfd)

    # ---- what the detector service tells

    def model_ready(self, detector: Detector) -> bool:
        for name, camera in self.cameras.items():
            # A file that is read frame by frame feeds one detector at a time; see model_in_service.
            if detector is self.service.current or camera.config.pace == "live":
                self.roster.connect(name, detector)
        return self.roster.serves(detector)

    def model_in_service(self, detector: Detector, previous: Detector | None) -> None:
        changed = self.model is None or detector.ready is None or self.model.sha256 != detector.ready.sha256
        self.model = detector.ready
        if previous is not None:
            self.roster.disconnect(detector=previous)
            self.roster.connect_missing(detector)
        if changed or previous is not None:
            self.publish_event("model", model=self.model_info())

    def result(self, detector: Detector, result: Result) -> None:
        camera = self.cameras.get(result.camera)
        now_ns = time.monotonic_ns()
        if camera is None or not camera.result(result, now_ns):
            return
        self.results += 1
        if self._detector_down is not None:
            self._detector_down = None
            self.publish_event("worker_back", reason="detector works again")
        stages = self.stages
        stages["decode"].add(result.decode_ns / 1e6)
        stages["convert"].add(result.convert_ns / 1e6)
        stages["wait"].add(result.wait_ns / 1e6)
        stages["copy"].add(result.copy_ns / 1e6)
        stages["invoke"].add(result.invoke_ns / 1e6)
        stages["post"].add(result.post_ns / 1e6)
        stages["total"].add((now_ns - result.captured_ns) / 1e6)
        status = camera.status(now_ns, self.detector_ok)
        if status != camera.told:
            self._tell_status(camera, status)
        assert detector.ready is not None
        if self.server is not None:
            self.server.publish(
                wire.Detections(
                    camera=result.camera,
                    frame=result.frame,
                    size=(result.width, result.height),
                    time=wire.wall_time(result.wall_ns),
                    captured_ns=result.captured_ns,
                    age_ms=round((now_ns - result.captured_ns) / 1e6, 3),
                    infer_ms=round(result.invoke_ns / 1e6, 3),
                    model=detector.ready.name,
                    variant=detector.ready.variant,
                    status=status,
                    detections=as_wire(result.detections),
                    truncated=result.truncated,
                    file=result.file or camera.file or None,
                )
            )

    def detector_died(self, detector: Detector, reason: str) -> None:
        self._detector_down = reason
        self.publish_event("worker_died", reason=reason)
        self._tell_statuses(time.monotonic_ns())

    def delegate_changed(self, reason: str) -> None:
        self.publish_event("delegate", reason=reason)
        self._tell_statuses(time.monotonic_ns())

    def detector_gone(self, detector: Detector) -> None:
        self.roster.disconnect(detector=detector)

    def model_unusable(self, message: str) -> None:
        _log.error("%s", message)
        self.publish_event("model_unusable", reason=message)
        self.finish(1)

    # ---- what clients are told

    @property
    def detector_ok(self) -> bool:
        """The detector runs, on the best rung."""
        current = self.service.current
        return (
            current is not None
            and current.ready is not None
            and self._detector_down is None
            and not self.service.lowered
        )

    def should_progress(self, now_ns: int) -> bool:
        """Whether results ought to come: some camera delivers, and the detector is not being restarted."""
        delivering = any(c.source is not None and not c.ended and not c.paused for c in self.cameras.values())
        return delivering and self._detector_down is None and self.service.current is not None

    def take_up(self, config: Config, changes: Changes) -> None:
        """Put a validated configuration in force; the model, if it changed, has been replaced already."""
        self.config = config
        log.set_level(config.daemon.log_level)
        for name in changes.cameras_removed:
            self.roster.remove(name)
            self.publish_event("camera_removed", camera=name, reason="no longer in the configuration")
        for name in changes.cameras_changed:
            self.roster.change(name, config.camera[name])
        for name in changes.cameras_added:
            self.roster.add(name, config.camera[name])
            self.publish_event("camera_added", camera=name, reason=redact(config.camera[name].source))
        self.service.set_filter(config.model)

    def model_info(self) -> wire.ModelInfo | None:
        if self.model is None:
            return None
        return wire.ModelInfo(
            name=self.model.name, variant=self.model.variant, sha256=self.model.sha256, labels=self.model.labels
        )

    def publish_event(
        self, kind: str, *, camera: str | None = None, reason: str | None = None, model: wire.ModelInfo | None = None
    ) -> None:
        log.event(kind, reason or (model.name if model else ""), camera=camera)
        if self.server is not None:
            self.server.publish(
                wire.Event(kind=kind, camera=camera, reason=reason, time=wire.wall_time(time.time_ns()), model=model)
            )

    def _tell_status(self, camera: Camera, status: wire.Status) -> None:
        camera.told = status
        if self.server is not None:
            self.server.publish(wire.Heartbeat(camera=camera.name, status=status, frame=camera.last_frame))

    def _tell_statuses(self, now_ns: int, even_unchanged: bool = False) -> None:
        for camera in self.cameras.values():
            status = camera.status(now_ns, self.detector_ok)
            if even_unchanged or status != camera.told:
                self._tell_status(camera, status)

    # ---- the clock

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._tick(time.monotonic_ns())

    def _tick(self, now_ns: int) -> None:
        late_s = (now_ns - self._last_tick_ns) / 1e9 - TICK_S if self._last_tick_ns else 0.0
        self._last_tick_ns = now_ns
        if late_s > HUB_STALL_S:
            _log.warning("the hub itself was stopped or starved for %.1f s", late_s)
            # Workers may have waited for us, or been stopped with us: let them come round first.
            self._blameless_until_ns = now_ns + int(2e9)
        if now_ns >= self._blameless_until_ns:
            self.service.check(now_ns)
            for worker in self.workers.values():
                worker.check(now_ns)
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + int(SWEEP_S * 1e9)
            self._orphans.sweep(running_pids(), now_ns / 1e9)
        heartbeat = now_ns >= self._next_heartbeat_ns
        if heartbeat:
            self._next_heartbeat_ns = now_ns + int(HEARTBEAT_S * 1e9)
        self._tell_statuses(now_ns, even_unchanged=heartbeat)
