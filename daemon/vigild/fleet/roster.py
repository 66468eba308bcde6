"""The cameras, the processes they live in, and the rings that connect them to detectors.

    roster = Roster(hub, service)
    roster.add("front", config)
    roster.connect("front")                    # to the detector in service
    roster.disconnect(detector=previous)

What happens is told by the workers to the hub; here is only who lives where and is connected to what.
"""

from __future__ import annotations

from vigild.config.schema import CameraConfig
from vigild.fleet.cameras import Camera
from vigild.fleet.cameraworker import CameraWorker, Listener
from vigild.fleet.detector import DetectorService
from vigild.fleet.detectorworker import Detector
from vigild.fleet.links import Link
from vigild.ipc.messages import SetLimits

SHARED_WORKER = "cameras"
"""Name of the process of all cameras with `isolation = "shared"`."""


class Roster:
    """Keeps cameras, camera workers and links in step."""

    def __init__(self, listener: Listener, service: DetectorService) -> None:
        self._listener = listener
        self._service = service
        self.cameras: dict[str, Camera] = {}
        self.workers: dict[str, CameraWorker] = {}
        self.links: dict[tuple[str, Detector], Link] = {}

    # ---- who lives where

    def add(self, name: str, config: CameraConfig, start: bool = True) -> None:
        """Take in a camera that was not there before."""
        camera = self.cameras[name] = Camera(name, config)
        worker = self._house(camera)
        if start:
            worker.start()
            self.connect(name)

    def _house(self, camera: Camera) -> CameraWorker:
        """Give the camera to the worker that its settings ask for."""
        name = SHARED_WORKER if camera.config.isolation == "shared" else f"camera.{camera.name}"
        worker = self.workers.setdefault(name, CameraWorker(name, self._listener))
        worker.add(camera)
        return worker

    def worker_of(self, camera: str) -> CameraWorker:
        return next(worker for worker in self.workers.values() if camera in worker.cameras)

    def remove(self, name: str) -> None:
        """Close a camera for good."""
        worker = self.worker_of(name)
        self.disconnect(name)
        worker.remove(self.cameras.pop(name))
        if not worker.cameras:
            worker.stop()
            del self.workers[worker.name]

    def change(self, name: str, config: CameraConfig) -> None:
        """Take up new settings of a camera; its worker reopens the source if they need that."""
        camera = self.cameras[name]
        if config.isolation != camera.config.isolation:
            # Another process, but the same camera: its frames are numbered on, a pause stays.
            self.remove(name)
            camera.moved(config)
            self.cameras[name] = camera
            self._house(camera).start()
            self.connect(name)
            return
        rewire = camera.ended or (config.pace, config.priority) != (camera.config.pace, camera.config.priority)
        camera.config = config
        camera.ended = False
        self.worker_of(name).add(camera)
        if rewire:
            self.disconnect(name)
            self.connect(name)

    def pause(self, name: str, paused: bool) -> bool:
        """Stop or resume delivering frames; whether that changed anything."""
        camera = self.cameras[name]
        if camera.paused == paused:
            return False
        camera.paused = paused
        process = self.worker_of(name).process
        if process is not None:
            process.send(SetLimits(camera=name, holds=["client"] if paused else []))
        return True

    # ---- what is connected to what

    def connect(self, name: str, detector: Detector | None = None) -> None:
        """Make a ring between a camera and a detector (the one in service by default), if both can have one."""
        detector = detector or self._service.current
        process = self.worker_of(name).process
        if detector is None or detector.ready is None or process is None or self.cameras[name].ended:
            return
        if old := self.links.pop((name, detector), None):
            old.drop()
        self.links[name, detector] = Link(
            name, self.cameras[name].config, detector.ready.spec, process, detector.process
        )

    def connect_missing(self, detector: Detector) -> None:
        """Connect every camera that is not connected to this detector yet."""
        for name in self.cameras:
            if (name, detector) not in self.links:
                self.connect(name, detector)

    def disconnect(self, name: str | None = None, detector: Detector | None = None) -> None:
        """Drop the links of a camera, or of a detector."""
        for key in [
            key for key in self.links if (name is None or key[0] == name) and (detector is None or key[1] is detector)
        ]:
            self.links.pop(key).drop()

    def serves(self, detector: Detector) -> bool:
        """Whether any camera is connected to it."""
        return any(key[1] is detector for key in self.links)
