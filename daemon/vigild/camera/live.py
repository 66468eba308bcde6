"""`pace = "live"`: the newest frame wins, and work is saved on all others.

Every frame is grabbed, so the source never lags; only the one that a detector will want is decoded
and converted. Each frame that is left out is counted under its cause. Pictures are looked at a few
times a second even while nobody wants them, so a frozen or blank camera is seen.
"""

from __future__ import annotations

import time

from vigild.camera import health
from vigild.camera.delivery import Delivery
from vigild.camera.frames import BadFrame, Frame
from vigild.camera.outlet import Outlet
from vigild.camera.reading import NO_FRAME, Reader
from vigild.camera.sources.base import Grab, Source, SourceFailed
from vigild.ipc.progress import Stage

LOOK_EVERY_S = 0.1
"""How often a picture that is decoded anyway is checked."""

LOOK_AT_LEAST_EVERY_S = 0.25
"""How often one is decoded for the check alone."""

MAX_LAG_S = 0.5
"""A file decoded more slowly than it plays is played more slowly, instead of never catching up."""

_PERIOD_SMOOTHING = 0.125


class Live:
    """Delivers one session of a source in its own time."""

    def __init__(self, delivery: Delivery, source: Source, fps: float) -> None:
        self._delivery = delivery
        self._source = source
        self._reader = Reader(delivery, source)
        config = delivery.config
        self._nominal_ns = 1e9 / fps if fps > 0 else 0.0
        self._period_ns = self._nominal_ns
        self._due_ns = 0.0
        """When a paced source's next frame is to be read."""
        self._grabbed_ns = 0
        self._skipped = source.skipped
        self._watch: health.PictureWatch | None = None
        if source.live and not source.paced:
            self._watch = health.PictureWatch(config.frozen_after, config.blank_after)
        self._looked_s = 0.0

    def run(self) -> None:
        """Until the source ends. Raises Interrupted, SourceFailed."""
        delivery = self._delivery
        self._let_go()
        delivery.passed_over = delivery.number
        delivery.limits.cap("config", delivery.config.fps or 0.0)
        timeout_s = delivery.config.open_timeout
        since_ns = time.monotonic_ns()
        if not self._source.live:
            self._hold_first()
        self._due_ns = float(time.monotonic_ns())
        begun = False  # whether a frame came since the source was last at its start
        while True:
            if self._source.paced:
                self._wait_for_turn()
            delivery.commands()
            self._take_up_rate()
            # Up to the first frame the source is still opening; that may take a camera seconds.
            delivery.lane.enter(Stage.GRAB if delivery.size != (0, 0) or self._grabbed_ns else Stage.OPEN)
            got = self._source.grab()
            if got is Grab.END:
                if not self._rewind():
                    break
                if begun:
                    # The turn is the first frame's: without it, a folder of one picture runs at half its rate.
                    begun, self._due_ns = False, self._due_ns - self._nominal_ns
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
            begun = True
            since_ns = now_ns
            timeout_s = delivery.config.read_timeout
        while any(outlet.outstanding for outlet in delivery.outlets):
            delivery.lane.enter(Stage.WAIT)
            delivery.wait(None)

    def _let_go(self) -> None:
        """Of frames that were read one by one, under other settings."""
        while self._delivery.queue:
            frame = self._delivery.queue.popleft()
            frame.kept = False
            self._delivery.settle(frame)

    def _hold_first(self) -> None:
        """A file starts to play when somebody looks; a camera's first pictures may well be missed."""
        delivery = self._delivery
        delivery.lane.enter(Stage.OPEN)
        if self._source.grab() is Grab.END:
            raise SourceFailed("read", NO_FRAME)
        frame = self._retrieve_number(time.monotonic_ns())
        self._source.rewind()
        delivery.number -= 1
        if frame is not None:
            delivery.buffers.give_back(frame.picture.pixels)
        while not delivery.outlets:
            delivery.lane.enter(Stage.WAIT)
            delivery.wait(None)

    def _retrieve_number(self, now_ns: int) -> Frame | None:
        self._delivery.number += 1
        return self._reader.retrieve(now_ns)

    def _rewind(self) -> bool:
        """Whether the source goes on from its start."""
        if not self._delivery.config.loop:
            return False
        if not self._grabbed_ns:
            raise SourceFailed("read", NO_FRAME)
        self._source.rewind()
        return True

    def _wait_for_turn(self) -> None:
        """Wait for a paced frame's time."""
        delivery = self._delivery
        if (time.monotonic_ns() - self._due_ns) / 1e9 > MAX_LAG_S:
            self._due_ns = float(time.monotonic_ns())
        left_s = (self._due_ns - time.monotonic_ns()) / 1e9
        if left_s > 0:
            delivery.lane.enter(Stage.WAIT)
        while left_s > 0:
            delivery.wait(left_s)
            self._take_up_rate()
            left_s = (self._due_ns - time.monotonic_ns()) / 1e9
        self._due_ns += self._nominal_ns

    def _take_up_rate(self) -> None:
        """`camera.fps` may have changed: the cap follows at once, the source as far as it can while it is open."""
        delivery = self._delivery
        delivery.limits.cap("config", delivery.config.fps or 0.0)
        opened = self._reader.take_up_rate()
        if opened is not None and opened.fps > 0:
            self._nominal_ns = self._period_ns = 1e9 / opened.fps
            self._due_ns = min(self._due_ns, time.monotonic_ns() + self._nominal_ns)

    def _frame(self, now_ns: int) -> None:
        """A frame was grabbed: deliver it, or count why not."""
        delivery = self._delivery
        if self._grabbed_ns:
            self._period_ns += (now_ns - self._grabbed_ns - self._period_ns) * (
                _PERIOD_SMOOTHING if self._period_ns else 1.0
            )
        self._grabbed_ns = now_ns
        missed = self._source.skipped - self._skipped
        self._skipped += missed
        delivery.number += 1 + missed
        delivery.grabbed += 1 + missed
        if missed:
            delivery.counts["no_credit"] += missed
        if delivery.outlets:
            delivery.take_credits()
        cause = self._offer(now_ns)
        if cause is not None:
            delivery.counts[cause] += 1

    def _offer(self, now_ns: int) -> str | None:
        """Deliver the grabbed frame to whoever wants it; returns the cause if nobody got it."""
        delivery = self._delivery
        cause = self._refusal(now_ns)
        wanting = [] if cause else self._wanting(now_ns)
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
            for outlet in wanting:
                sent |= delivery.send(frame, outlet)
            if sent:
                delivery.delivered += 1
                delivery.limits.passed(now_ns, self._period_ns)
            if look:
                self._look(frame, now_ns / 1e9)
            self._reader.good()
        except BadFrame as error:
            self._reader.bad(error)
            cause = None
        finally:
            frame.picture.forget()
            if not frame.waiting:
                delivery.held.drop(frame)
        if wanting and not sent and cause is None:
            cause = "no_credit"
        return None if sent else cause

    def _wanting(self, now_ns: int) -> list[Outlet]:
        """Whom the grabbed frame goes to: in each group one, the detector that is idle or will be first."""
        wanting: dict[int, Outlet] = {}
        for outlet in self._delivery.outlets:
            if outlet.wants(now_ns, self._period_ns):
                best = wanting.get(outlet.group)
                if best is None or outlet.load() < best.load():
                    wanting[outlet.group] = outlet
        return list(wanting.values())

    def _refusal(self, now_ns: int) -> str | None:
        """Why no frame is to be delivered now."""
        limits = self._delivery.limits
        if limits.held:
            return limits.hold_cause
        if not self._delivery.outlets:
            return "not_attached"
        return None if limits.due(now_ns, self._period_ns) else "fps_cap"

    # ---- is the camera all right?

    def _is_time_to_look(self, now_s: float, wanted: bool) -> bool:
        if self._delivery.size == (0, 0):
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
