"""`pace = "every"`: each frame exactly once and in order, with back-pressure.

A frame stays in the camera's queue until every attached detector has acknowledged it. A new link
starts at the oldest frame in the queue, so a detector that died costs repeated work but no frame;
the hub drops what it saw already by the frame's number. One frame is read ahead, so that decoding
runs beside the inference even with the shortest ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vigild.camera.frames import Frame
from vigild.camera.link import Link
from vigild.camera.reading import NO_FRAME, Reader
from vigild.camera.sources.base import Grab, Source, SourceFailed
from vigild.ipc.progress import Stage

if TYPE_CHECKING:
    from vigild.camera.pipeline import CameraThread

READ_AHEAD = 1


class Every:
    """Delivers one session of a source that waits."""

    def __init__(self, camera: CameraThread, source: Source) -> None:
        self._camera = camera
        self._source = source
        self._reader = Reader(camera, source)
        self._ended = False

    def run(self) -> None:
        """Until the end is reached and acknowledged. Raises Interrupted, SourceFailed."""
        camera = self._camera
        self._resume(camera.number - camera.passed_over)
        for frame in camera.queue:
            # Frames of the session before: they may have to be turned another way now.
            frame.measure(camera.orientation)
        if camera.queue:
            camera.announce(camera.queue[-1])
        while True:
            camera.commands()
            camera.take_credits()
            self._settle()
            if not camera.paused:
                self._send()
                if not self._ended and len(camera.queue) < self._room():
                    self._read()
                    continue
                if self._ended and not camera.queue:
                    return
            camera.lane.enter(Stage.WAIT)
            camera.wait(None)

    def _room(self) -> int:
        return max((link.slots for link in self._camera.links), default=0) + READ_AHEAD

    def _settle(self) -> None:
        """Let go of frames that all attached detectors have done."""
        camera = self._camera
        while camera.queue:
            frame = camera.queue[0]
            passed = all(link.position >= frame.number for link in camera.links)
            if not (frame.acknowledged and passed and not frame.waiting):
                return
            camera.queue.popleft()
            frame.kept = False
            camera.settle(frame)

    def _send(self) -> None:
        camera = self._camera
        for link in camera.links.copy():
            while link.free() and (frame := self._next_for(link)) is not None:
                first = not frame.sent
                if not camera.deliver(frame, link):
                    break
                frame.sent = True
                camera.delivered += first

    def _next_for(self, link: Link) -> Frame | None:
        return next((frame for frame in self._camera.queue if frame.number > link.position), None)

    def _read(self) -> None:
        camera = self._camera
        captured_ns = self._grab()
        if captured_ns is None:
            return
        frame = self._reader.retrieve(captured_ns)
        if frame is not None:
            frame.kept = True
            camera.queue.append(frame)

    def _grab(self) -> int | None:
        """The time of capture of the next frame; None at the end."""
        camera = self._camera
        camera.lane.enter(Stage.GRAB)
        if self._source.grab() is Grab.END:
            if not camera.config.loop:
                self._ended = True
                if camera.number == camera.passed_over:
                    raise SourceFailed("read", NO_FRAME)
                return None
            self._source.rewind()
            if self._source.grab() is Grab.END:
                raise SourceFailed("read", NO_FRAME)
        camera.number += 1
        camera.grabbed += 1
        return camera.lane.enter(Stage.RETRIEVE)

    def _resume(self, frames: int) -> None:
        """Pass over frames that were read before this session, through as many loops as it takes."""
        camera = self._camera
        passed = 0
        while frames > 0:
            camera.lane.enter(Stage.GRAB)
            done = self._source.skip(frames)
            frames -= done
            passed += done
            if done:
                continue
            if not camera.config.loop:
                self._ended = True
                return
            if passed == 0:
                raise SourceFailed("read", NO_FRAME)
            # Now the length of a pass is known: only the remainder is left to pass over.
            frames %= passed
            passed = 0
            self._source.rewind()
