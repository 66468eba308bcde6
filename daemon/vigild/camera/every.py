"""`pace = "every"`: each frame exactly once and in order, with back-pressure.

A frame stays in the camera's queue until every attached detector has acknowledged it. A new one
starts at the oldest frame in the queue, so a detector that died costs repeated work but no frame;
the hub drops what it saw already by the frame's number. One frame is read ahead, so that decoding
runs beside the inference even with the shortest ring. A hold stops the reading and a cap slows it:
neither costs a frame.
"""

from __future__ import annotations

import time

from vigild.camera.delivery import Delivery
from vigild.camera.frames import Frame
from vigild.camera.outlet import Outlet
from vigild.camera.reading import NO_FRAME, Reader
from vigild.camera.sources.base import Grab, Source, SourceFailed
from vigild.ipc.progress import Stage

READ_AHEAD = 1


class Every:
    """Delivers one session of a source that waits."""

    def __init__(self, delivery: Delivery, source: Source) -> None:
        self._delivery = delivery
        self._source = source
        self._reader = Reader(delivery, source)
        self._ended = False

    def run(self) -> None:
        """Until the end is reached and acknowledged. Raises Interrupted, SourceFailed."""
        delivery = self._delivery
        self._resume(delivery.number - delivery.passed_over)
        for frame in delivery.queue:
            # Frames of the session before: they may have to be turned another way now.
            frame.measure(delivery.orientation)
        if delivery.queue:
            delivery.announce(delivery.queue[-1])
        # camera.fps is a test card's or a folder's own rate, which nothing is asked to keep here.
        delivery.limits.cap("config", 0.0)
        while True:
            delivery.commands()
            delivery.take_credits()
            self._reader.take_up_rate()
            self._settle()
            if self._ended and not delivery.queue:
                return
            wait_s = None
            if not delivery.limits.held:
                self._send()
                if not self._ended and len(delivery.queue) < self._room():
                    wait_s = delivery.limits.due_in_s(time.monotonic_ns())
                    if wait_s <= 0:
                        self._read()
                        continue
            delivery.lane.enter(Stage.WAIT)
            delivery.wait(wait_s)

    def _room(self) -> int:
        return max((outlet.slots for outlet in self._delivery.outlets), default=0) + READ_AHEAD

    def _settle(self) -> None:
        """Let go of frames that all attached detectors have done."""
        delivery = self._delivery
        while delivery.queue:
            frame = delivery.queue[0]
            passed = all(outlet.position >= frame.number for outlet in delivery.outlets)
            if not (frame.acknowledged and passed and not frame.waiting):
                return
            delivery.queue.popleft()
            frame.kept = False
            delivery.settle(frame)

    def _send(self) -> None:
        delivery = self._delivery
        for outlet in delivery.outlets.copy():
            while outlet.free() and (frame := self._next_for(outlet)) is not None:
                first = not frame.sent
                if not delivery.send(frame, outlet):
                    break
                frame.sent = True
                delivery.delivered += first

    def _next_for(self, outlet: Outlet) -> Frame | None:
        return next((frame for frame in self._delivery.queue if frame.number > outlet.position), None)

    def _read(self) -> None:
        delivery = self._delivery
        captured_ns = self._grab()
        if captured_ns is None:
            return
        frame = self._reader.retrieve(captured_ns)
        if frame is not None:
            frame.kept = True
            delivery.queue.append(frame)
            delivery.limits.passed(captured_ns, 0.0)

    def _grab(self) -> int | None:
        """The time of capture of the next frame; None at the end."""
        delivery = self._delivery
        delivery.lane.enter(Stage.GRAB)
        if self._source.grab() is Grab.END:
            if not delivery.config.loop:
                self._ended = True
                if delivery.number == delivery.passed_over:
                    raise SourceFailed("read", NO_FRAME)
                return None
            self._source.rewind()
            if self._source.grab() is Grab.END:
                raise SourceFailed("read", NO_FRAME)
        delivery.number += 1
        delivery.grabbed += 1
        return delivery.lane.enter(Stage.RETRIEVE)

    def _resume(self, frames: int) -> None:
        """Pass over frames that were read before this session, through as many loops as it takes."""
        delivery = self._delivery
        passed = 0
        while frames > 0:
            delivery.lane.enter(Stage.GRAB)
            done = self._source.skip(frames)
            frames -= done
            passed += done
            if done:
                continue
            if not delivery.config.loop:
                self._ended = True
                return
            if passed == 0:
                raise SourceFailed("read", NO_FRAME)
            # Now the length of a pass is known: only the remainder is left to pass over.
            frames %= passed
            passed = 0
            self._source.rewind()
