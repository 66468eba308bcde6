"""`pace = "live"`: the newest frame wins, and work is saved on all others.

Every frame is grabbed, so the source never lags; only the one that a detector will want is decoded
and converted. Each frame that is left out is counted under its cause. Pictures are looked at a few
times a second even while nobody wants them, so a frozen or blank camera is seen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vigild.camera import health
from vigild.camera.frames import BadFrame, Frame
from vigild.camera.reading import NO_FRAME, Reader
from vigild.camera.sources.base import Grab, Source, SourceFailed
from vigild.ipc.progress import Stage

if TYPE_CHECKING:
    from vigild.camera.pipeline import CameraThread

LOOK_EVERY_S = 0.1
"""How often a picture that is decoded anyway is checked."""

LOOK_AT_LEAST_EVERY_S = 0.25
"""How often one is decoded for the check alone."""

MAX_LAG_S = 0.5
"""A file decoded more slowly than it plays is played more slowly, instead of never catching up."""

_PERIOD_SMOOTHING = 0.125


class Live:
    """Delivers one session of a source in its own time."""

    def __init__(self, camera: CameraThread, source: Source, fps: float) -> None:
        self._camera = camera
        self._source = source
        self._reader = Reader(camera, source)
        config = camera.config
        self._nominal_ns = 1e9 / fps if fps > 0 else 0.0
        self._period_ns = self._nominal_ns
        self._cap_ns = 1e9 / config.fps if config.fps else 0.0
        self._next_ns = 0.0
        """When the rate cap lets the next frame through."""
        self._grabbed_ns = 0
        self._skipped = source.skipped
        self._watch: health.PictureWatch | None = None
        if source.live and not source.paced:
            self._watch = health.PictureWatch(config.frozen_after, config.blank_after)
        self._looked_s = 0.0

    def run(self) -> None:
        """Until the source ends. Raises Interrupted, SourceFailed."""
        camera = self._camera
        self._let_go()
        camera.passed_over = camera.number
        started_ns = time.monotonic_ns()
        due_ns = float(started_ns)
        timeout_s = camera.config.open_timeout
        since_ns = started_ns
        if not self._source.live:
            self._hold_first()
            due_ns = float(time.monotonic_ns())
        while True:
            if self._source.paced:
                due_ns = self._wait_until(due_ns)
            camera.commands()
            # Up to the first frame the source is still opening; that may take a camera seconds.
            camera.lane.enter(Stage.GRAB if camera.size != (0, 0) or self._grabbed_ns else Stage.OPEN)
            got = self._source.grab()
            if got is Grab.END:
                if not self._rewind():
                    break
                continue
            now_ns = time.monotonic_ns()
            if got is Grab.NOTHING:
                silent_s = (now_ns - since_ns) / 1e9
                if silent_s > timeout_s:
                    if not self._grabbed_ns:
                        raise SourceFailed("open", f"it opened, but gave no frame for {silent_s:.1f} s")
                    raise SourceFailed("read", f"no frame for {silent_s:.1f} s")
                continue
            self._frame(now_ns)
            since_ns = now_ns
            timeout_s = camera.config.read_timeout
        while any(link.outstanding for link in camera.links):
            camera.lane.enter(Stage.WAIT)
            camera.wait(None)

    def _let_go(self) -> None:
        """Of frames that were read one by one, under other settings."""
        while self._camera.queue:
            frame = self._camera.queue.popleft()
            frame.kept = False
            self._camera.settle(frame)

    def _hold_first(self) -> None:
        """A file starts to play when somebody looks; a camera's first pictures may well be missed."""
        camera = self._camera
        camera.lane.enter(Stage.OPEN)
        if self._source.grab() is Grab.END:
            raise SourceFailed("read", NO_FRAME)
        frame = self._retrieve_number(time.monotonic_ns())
        self._source.rewind()
        camera.number -= 1
        if frame is not None:
            camera.buffers.give_back(frame.picture.pixels)
        while not camera.links:
            camera.lane.enter(Stage.WAIT)
            camera.wait(None)

    def _retrieve_number(self, now_ns: int) -> Frame | None:
        self._camera.number += 1
        return self._reader.retrieve(now_ns)

    def _rewind(self) -> bool:
        """Whether the source goes on from its start."""
        if not self._camera.config.loop:
            return False
        if not self._grabbed_ns:
            raise SourceFailed("read", NO_FRAME)
        self._source.rewind()
        return True

    def _wait_until(self, due_ns: float) -> float:
        """Wait for a paced frame's time; returns the next one's."""
        camera = self._camera
        if (time.monotonic_ns() - due_ns) / 1e9 > MAX_LAG_S:
            due_ns = float(time.monotonic_ns())
        left_s = (due_ns - time.monotonic_ns()) / 1e9
        if left_s > 0:
            camera.lane.enter(Stage.WAIT)
        while left_s > 0:
            camera.wait(left_s)
            left_s = (due_ns - time.monotonic_ns()) / 1e9
        return due_ns + self._nominal_ns

    def _frame(self, now_ns: int) -> None:
        """A frame was grabbed: deliver it, or count why not."""
        camera = self._camera
        if self._grabbed_ns:
            self._period_ns += (now_ns - self._grabbed_ns - self._period_ns) * (
                _PERIOD_SMOOTHING if self._period_ns else 1.0
            )
        self._grabbed_ns = now_ns
        missed = self._source.skipped - self._skipped
        self._skipped += missed
        camera.number += 1 + missed
        camera.grabbed += 1 + missed
        if missed:
            camera.counts["no_credit"] += missed
        if camera.links:
            camera.take_credits()
        cause = self._offer(now_ns)
        if cause is not None:
            camera.counts[cause] += 1

    def _offer(self, now_ns: int) -> str | None:
        """Deliver the grabbed frame to whoever wants it; returns the cause if nobody got it."""
        camera = self._camera
        cause = self._refusal(now_ns)
        wanting = [] if cause else [link for link in camera.links if link.wants(now_ns, self._period_ns)]
        if not cause and not wanting:
            cause = "no_credit"
        look = self._is_time_to_look(now_ns / 1e9, wanted=bool(wanting))
        if not wanting and not look:
            return cause
        frame = self._reader.retrieve(now_ns)
        if frame is None:
            # Counted as bad already.
            return None
        sent = False
        try:
            for link in wanting:
                sent |= camera.deliver(frame, link)
            if sent:
                camera.delivered += 1
                self._next_ns = max(self._next_ns, now_ns - self._period_ns / 2) + self._cap_ns
            if look:
                self._look(frame, now_ns / 1e9)
            self._reader.good()
        except BadFrame as error:
            self._reader.bad(error)
            cause = None
        finally:
            frame.picture.forget()
            if not frame.waiting:
                camera.held.drop(frame)
        if wanting and not sent and cause is None:
            cause = "no_credit"
        return None if sent else cause

    def _refusal(self, now_ns: int) -> str | None:
        """Why no frame is to be delivered now."""
        if self._camera.paused:
            return "paused"
        if not self._camera.links:
            return "not_attached"
        # Half a period early is on time: the next frame would be half a period late.
        if self._cap_ns and now_ns + self._period_ns / 2 < self._next_ns:
            return "fps_cap"
        return None

    # ---- is the camera all right?

    def _is_time_to_look(self, now_s: float, wanted: bool) -> bool:
        if self._camera.size == (0, 0):
            return True
        if self._watch is None:
            return False
        return now_s - self._looked_s >= (LOOK_EVERY_S if wanted else LOOK_AT_LEAST_EVERY_S)

    def _look(self, frame: Frame, now_s: float) -> None:
        if self._watch is None:
            return
        self._looked_s = now_s
        picture = frame.picture
        if picture.data is not None:
            mark = health.jpeg_fingerprint(picture.data)
            pixels = picture.decoded if picture.decoded is not None else picture.decode(reduce=8)
        else:
            pixels = picture.decode()
            mark = health.fingerprint(pixels)
        fault = self._watch.look(mark, health.is_blank(pixels), now_s)
        if fault is not None:
            raise SourceFailed(fault.cause, fault.reason)
