"""How frames leave a camera: its outlets, what is on the way through them, and what is held.

    delivery = Delivery("front", config, lane, tell, resume_after=0)
    delivery.attach(outlet)
    if delivery.send(frame, outlet): ...
    delivery.wait(0.02)                    # commands and credits, whichever comes

Used by the camera's thread alone, but for `post` and `stats`. `live` and `every` decide which frame
goes when; the thread in `pipeline` opens and closes the source around them.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections import Counter, deque
from collections.abc import Callable

from vigild import log
from vigild.camera.frames import Buffers, Frame
from vigild.camera.limits import Limits
from vigild.camera.orientation import Orientation
from vigild.camera.outlet import Outlet
from vigild.camera.snapshot import KEEP_INFERRED, HeldFrames
from vigild.camera.sources.base import Opened
from vigild.config.schema import CameraConfig
from vigild.ipc.messages import CameraOpened, CameraStats, Message
from vigild.ipc.progress import Lane, Stage
from vigild.ipc.ring import RingClosed

MAX_SLOTS_HELD = 8
"""Buffers kept for reuse; more slots than this are not expected of a ring."""


class Interrupted(Exception):
    """The thread is to stop, or to start over with other settings."""


class Delivery:
    """The state of a camera that outlives a session of its source."""

    def __init__(
        self,
        camera: str,
        config: CameraConfig,
        lane: Lane,
        tell: Callable[[Message], None],
        resume_after: int,
        passed_over: int = 0,
    ) -> None:
        self.camera = camera
        self.config = config
        self.lane = lane
        self.tell = tell
        """Send a message to the hub."""
        self.log: logging.Logger = log.logger(f"camera.{camera}")
        self.condition = log.Condition(self.log)
        """That the source is lost: said once, and once that it is back."""
        self.limits = Limits()
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
        self.outlets: list[Outlet] = []
        self._last_sent: dict[int, int] = {}
        """Number of the newest frame sent, by group of outlets."""
        self.queue: deque[Frame] = deque()
        """Frames of a source read one by one that no detector, or not each, has acknowledged; in order."""
        self.buffers = Buffers(MAX_SLOTS_HELD)
        self.held = HeldFrames(self.buffers)
        self.orientation = Orientation()
        self.size = (0, 0)
        """Of the upright frame; (0, 0) until the open source gave its first one."""
        self.works_since_s = 0.0
        """When the open source gave its first frame (monotonic); 0 before."""
        self.stopping = False
        self.changed = False
        """Settings that need the source opened again are different now."""
        self._opened = Opened(0.0, "")
        self._live = False
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)

    # ---- from any thread

    def post(self, command: Callable[[], None]) -> None:
        """Have the camera's thread call `command` between two frames."""
        self._commands.append(command)
        os.eventfd_write(self._wake, 1)

    def stats(self) -> CameraStats:
        return CameraStats(camera=self.camera, grabbed=self.grabbed, delivered=self.delivered, drops=dict(self.counts))

    # ---- commands and credits

    def commands(self) -> None:
        """Take up what was posted. Raises Interrupted."""
        while self._commands:
            self._commands.popleft()()
        if self.stopping or self.changed:
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
        for outlet in self.outlets.copy():
            try:
                frames = outlet.credits()
            except RingClosed:
                self.drop(outlet)
                continue
            for frame in frames:
                self.settle(frame)

    # ---- frames

    def send(self, frame: Frame, outlet: Outlet) -> bool:
        """Prepare and send `frame`. False if the outlet turned out to be closed. Raises BadFrame."""
        self.lane.enter(Stage.CONVERT)
        self.held.hold(frame)
        try:
            outlet.send(frame, self.orientation, self.config.crop, self._last_sent.get(outlet.group, 0))
        except RingClosed:
            self.drop(outlet)
            return False
        self._last_sent[outlet.group] = frame.number
        return True

    def settle(self, frame: Frame) -> None:
        """A frame came back from an outlet, acknowledged or not."""
        if frame.waiting or frame.kept:
            return
        if frame.acknowledged:
            self.held.inferred(frame)
        else:
            self.held.drop(frame)

    # ---- the source

    def begin(self) -> None:
        """A source is about to be opened, with the settings of now."""
        self.orientation = Orientation.of(self.config.rotate, self.config.flip)
        self.size = (0, 0)
        self.works_since_s = 0.0
        self.changed = False

    def opened(self, opened: Opened, live: bool) -> None:
        """The source is open; hub and log are told with its first frame."""
        self._opened = opened
        self._live = live

    def announce(self, frame: Frame) -> None:
        """The first frame of an open source is there, or frames have another size from this one on."""
        first = self.size == (0, 0)
        self.size = (frame.width, frame.height)
        if first:
            self.works_since_s = time.monotonic()
            self.condition.end("is back")
        self._tell_opened("" if first else f"; the size changed to {frame.width}x{frame.height}")

    def rate_changed(self, opened: Opened) -> None:
        """The open source has another rate of its own from now on."""
        self._opened = opened
        if self.size != (0, 0):
            self._tell_opened("")

    def _tell_opened(self, more: str) -> None:
        detail = self._opened.detail + more
        self.log.info("%s", detail)
        self.tell(
            CameraOpened(
                camera=self.camera,
                passed_over=self.passed_over,
                width=self.size[0],
                height=self.size[1],
                fps=self._opened.fps,
                live=self._live,
                detail=detail,
            )
        )

    # ---- what commands do

    def attach(self, outlet: Outlet) -> None:
        self.outlets.append(outlet)
        self._poll.register(outlet.ring.fileno(), select.POLLIN)

    def detach(self, number: int) -> None:
        for outlet in self.outlets.copy():
            if outlet.number == number:
                self.drop(outlet)

    def drop(self, outlet: Outlet) -> None:
        """Close an outlet whose other side is gone."""
        self._poll.unregister(outlet.ring.fileno())
        self.outlets.remove(outlet)
        if all(other.group != outlet.group for other in self.outlets):
            self._last_sent.pop(outlet.group, None)
        for frame in outlet.close():
            self.settle(frame)

    def limit(self, max_fps: float, holds: list[str]) -> None:
        """What the hub allows from now on; see SetLimits."""
        self.limits.cap("hub", max_fps)
        self.limits.hold(holds)

    def trim(self, on: bool) -> None:
        """Memory is short: hold as little as a snapshot needs, and keep no spare buffers."""
        self.held.keep = 1 if on else KEEP_INFERRED
        self.buffers.trim()

    def configure(self, config: CameraConfig) -> None:
        """Take up changed settings."""
        # Only when somebody changes them: the whole schema and TOML come with it, 12 ms of a start and 0.6 MiB.
        from vigild.config.changes import reopens

        self.changed = self.changed or reopens(self.config, config)
        if config.source != self.config.source or config.pace != self.config.pace:
            self.passed_over = self.number
        self.config = config

    def close(self) -> None:
        for outlet in self.outlets.copy():
            self.drop(outlet)
