"""A ring between a camera and a detector: the hub makes it and gives each side its end.

link = connect(links, camera_worker, detector_worker, "front", spec, pace="live", priority=1)
"""

from __future__ import annotations

import itertools
import os

from vigild.config.schema import CameraConfig
from vigild.fleet.process import WorkerProcess
from vigild.ipc.channel import socketpair
from vigild.ipc.messages import AttachCamera, AttachDetector, Detach
from vigild.ipc.ring import make_memfd
from vigild.tensor import TensorSpec

LIVE_SLOTS = 2
"""One under conversion while the other waits at the detector; more would only be older frames."""

EVERY_SLOTS = 4
"""Enough that decoding one slow frame (a key frame) does not leave the detector without work."""

_numbers = itertools.count(1)


class Link:
    """One ring. Dropping both ends closes it; its memory goes with the last mapping."""

    def __init__(
        self, camera: str, config: CameraConfig, spec: TensorSpec, source: WorkerProcess, sink: WorkerProcess
    ) -> None:
        self.number = next(_numbers)
        self.camera = camera
        self.source = source
        self.sink = sink
        every = config.pace == "every"
        slots = EVERY_SLOTS if every else LIVE_SLOTS
        memfd = make_memfd(f"ring-{camera}", spec.nbytes, slots)
        camera_end, detector_end = socketpair()
        try:
            # The detector first: the camera may send as soon as it has its end.
            sink.send(
                AttachDetector(
                    link=self.number,
                    camera=camera,
                    spec=spec,
                    slots=slots,
                    keep_every=every,
                    priority=config.priority,
                ),
                [memfd, detector_end.fileno()],
            )
            source.send(
                AttachCamera(link=self.number, camera=camera, spec=spec, slots=slots), [memfd, camera_end.fileno()]
            )
        finally:
            os.close(memfd)
            camera_end.close()
            detector_end.close()

    def drop(self) -> None:
        """Tell whoever still lives to close its end."""
        self.source.send(Detach(link=self.number))
        self.sink.send(Detach(link=self.number))
