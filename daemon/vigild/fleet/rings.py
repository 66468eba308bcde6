"""The rings between cameras and detectors: who is connected to whom.

    rings = Rings(starter)
    rings.connect(camera, config, camera_process, slot_key, detector_process, spec, group)
    rings.drop(camera="front")

A ring is made by the hub, which gives each side its end and keeps nothing; its memory goes with the
last mapping. Of the rings of one camera with the same group a frame goes into one, whichever detector is
free; each group gets every frame that is wanted.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable

from vigild.config.schema import CameraConfig
from vigild.fleet.process import Starter, Worker
from vigild.ipc.messages import AttachCamera, AttachDetector, Detach
from vigild.tensor import TensorSpec

LIVE_SLOTS = 2
"""One under conversion while the other waits at the detector; more would only be older frames."""

EVERY_SLOTS = 4
"""Enough that decoding one slow frame (a key frame) does not leave the detector without work."""

_numbers = itertools.count(1)


class Ring:
    """One of them."""

    def __init__(self, number: int, camera: Worker, detector: Worker) -> None:
        self.number = number
        self._camera = camera
        self._detector = detector

    def joins(self, camera: Worker, detector: Worker) -> bool:
        """Whether it is these two processes that have its ends, and not ones before them."""
        return self._camera is camera and self._detector is detector

    def drop(self) -> None:
        """Tell whoever still lives to close its end."""
        self._camera.send(Detach(link=self.number))
        self._detector.send(Detach(link=self.number))


class Rings:
    """All of them, by camera and by detector."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._rings: dict[tuple[str, Hashable], Ring] = {}

    def join(self, camera: str, detector: Hashable, source: Worker | None, sink: Worker | None) -> bool:
        """Whether there is one, and between these processes."""
        ring = self._rings.get((camera, detector))
        return ring is not None and source is not None and sink is not None and ring.joins(source, sink)

    def __len__(self) -> int:
        return len(self._rings)

    def of_detector(self, detector: Hashable) -> list[str]:
        """The cameras that are connected to it."""
        return [camera for camera, key in self._rings if key == detector]

    def of_camera(self, camera: str) -> list[Hashable]:
        """The detectors that it is connected to."""
        return [key for name, key in self._rings if name == camera]

    def connect(
        self,
        camera: str,
        config: CameraConfig,
        source: Worker,
        detector: Hashable,
        sink: Worker,
        spec: TensorSpec,
        group: int,
    ) -> None:
        """Make a ring between the two, in place of the one there was. Raises OSError; then there is none."""
        self.drop(camera, detector)
        every = config.pace == "every"
        slots = EVERY_SLOTS if every else LIVE_SLOTS
        number = next(_numbers)
        ends = self._starter.ring(f"ring-{camera}", spec.nbytes, slots)
        try:
            # The detector first: the camera may send as soon as it has its end.
            sink.send(
                AttachDetector(
                    link=number, camera=camera, spec=spec, slots=slots, keep_every=every, priority=config.priority
                ),
                [ends.memfd, ends.detector_fd],
            )
            source.send(
                AttachCamera(link=number, camera=camera, spec=spec, slots=slots, group=group),
                [ends.memfd, ends.camera_fd],
            )
        finally:
            ends.close()
        self._rings[camera, detector] = Ring(number, source, sink)

    def drop(self, camera: str | None = None, detector: Hashable | None = None) -> None:
        """Close the rings of a camera, or of a detector, or the one between the two."""
        for key in [
            key
            for key in self._rings
            if (camera is None or key[0] == camera) and (detector is None or key[1] == detector)
        ]:
            self._rings.pop(key).drop()
