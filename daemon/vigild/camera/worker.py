"""The camera worker's main thread: the control channel, statistics, snapshots.

    CameraWorker(inherited).run()

Each camera has a thread of its own; nothing here waits for one.
"""

from __future__ import annotations

import gc
import itertools
import os
import select
import socket
import threading
import time
from typing import Any

from vigild import log
from vigild.camera.outlet import Outlet
from vigild.camera.pipeline import CameraThread
from vigild.camera.snapshot import encode
from vigild.ipc.channel import Channel, ChannelClosed
from vigild.ipc.messages import (
    AddCamera,
    AttachCamera,
    CameraLane,
    Detach,
    Exit,
    Message,
    RemoveCamera,
    SetLimits,
    Snapshot,
    TakeSnapshot,
    ToCamera,
    Trim,
)
from vigild.ipc.progress import Progress, Stage
from vigild.ipc.ring import RingWriter
from vigild.ipc.worker import Inherited, trim

HEARTBEAT_S = 0.5
STATS_EVERY_S = 1.0

STOP_WITHIN_S = 0.7
"""For cameras to release devices and end their commands; one that hangs in a driver is left behind."""

_log = log.logger("camera")


class CameraWorker:
    """Serves the hub's messages until it says Exit or is gone."""

    def __init__(self, inherited: Inherited) -> None:
        self._progress: Progress = inherited.progress
        self._lane = inherited.progress.lane(0)
        self._channel: Channel[Any] = Channel(inherited.control, ToCamera)
        self._sending = threading.Lock()
        self._cameras: dict[str, CameraThread] = {}
        self._threads: dict[int, CameraThread] = {}
        """Each camera's thread by its lane, also those that were told to stop and have not come to it yet."""
        self._links: dict[int, str] = {}
        self._stats_due_s = 0.0

    def run(self) -> None:
        """Returns when the process is to end."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            self._lane.enter(Stage.WAIT)
            ready = poll.poll(HEARTBEAT_S * 1000)
            self._lane.enter(Stage.WAIT)
            if ready:
                try:
                    message, fds = self._channel.receive()
                except ChannelClosed:
                    break
                if isinstance(message, Exit):
                    break
                self._handle(message, fds)
            now_s = time.monotonic()
            if now_s >= self._stats_due_s:
                self._stats_due_s = now_s + STATS_EVERY_S
                for camera in self._cameras.values():
                    self.tell(camera.stats())
        self._stop()

    def tell(self, message: Message, fd: int | None = None) -> None:
        """Send to the hub, from any thread. Ends the process when the hub is gone."""
        try:
            with self._sending:
                self._channel.send(message, [] if fd is None else [fd])
        except ChannelClosed:
            os._exit(0)

    def _handle(self, message: Any, fds: list[int]) -> None:
        if isinstance(message, AddCamera):
            self._add(message)
        elif isinstance(message, AttachCamera):
            self._attach(message, fds)
        elif isinstance(message, Detach):
            camera = self._cameras.get(self._links.pop(message.link, ""))
            if camera is not None:
                camera.detach(message.link)
        elif isinstance(message, SetLimits):
            camera = self._cameras.get(message.camera)
            if camera is not None:
                camera.limit(message.max_fps, message.holds)
        elif isinstance(message, Trim):
            for camera in self._cameras.values():
                camera.trim(message.on)
            gc.collect()
            trim()
        elif isinstance(message, TakeSnapshot):
            self._snapshot(message)
        elif isinstance(message, RemoveCamera):
            self._remove(message.camera)

    def _add(self, message: AddCamera) -> None:
        camera = self._cameras.get(message.camera)
        if camera is not None:
            camera.configure(message.config)
            return
        number = self._free_lane()
        lane = self._progress.lane(number)
        # What the thread before it did last must not be taken for this one's.
        lane.enter(Stage.START)
        camera = CameraThread(
            message.camera, message.config, lane, self.tell, message.resume_after, message.passed_over
        )
        self._cameras[message.camera] = self._threads[number] = camera
        self.tell(CameraLane(camera=message.camera, lane=number))
        camera.start()

    def _free_lane(self) -> int:
        """The lowest that no thread writes to; lane 0 is this one's."""
        used = {number for number, thread in self._threads.items() if thread.is_alive()}
        return next(number for number in itertools.count(1) if number not in used)

    def _remove(self, name: str) -> None:
        camera = self._cameras.pop(name, None)
        if camera is not None:
            camera.stop()
            self._links = {link: owner for link, owner in self._links.items() if owner != name}

    def _attach(self, message: AttachCamera, fds: list[int]) -> None:
        camera = self._cameras.get(message.camera)
        if camera is None or len(fds) != 2:
            for fd in fds:
                os.close(fd)
            _log.error("a ring for camera %s came with %d descriptors; ignored", message.camera, len(fds))
            return
        memfd, sock = fds
        ring = RingWriter(memfd, socket.socket(fileno=sock), message.spec.nbytes, message.slots)
        self._links[message.link] = message.camera
        camera.attach(Outlet(message.link, message.spec, ring, message.slots, message.group))

    def _snapshot(self, message: TakeSnapshot) -> None:
        self._lane.enter(Stage.ENCODE)
        camera = self._cameras.get(message.camera)
        if camera is None:
            self.tell(Snapshot(request=message.request, error=f"there is no camera {message.camera}"))
            return
        overlays = {overlay.frame: overlay for overlay in message.results}
        frame = camera.held.borrow(overlays)
        if frame is None:
            error = f"camera {message.camera} holds no inferred frame now"
            self.tell(Snapshot(request=message.request, error=error, passed=True))
            return
        try:
            overlay = overlays[frame.number] if message.annotate else None
            data = encode(frame, camera.orientation, overlay)
        except ValueError as error:
            self.tell(Snapshot(request=message.request, error=f"camera {message.camera}: {error}"))
            return
        finally:
            camera.held.give_back(frame)
        memfd = os.memfd_create(f"vigild-snapshot-{message.camera}", os.MFD_CLOEXEC)
        try:
            with open(memfd, "wb", closefd=False) as file:
                file.write(data)
            self.tell(
                Snapshot(
                    request=message.request,
                    frame=frame.number,
                    width=frame.width,
                    height=frame.height,
                    bytes_=len(data),
                ),
                memfd,
            )
        finally:
            os.close(memfd)

    def _stop(self) -> None:
        """Let cameras release what they hold, as far as they come to it in time."""
        for camera in self._cameras.values():
            camera.stop()
        until_s = time.monotonic() + STOP_WITHIN_S
        for camera in self._cameras.values():
            camera.join(max(until_s - time.monotonic(), 0.0))
