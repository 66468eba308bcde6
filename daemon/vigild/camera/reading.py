"""From a grab to a frame: what live and one-by-one reading have in common."""

from __future__ import annotations

import time

from vigild import log
from vigild.camera.delivery import Delivery
from vigild.camera.frames import BadFrame, Frame
from vigild.camera.sources.base import Opened, Source, SourceFailed
from vigild.ipc.progress import Stage

NO_FRAME = "the source holds no frame that can be read"

_FILES_TOLD = 1000
"""Bad files whose names were logged; beyond it they are only counted."""


class Reader:
    """Retrieves frames of one open source, numbers them, and counts the bad ones."""

    def __init__(self, delivery: Delivery, source: Source) -> None:
        self._delivery = delivery
        self._source = source
        self._bad_since_s: float | None = None
        self._condition = log.Condition(delivery.log)
        self._asked_fps = delivery.config.fps

    def retrieve(self, captured_ns: int) -> Frame | None:
        """The grabbed frame as number `delivery.number`; None if it is bad. Raises SourceFailed."""
        delivery = self._delivery
        start_ns = delivery.lane.enter(Stage.RETRIEVE)
        try:
            picture = self._source.retrieve(delivery.buffers)
            if delivery.size == (0, 0):
                # A valid header alone does not make a working camera.
                picture.decode(reduce=8)
        except BadFrame as error:
            self.bad(error)
            return None
        now_ns = time.monotonic_ns()
        frame = Frame(
            number=delivery.number,
            captured_ns=captured_ns,
            wall_ns=time.time_ns() - (now_ns - captured_ns),
            picture=picture,
            decode_ns=now_ns - start_ns,
        )
        frame.measure(delivery.orientation)
        # Pictures of a folder differ in size as a matter of course; each frame carries its own.
        if delivery.size == (0, 0) or (not picture.file and delivery.size != (frame.width, frame.height)):
            delivery.announce(frame)
        return frame

    def take_up_rate(self) -> Opened | None:
        """Have the source follow a changed `camera.fps`, if it can without a new opening; what is known of it then."""
        fps = self._delivery.config.fps
        if fps == self._asked_fps:
            return None
        self._asked_fps = fps
        opened = self._source.set_rate(fps)
        if opened is not None:
            self._delivery.rate_changed(opened)
        return opened

    def good(self) -> None:
        """The newest frame could be decoded."""
        if self._bad_since_s is not None:
            self._bad_since_s = None
            self._condition.end("frames can be decoded again")

    def bad(self, error: BadFrame) -> None:
        """Count a frame that cannot be decoded; a live source that gives nothing else has failed."""
        delivery = self._delivery
        delivery.counts["bad_frame"] += 1
        if not self._source.live:
            # Told before the next frame is sent: a successor begins behind that one, and would not count this.
            delivery.tell(delivery.stats())
            # By name: a folder that loops would repeat itself.
            if str(error) not in delivery.bad_told and len(delivery.bad_told) < _FILES_TOLD:
                delivery.bad_told.add(str(error))
                delivery.log.warning("skipped a frame: %s", error)
            return
        self._condition.begin(f"bad frame: {error}")
        now_s = time.monotonic()
        if self._bad_since_s is None:
            self._bad_since_s = now_s
        if now_s - self._bad_since_s >= delivery.config.read_timeout:
            raise SourceFailed("shape", f"no frame could be decoded for {now_s - self._bad_since_s:.1f} s: {error}")
