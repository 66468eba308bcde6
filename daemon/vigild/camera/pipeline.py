"""One camera's thread: open its source, deliver its frames, notice that it broke, open it again.

    camera = CameraThread("front", config, lane, tell, resume_after=0)
    camera.start()
    camera.attach(link); camera.detach(3); camera.pause(True); camera.stop()

How frames are delivered is `live`'s or `every`'s business. Other threads only post commands; the
thread takes them up between two frames.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from vigild import log
from vigild.camera.backoff import Backoff
from vigild.camera.frames import Buffers, Frame
from vigild.camera.link import Link
from vigild.camera.orientation import Orientation
from vigild.camera.snapshot import HeldFrames
from vigild.camera.sources.base import Opened, SourceFailed
from vigild.camera.sources.make import make_source
from vigild.config.schema import CameraConfig
from vigild.config.source import SourceError, redact
from vigild.ipc.messages import CameraEnded, CameraLost, CameraOpened, CameraStats, Message
from vigild.ipc.progress import Lane, Stage
from vigild.ipc.ring import RingClosed

MAX_SLOTS_HELD = 8
"""Buffers kept for reuse; more slots than this are not expected of a ring."""

MISSING_TOLD = 0.05
"""Share of frames that a container may promise in vain before that is worth a warning."""

DETACHED_KEYS = frozenset({"priority"})
"""Keys that concern the detector alone: a change of them does not reopen the camera."""


class Interrupted(Exception):
    """The thread is to stop, or to start over with other settings."""


def needs_reopen(old: CameraConfig, new: CameraConfig) -> bool:
    """Whether the change between the two concerns the source or its frames."""
    names = set(CameraConfig.__struct_fields__) - DETACHED_KEYS
    return any(getattr(old, name) != getattr(new, name) for name in names)


class CameraThread(threading.Thread):
    """A camera. Methods up to `stats` may be called from any thread; the rest is its own."""

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
        self.camera = name
        self.config = config
        self.lane = lane
        self.log: logging.Logger = log.logger(f"camera.{name}")
        self.condition = log.Condition(self.log)
        self.counts: Counter[str] = Counter()
        """Drops by cause."""
        self.bad_told: set[str] = set()
        """What was said about files that cannot be read."""
        self.grabbed = 0
        self.delivered = 0
        self.number = resume_after
        """Number of the newest frame read."""
        self.passed_over = passed_over
        """Frame number at which the present source began: 0 but for a source that replaced another."""
        self.links: list[Link] = []
        self.queue: deque[Frame] = deque()
        """Frames of a source read one by one that no detector, or not each, has acknowledged; in order."""
        self.paused = False
        self.buffers = Buffers(MAX_SLOTS_HELD)
        self.held = HeldFrames(self.buffers)
        self.orientation = Orientation()
        self.size = (0, 0)
        self._tell = tell
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._opened = Opened(0.0, "")
        self._live = False
        self._opened_at_s = 0.0
        self._stopping = False
        self._changed = False

    # ---- commands, from any thread

    def post(self, command: Callable[[], None]) -> None:
        """Have the thread call `command` between two frames."""
        self._commands.append(command)
        os.eventfd_write(self._wake, 1)

    def attach(self, link: Link) -> None:
        self.post(lambda: self._attach(link))

    def detach(self, number: int) -> None:
        self.post(lambda: self._detach(number))

    def pause(self, paused: bool) -> None:
        self.post(lambda: setattr(self, "paused", paused))

    def configure(self, config: CameraConfig) -> None:
        """Take up changed settings; the source is reopened if they concern it."""
        self.post(lambda: self._configure(config))

    def stop(self) -> None:
        self._stopping = True
        self.post(lambda: None)

    def stats(self) -> CameraStats:
        return CameraStats(camera=self.camera, grabbed=self.grabbed, delivered=self.delivered, drops=dict(self.counts))

    # ---- the thread

    def run(self) -> None:
        backoff = Backoff(self.config.max_backoff)
        while not self._stopping:
            self._changed = False
            self._opened_at_s = 0.0
            try:
                self._session()
            except Interrupted:
                if not self._stopping:
                    backoff = Backoff(self.config.max_backoff)
                continue
            except SourceFailed as error:
                failure = error
            except Exception as error:  # a native library's, most likely: the source is at fault until proven otherwise
                self.log.debug("in the camera's thread", exc_info=True)
                failure = SourceFailed("read", f"{type(error).__name__}: {error}")
            ran_s = time.monotonic() - self._opened_at_s if self._opened_at_s else 0.0
            self._lost(failure, backoff.failed(ran_s))
        for link in list(self.links):
            self.drop_link(link)

    def _session(self) -> None:
        """Open the source and deliver its frames. Ends by Interrupted or SourceFailed only."""
        from vigild.camera.every import Every
        from vigild.camera.live import Live

        config = self.config
        self.orientation = Orientation.of(config.rotate, config.flip)
        self.size = (0, 0)
        try:
            source = make_source(config)
        except SourceError as error:
            raise SourceFailed("open", f"{redact(config.source)}: {error}") from None
        try:
            self.lane.enter(Stage.OPEN)
            self._opened = source.open()
            self._live = source.live
            if config.pace == "every" and not source.live:
                Every(self, source).run()
            else:
                Live(self, source, self._opened.fps).run()
            self._ended(source.missing())
        finally:
            source.close()

    def _ended(self, missing: int) -> None:
        """The source ended and every frame is accounted for."""
        frames = self.number - self.passed_over
        self.lane.enter(Stage.ENDED)
        broken = missing if missing > frames * MISSING_TOLD else 0
        self.tell(CameraEnded(camera=self.camera, frames=frames, lost=self.counts["bad_frame"] + broken))
        self.log.info("ended after %d frames", frames)
        if missing > frames * MISSING_TOLD:
            self.log.warning("the file says it has %d more frames; it may be damaged", missing)
        while True:
            self.lane.enter(Stage.ENDED)
            self.wait(None)

    def _lost(self, failure: SourceFailed, delay_s: float) -> None:
        reason = redact(failure.reason)
        self.tell(CameraLost(camera=self.camera, reason=reason, cause=failure.cause, retry_s=delay_s))
        self.condition.begin(f"lost: {reason}")
        self.lane.enter(Stage.BACKOFF)
        until_s = time.monotonic() + delay_s
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                self.wait(left_s)
        except Interrupted:
            return

    # ---- what deliveries use

    def tell(self, message: Message) -> None:
        """Send a message to the hub."""
        self._tell(message)

    def commands(self) -> None:
        """Take up what was posted. Raises Interrupted."""
        while self._commands:
            self._commands.popleft()()
        if self._stopping or self._changed:
            raise Interrupted

    def wait(self, timeout_s: float | None) -> None:
        """Wait for a command, for word from a detector, or for the time to pass; take both up. Raises Interrupted."""
        # poll() counts in milliseconds and Python rounds up, so a wait never ends early.
        for fd, _ in self._poll.poll(None if timeout_s is None else max(timeout_s, 0.0) * 1000):
            if fd == self._wake:
                os.eventfd_read(self._wake)
        self.commands()
        self.take_credits()

    def take_credits(self) -> None:
        """Note what detectors gave back."""
        for link in self.links.copy():
            try:
                frames = link.credits()
            except RingClosed:
                self.drop_link(link)
                continue
            for frame in frames:
                self.settle(frame)

    def drop_link(self, link: Link) -> None:
        """Close a link whose other side is gone."""
        self._poll.unregister(link.ring.fileno())
        self.links.remove(link)
        for frame in link.close():
            self.settle(frame)

    def deliver(self, frame: Frame, link: Link) -> bool:
        """Prepare and send `frame`. False if the link turned out to be closed. Raises BadFrame."""
        self.lane.enter(Stage.CONVERT)
        self.held.hold(frame)
        try:
            link.deliver(frame, self.orientation, self.config.crop)
        except RingClosed:
            self.drop_link(link)
            return False
        return True

    def settle(self, frame: Frame) -> None:
        """A frame came back from a link, acknowledged or not."""
        if frame.waiting or frame.kept:
            return
        if frame.acknowledged:
            self.held.inferred(frame)
        else:
            self.held.drop(frame)

    def announce(self, frame: Frame) -> None:
        """Say that the source is open, or that its size changed."""
        again = self.size != (0, 0)
        self.size = (frame.width, frame.height)
        if not again:
            self._opened_at_s = time.monotonic()
            self.condition.end("is back")
        detail = self._opened.detail + (f"; the size changed to {frame.width}x{frame.height}" if again else "")
        self.log.info("%s", detail)
        self.tell(
            CameraOpened(
                camera=self.camera,
                passed_over=self.passed_over,
                width=frame.width,
                height=frame.height,
                fps=self._opened.fps,
                live=self._live,
                detail=detail,
            )
        )

    # ---- commands, in the thread

    def _attach(self, link: Link) -> None:
        self.links.append(link)
        self._poll.register(link.ring.fileno(), select.POLLIN)

    def _detach(self, number: int) -> None:
        for link in self.links.copy():
            if link.number == number:
                self.drop_link(link)

    def _configure(self, config: CameraConfig) -> None:
        reopen = needs_reopen(self.config, config)
        if config.source != self.config.source or config.pace != self.config.pace:
            self.passed_over = self.number
        self.config = config
        self._changed = self._changed or reopen
