"""A real camera worker process, with the test in the place of the hub and of the detector.

with CameraRig() as rig:
    rig.add("front", CameraConfig(source="testcard"))
    link = rig.attach("front", TensorSpec(width=64, height=48))
    frame = link.next()
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vigild.config.schema import CameraConfig
from vigild.ipc.channel import Channel, ChannelClosed, socketpair
from vigild.ipc.messages import (
    AddCamera,
    AttachCamera,
    CameraLane,
    CameraStats,
    Detach,
    Exit,
    FromCamera,
    RemoveCamera,
    SetLimits,
    Snapshot,
    TakeSnapshot,
)
from vigild.ipc.progress import Progress, Stage
from vigild.ipc.ring import FilledSlot, RingClosed, RingReader, make_memfd
from vigild.tensor import TensorSpec

TIMEOUT_S = 90.0
"""To detect a hang on a busy machine."""

SPEC = TensorSpec(width=80, height=64, mean=(0.0,) * 3, std=(1.0,) * 3)
"""Raw bytes, RGB."""

M = TypeVar("M")


class RigLink:
    """The detector's end of a ring."""

    def __init__(self, rig: CameraRig, number: int, spec: TensorSpec, ring: RingReader) -> None:
        self.rig = rig
        self.number = number
        self.spec = spec
        self.ring = ring
        self._arrived: list[FilledSlot] = []

    def poll(self, timeout_s: float) -> FilledSlot | None:
        """The next frame, or None if none comes in time."""
        if not self._arrived and select.select([self.ring], [], [], timeout_s)[0]:
            self._arrived = self.ring.receive()
        return self._arrived.pop(0) if self._arrived else None

    def next(self, timeout_s: float = TIMEOUT_S) -> FilledSlot:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            frame = self.poll(0.1)
            if frame is not None:
                return frame
            self.rig.check()
        raise AssertionError(f"no frame within {timeout_s} s; the worker said {self.rig.messages[-5:]}")

    def tensor(self, frame: FilledSlot) -> NDArray[Any]:
        """A copy of the frame's tensor, in its shape."""
        data = np.frombuffer(self.ring.slot(frame.slot), self.spec.dtype).reshape(self.spec.shape)
        return data.copy()

    def take(self, count: int, ready_ns: int = 0) -> list[FilledSlot]:
        """Receive and acknowledge `count` frames."""
        frames = []
        for _ in range(count):
            frame = self.next()
            self.ring.give_back(frame, ready_ns)
            frames.append(frame)
        return frames

    def drain(self, timeout_s: float = TIMEOUT_S) -> list[FilledSlot]:
        """Acknowledge all frames until the camera says that its source ended."""
        from vigild.ipc.messages import CameraEnded

        frames: list[FilledSlot] = []
        deadline_s = time.monotonic() + timeout_s
        while not self.rig.seen(CameraEnded):
            assert time.monotonic() < deadline_s, f"no end; got {[f.frame for f in frames]}"
            frame = self.poll(0.05)
            if frame is not None:
                frames.append(frame)
                self.ring.give_back(frame)
        return frames

    def close(self) -> None:
        self.ring.close()


class CameraRig:
    """The worker process and its control channel."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        self.messages: list[Any] = []
        self.progress = Progress.create("test")
        hub_end, worker_end = socketpair()
        self.channel: Channel[Any] = Channel(hub_end, FromCamera)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vigild.camera",
                f"--control={worker_end.fileno()}",
                f"--progress={self.progress.fd}",
                f"--parent={os.getpid()}",
            ],
            pass_fds=(worker_end.fileno(), self.progress.fd),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        worker_end.close()
        self._numbers = 0
        self._log: str | None = None
        self._links: list[RigLink] = []
        self.fds: list[int] = []

    def __enter__(self) -> CameraRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        log = self.end()
        if kind is not None:
            sys.stderr.write(f"---- the worker's log\n{log[-8000:]}\n----\n")
        for link in self._links:
            link.close()
        self.channel.close()
        for fd in self.fds:
            os.close(fd)

    def end(self) -> str:
        """Kill the worker if it still runs; returns all that it logged."""
        if self._log is None:
            self.process.kill()
            self._log = self.process.communicate()[1].decode(errors="replace")
        return self._log

    # ---- the hub's part

    def add(self, camera: str, config: CameraConfig, resume_after: int = 0) -> None:
        self.channel.send(AddCamera(camera=camera, config=config, resume_after=resume_after))

    def remove(self, camera: str) -> None:
        self.channel.send(RemoveCamera(camera=camera))

    def limit(self, camera: str, max_fps: float = 0.0, holds: Sequence[str] = ()) -> None:
        self.channel.send(SetLimits(camera=camera, max_fps=max_fps, holds=list(holds)))

    def attach(self, camera: str, spec: TensorSpec = SPEC, slots: int = 2) -> RigLink:
        self._numbers += 1
        memfd = make_memfd("test", spec.nbytes, slots)
        camera_end, detector_end = socketpair()
        self.channel.send(
            AttachCamera(link=self._numbers, camera=camera, spec=spec, slots=slots), [memfd, camera_end.fileno()]
        )
        camera_end.close()
        link = RigLink(self, self._numbers, spec, RingReader(memfd, detector_end, spec.nbytes, slots))
        self._links.append(link)
        return link

    def detach(self, link: RigLink) -> None:
        self.channel.send(Detach(link=link.number))

    def snapshot(self, camera: str, results: list[Any], annotate: bool = False) -> tuple[Snapshot, bytes]:
        """The answer and the JPEG (empty with an error)."""
        self.channel.send(TakeSnapshot(request=7, camera=camera, results=results, annotate=annotate))
        answer = self.until(Snapshot)
        if not answer.bytes_:
            return answer, b""
        fd = self.fds.pop()
        data = os.pread(fd, answer.bytes_, 0)
        os.close(fd)
        return answer, data

    def exit(self, timeout_s: float = TIMEOUT_S) -> int:
        """Say Exit; returns the exit status."""
        self.channel.send(Exit())
        return self.process.wait(timeout_s)

    def pump(self, timeout_s: float = 0.0) -> bool:
        """Take in what the worker said; whether there was something."""
        if not select.select([self.channel], [], [], timeout_s)[0]:
            return False
        message, fds = self.channel.receive()
        self.fds += fds
        self.messages.append(message)
        return True

    def check(self) -> None:
        """Take in messages; complain if the worker is gone."""
        try:
            while self.pump():
                pass
        except ChannelClosed:
            raise AssertionError(f"the worker ended: {self.process.wait(5)}") from None

    def seen(self, kind: type[M]) -> M | None:
        """The last message of this kind so far."""
        self.check()
        return next((m for m in reversed(self.messages) if isinstance(m, kind)), None)

    def until(self, kind: type[M], timeout_s: float = TIMEOUT_S, **fields: Any) -> M:
        """The next message of this kind and with these fields, not looking at those that came before."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not self.pump(left_s):
                break
            message = self.messages[-1]
            if isinstance(message, kind) and all(getattr(message, k) == v for k, v in fields.items()):
                return message
        others = [m for m in self.messages if not isinstance(m, CameraStats)][-5:]
        raise AssertionError(f"no {kind.__name__} within {timeout_s} s; the last ones were {others}")

    def lane(self, camera: str) -> int:
        """The lane of a camera's thread, as the worker said."""
        self.check()
        lanes = [m.lane for m in self.messages if isinstance(m, CameraLane) and m.camera == camera]
        return lanes[-1] if lanes else self.until(CameraLane, camera=camera).lane

    def stage(self, camera: str) -> Stage:
        return self.progress.lane(self.lane(camera)).read()[0]


__all__ = ["SPEC", "CameraRig", "RigLink", "RingClosed"]
