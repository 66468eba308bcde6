"""One camera's thread: open its source, deliver its frames, notice that it broke, open it again.

    camera = CameraThread("front", config, lane, tell, resume_after=0)
    camera.start()
    camera.attach(outlet); camera.detach(3); camera.limit(5.0, []); camera.stop()

How frames are delivered is `live`'s or `every`'s business. Other threads only post commands; the
thread takes them up between two frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vigild.camera.backoff import Backoff
from vigild.camera.delivery import Delivery, Interrupted
from vigild.camera.every import Every
from vigild.camera.live import Live
from vigild.camera.orientation import Orientation
from vigild.camera.outlet import Outlet
from vigild.camera.snapshot import HeldFrames
from vigild.camera.sources.base import SourceFailed
from vigild.camera.sources.make import make_source
from vigild.config.schema import CameraConfig
from vigild.config.source import SourceError, redact
from vigild.ipc.messages import CameraEnded, CameraLost, CameraStats, Message
from vigild.ipc.progress import Lane, Stage

MISSING_TOLD = 0.05
"""Share of frames that a container may promise in vain before that is worth a warning."""


class CameraThread(threading.Thread):
    """A camera. What is public may be called from any thread."""

    def __init__(
        self,
        name: str,
        config: CameraConfig,
        lane: Lane,
        tell: Callable[[Message], None],
        resume_after: int,
        passed_over: int = 0,
    ) -> None:
        super().__init__(name=f"camera-{name}", daemon=True)
        self._tell = tell
        self._delivery = Delivery(name, config, lane, tell, resume_after, passed_over)
        self._lane = lane
        self._log = self._delivery.log

    # ---- from any thread

    def attach(self, outlet: Outlet) -> None:
        """Deliver there too."""
        self._delivery.post(lambda: self._delivery.attach(outlet))

    def detach(self, number: int) -> None:
        """Close the outlet of this number."""
        self._delivery.post(lambda: self._delivery.detach(number))

    def trim(self, on: bool) -> None:
        """Memory is short: hold as little as can be, now and, if `on`, from now on."""
        self._delivery.post(lambda: self._delivery.trim(on))

    def limit(self, max_fps: float, holds: list[str]) -> None:
        """Deliver no more than this; the source stays open. See SetLimits."""
        self._delivery.post(lambda: self._delivery.limit(max_fps, holds))

    def configure(self, config: CameraConfig) -> None:
        """Take up changed settings; the source is opened again if they need that."""
        self._delivery.post(lambda: self._delivery.configure(config))

    def stop(self) -> None:
        self._delivery.stopping = True
        self._delivery.post(lambda: None)

    def stats(self) -> CameraStats:
        return self._delivery.stats()

    @property
    def held(self) -> HeldFrames:
        """Frames to borrow for a snapshot."""
        return self._delivery.held

    @property
    def orientation(self) -> Orientation:
        """How its pictures are turned."""
        return self._delivery.orientation

    # ---- the thread

    def run(self) -> None:
        delivery = self._delivery
        backoff = Backoff(delivery.config.max_backoff)
        while not delivery.stopping:
            try:
                self._session()
            except Interrupted:
                if not delivery.stopping:
                    backoff = Backoff(delivery.config.max_backoff)
                continue
            except SourceFailed as error:
                failure = error
            except Exception as error:  # a native library's, most likely: the source is at fault until proven otherwise
                self._log.debug("in the camera's thread", exc_info=True)
                failure = SourceFailed("read", f"{type(error).__name__}: {error}")
            since_s = delivery.works_since_s
            self._lost(failure, backoff.failed(time.monotonic() - since_s if since_s else 0.0))
        delivery.close()

    def _session(self) -> None:
        """Open the source and deliver its frames. Ends by Interrupted or SourceFailed only."""
        delivery = self._delivery
        delivery.begin()
        config = delivery.config
        try:
            source = make_source(config)
        except SourceError as error:
            raise SourceFailed("open", f"{redact(config.source)}: {error}") from None
        try:
            self._lane.enter(Stage.OPEN)
            opened = source.open()
            delivery.opened(opened, source.live)
            if config.pace == "every" and not source.live:
                Every(delivery, source).run()
            else:
                Live(delivery, source, opened.fps).run()
            self._ended(source.missing())
        finally:
            source.close()

    def _ended(self, missing: int) -> None:
        """The source ended and every frame is accounted for."""
        delivery = self._delivery
        frames = delivery.number - delivery.passed_over
        self._lane.enter(Stage.ENDED)
        broken = missing if missing > frames * MISSING_TOLD else 0
        self._tell(CameraEnded(camera=delivery.camera, frames=frames, lost=delivery.counts["bad_frame"] + broken))
        self._log.info("ended after %d frames", frames)
        if missing > frames * MISSING_TOLD:
            self._log.warning("the file says it has %d more frames; it may be damaged", missing)
        while True:
            self._lane.enter(Stage.ENDED)
            delivery.wait(None)

    def _lost(self, failure: SourceFailed, delay_s: float) -> None:
        reason = redact(failure.reason)
        self._tell(CameraLost(camera=self._delivery.camera, reason=reason, cause=failure.cause, retry_s=delay_s))
        self._delivery.condition.begin(f"lost: {reason}")
        self._lane.enter(Stage.BACKOFF)
        until_s = time.monotonic() + delay_s
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                self._delivery.wait(left_s)
        except Interrupted:
            return
