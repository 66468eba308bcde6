"""Frames in, results out: the detector worker's main loop.

Between two `invoke()` calls stand one poll, one read per ring that has something, one copy, one
credit, the decoding and one send: a fraction of a millisecond, which is what decides how busy the
interpreter can be kept. A live camera's slot is given back as soon as it is copied, with the time
at which its next frame will be wanted, so that the camera takes the newest picture just in time.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import socket
import struct
import time

import msgspec
import numpy as np

from vigild.detector.errors import BadOutput
from vigild.detector.feeds import Feed, Turns, turn_ns
from vigild.detector.model import Model
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.channel import Channel, ChannelClosed
from vigild.ipc.messages import AttachDetector, Detach, Exit, LoadModel, Message, Result, SetBounds, ToDetector, Trim
from vigild.ipc.progress import Lane, Stage
from vigild.ipc.ring import FilledSlot, RingClosed, RingReader
from vigild.ipc.worker import trim
from vigild.log import Condition, logger
from vigild.minscores import MinScores

log = logger("detector")

IDLE_S = 0.5
"""How often WAIT is entered again while idle, so that the hub can tell idle from hung."""

COLLECT_EVERY_FRAMES = 1000
"""The cyclic garbage collector runs only here and when idle; nothing in the loop makes cycles."""


PASSED_SCORE = 0.1
"""Of a model without a detection op, what scores below this is not passed to the hub: the op itself has such a
threshold, and trackers that look twice stop here (ByteTrack, ECCV 2022, section 3)."""

PASSED_DETECTIONS = 100
"""Passed to the hub at most, best first, unless more are to be reported: as many as the largest op gives."""


class Stop(Exception):
    """The hub asked for the end, or is gone."""


class Loop:
    """Serves rings until `Exit` comes or the hub is gone."""

    def __init__(self, channel: Channel[ToDetector], lane: Lane, model: Model, selection: Selection) -> None:
        self._channel = channel
        self._control = channel.fileno()
        channel.sock.setblocking(False)
        self._lane = lane
        self._model = model
        self._selection = selection
        self._feeds: dict[int, Feed] = {}
        self._by_fd: dict[int, Feed] = {}
        self._turns = Turns()
        self._frame_ns = model.ready.first_invoke_ms * 1e6
        self._frames = 0
        self._outputs = Condition(log)
        self._poll = select.epoll()
        self._poll.register(self._control, select.EPOLLIN)

    def run(self) -> None:
        """Returns when the worker has to end."""
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            while True:
                feed = self._turns.next(self._feeds.values())
                if feed is None:
                    self._wait()
                    continue
                frame = feed.waiting.popleft()
                try:
                    self._infer(feed, frame)
                except RingClosed as closed:
                    self._drop(feed, f"its camera is gone ({closed})")
                self._receive(0)
        except (Stop, ChannelClosed):
            pass
        finally:
            gc.enable()
            for feed in list(self._feeds.values()):
                feed.close()
            self._poll.close()

    # ---- what comes in

    def _wait(self) -> None:
        self._lane.enter(Stage.WAIT)
        if not self._receive(IDLE_S):
            gc.collect()

    def _receive(self, timeout_s: float) -> bool:
        """Take in what has arrived; False when nothing came in time."""
        events = self._poll.poll(timeout_s)
        for fd, _ in events:
            if fd == self._control:
                self._obey()
            elif (feed := self._by_fd.get(fd)) is not None:
                self._take(feed)
        return bool(events)

    def _take(self, feed: Feed) -> None:
        """Frames of one ring into its queue."""
        try:
            frames = feed.ring.receive()
            if not frames:
                return
            now = time.monotonic_ns()
            feed.note_arrival(now)
            if not feed.waiting:
                self._turns.begin_waiting(feed)
            feed.waiting.extend(frames)
            while len(feed.waiting) > 1 and not feed.keep_every:
                feed.superseded += 1
                feed.ring.give_back(feed.waiting.popleft(), now + self._turn_ns(feed, now))
        except RingClosed as closed:
            self._drop(feed, f"its camera is gone ({closed})")
        except (struct.error, ValueError) as error:
            self._drop(feed, f"what its camera sent is no frame ({error})", warn=True)

    def _turn_ns(self, feed: Feed, now: int) -> int:
        return turn_ns(feed, self._feeds.values(), self._frame_ns, now)

    def _obey(self) -> None:
        """All messages that the hub has sent."""
        while True:
            try:
                message, fds = self._channel.receive()
            except BlockingIOError:
                return
            except msgspec.DecodeError as error:
                log.error("a message from the hub was not understood and ignored: %s", error)
                continue
            if isinstance(message, AttachDetector):
                self._attach(message, fds)
                continue
            for fd in fds:
                os.close(fd)
            if isinstance(message, Exit):
                raise Stop
            if isinstance(message, Detach):
                if (feed := self._feeds.get(message.link)) is not None:
                    self._drop(feed, "it is no longer wanted")
            elif isinstance(message, Trim):
                gc.collect()
                trim()
            elif isinstance(message, SetBounds):
                self._selection = passing(self._model, message.min_score, message.max_results)
            elif isinstance(message, LoadModel):
                log.error("a second LoadModel was ignored: a worker runs one model")

    def _attach(self, message: AttachDetector, fds: list[int]) -> None:
        if len(fds) != 2 or message.spec != self._model.spec:
            for fd in fds:
                os.close(fd)
            log.error("camera %s: its ring does not fit this model and was not attached", message.camera)
            return
        if (old := self._feeds.get(message.link)) is not None:
            self._drop(old, "its number was given again")
        try:
            ring = RingReader(fds[0], socket.socket(fileno=fds[1]), message.spec.nbytes, message.slots)
        except (OSError, ValueError) as error:
            log.error("camera %s: its ring cannot be used: %s", message.camera, error)
            return
        feed = Feed(message, ring)
        self._feeds[feed.link] = feed
        self._by_fd[ring.fileno()] = feed
        self._poll.register(ring.fileno(), select.EPOLLIN)
        log.debug("camera %s attached by link %d", feed.camera, feed.link)

    def _drop(self, feed: Feed, reason: str, warn: bool = False) -> None:
        if self._feeds.get(feed.link) is not feed:
            return
        (log.warning if warn else log.debug)("camera %s: link %d closed, %s", feed.camera, feed.link, reason)
        del self._feeds[feed.link]
        fd = feed.ring.fileno()
        del self._by_fd[fd]
        with contextlib.suppress(OSError):
            self._poll.unregister(fd)
        feed.close()

    # ---- one frame

    def _infer(self, feed: Feed, frame: FilledSlot) -> None:
        """Copy, invoke, decode, publish. Raises RingClosed."""
        model, enter = self._model, self._lane.enter
        copying = enter(Stage.COPY)
        np.copyto(model.input_view(), feed.images[frame.slot])
        if not feed.keep_every:
            feed.ring.give_back(frame, copying + self._turn_ns(feed, copying))
        invoking = enter(Stage.INVOKE)
        model.interpreter.invoke()
        decoding = enter(Stage.DECODE)
        view: View = frame.view
        fault = ""
        try:
            detections, truncated = model.decode(view, self._selection)
            self._outputs.end("the model's outputs have a meaning again")
        except BadOutput as error:
            detections, truncated, fault = [], False, str(error)
            self._outputs.begin(f"nothing can be said of what the cameras show: {fault}")
        publishing = enter(Stage.PUBLISH)
        self._publish(
            Result(
                link=feed.link,
                camera=feed.camera,
                frame=frame.frame,
                after=frame.after,
                captured_ns=frame.captured_ns,
                wall_ns=frame.wall_ns,
                width=frame.width,
                height=frame.height,
                decode_ns=frame.decode_ns,
                convert_ns=frame.convert_ns,
                wait_ns=max(copying - frame.sent_ns, 0),
                copy_ns=invoking - copying,
                invoke_ns=decoding - invoking,
                post_ns=publishing - decoding,
                detections=detections,
                truncated=truncated,
                file=frame.file,
                fault=fault,
                superseded=feed.superseded,
            )
        )
        feed.superseded = 0
        if feed.keep_every and not feed.ring.closed:
            feed.acknowledge(frame)
        took = publishing - copying
        # A frame that was held up (by a busy machine) counts for no more than a doubling.
        self._frame_ns += (min(float(took), 2 * self._frame_ns) - self._frame_ns) / 8
        self._frames += 1
        if self._frames % COLLECT_EVERY_FRAMES == 0:
            gc.collect()

    def _publish(self, message: Result) -> None:
        """Send, waiting while the hub does not read; what the hub says meanwhile is obeyed."""
        while True:
            try:
                self._channel.send(message)
                return
            except BlockingIOError:
                self._wait_for_hub()
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS) or not message.detections:
                    raise
                message.detections = message.detections[: len(message.detections) // 2]
                message.truncated = True

    def _wait_for_hub(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN | select.POLLOUT)
        for _, event in poll.poll(IDLE_S * 1000):
            if event & (select.POLLIN | select.POLLHUP):
                self._obey()


def passing(model: Model, min_score: float | None, max_results: int) -> Selection:
    """What the hub is told: all above the model's own threshold, bounded. What is reported, the hub decides."""
    floor = 0.0 if model.has_op else min(PASSED_SCORE, MinScores(model.ready.min_scores, min_score).least())
    return Selection(model.labels, floor, max(PASSED_DETECTIONS, max_results))


def tell(channel: Channel[ToDetector], message: Message) -> None:
    """Send a message before the loop runs; the hub being gone ends the worker elsewhere."""
    with contextlib.suppress(ChannelClosed):
        channel.send(message)
