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
from vigild.detector.filter import Filter
from vigild.detector.links import Link, Turns, turn_ns
from vigild.detector.model import Model
from vigild.geometry import View
from vigild.ipc.channel import Channel, ChannelClosed
from vigild.ipc.messages import AttachDetector, Detach, Exit, LoadModel, Message, Result, SetFilter, ToDetector
from vigild.ipc.progress import Lane, Stage
from vigild.ipc.ring import Frame, RingClosed, RingReader
from vigild.log import Condition, logger

log = logger("detector")

IDLE_S = 0.5
"""How often WAIT is entered again while idle, so that the hub can tell idle from hung."""

COLLECT_EVERY_FRAMES = 1000
"""The cyclic garbage collector runs only here and when idle; nothing in the loop makes cycles."""


class Stop(Exception):
    """The hub asked for the end, or is gone."""


class Loop:
    """Serves rings until `Exit` comes or the hub is gone."""

    def __init__(self, channel: Channel[ToDetector], lane: Lane, model: Model, filter_: Filter) -> None:
        self._channel = channel
        self._control = channel.fileno()
        channel.sock.setblocking(False)
        self._lane = lane
        self._model = model
        self._filter = filter_
        self._links: dict[int, Link] = {}
        self._by_fd: dict[int, Link] = {}
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
                link = self._turns.next(self._links.values())
                if link is None:
                    self._wait()
                    continue
                frame = link.waiting.popleft()
                try:
                    self._infer(link, frame)
                except RingClosed as closed:
                    self._drop(link, f"its camera is gone ({closed})")
                self._receive(0)
        except (Stop, ChannelClosed):
            pass
        finally:
            gc.enable()
            for link in list(self._links.values()):
                link.close()
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
            elif (link := self._by_fd.get(fd)) is not None:
                self._take(link)
        return bool(events)

    def _take(self, link: Link) -> None:
        """Frames of one ring into its queue."""
        try:
            frames = link.ring.receive()
            if not frames:
                return
            now = time.monotonic_ns()
            link.note_arrival(now)
            if not link.waiting:
                self._turns.begin_waiting(link)
            link.waiting.extend(frames)
            while len(link.waiting) > 1 and not link.keep_every:
                link.superseded += 1
                link.ring.give_back(link.waiting.popleft(), now + self._turn_ns(link, now))
        except RingClosed as closed:
            self._drop(link, f"its camera is gone ({closed})")
        except (struct.error, ValueError) as error:
            self._drop(link, f"what its camera sent is no frame ({error})", warn=True)

    def _turn_ns(self, link: Link, now: int) -> int:
        return turn_ns(link, self._links.values(), self._frame_ns, now)

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
                if (link := self._links.get(message.link)) is not None:
                    self._drop(link, "it is no longer wanted")
            elif isinstance(message, SetFilter):
                self._set_filter(message)
            elif isinstance(message, LoadModel):
                log.error("a second LoadModel was ignored: a worker runs one model")

    def _set_filter(self, message: SetFilter) -> None:
        labels = self._model.labels
        self._filter = Filter(
            labels, message.min_score, message.max_results, message.labels_allowed, message.labels_denied
        )
        if unknown := self._filter.unknown(labels):
            log.warning("no class of the model is called %s", ", ".join(unknown))

    def _attach(self, message: AttachDetector, fds: list[int]) -> None:
        if len(fds) != 2 or message.spec != self._model.spec:
            for fd in fds:
                os.close(fd)
            log.error("camera %s: its ring does not fit this model and was not attached", message.camera)
            return
        if (old := self._links.get(message.link)) is not None:
            self._drop(old, "its number was given again")
        try:
            ring = RingReader(fds[0], socket.socket(fileno=fds[1]), message.spec.nbytes, message.slots)
        except (OSError, ValueError) as error:
            log.error("camera %s: its ring cannot be used: %s", message.camera, error)
            return
        link = Link(message, ring)
        self._links[link.link] = link
        self._by_fd[ring.fileno()] = link
        self._poll.register(ring.fileno(), select.EPOLLIN)
        log.debug("camera %s attached as link %d", link.camera, link.link)

    def _drop(self, link: Link, reason: str, warn: bool = False) -> None:
        if self._links.get(link.link) is not link:
            return
        (log.warning if warn else log.debug)("camera %s: link %d closed, %s", link.camera, link.link, reason)
        del self._links[link.link]
        fd = link.ring.fileno()
        del self._by_fd[fd]
        with contextlib.suppress(OSError):
            self._poll.unregister(fd)
        link.close()

    # ---- one frame

    def _infer(self, link: Link, frame: Frame) -> None:
        """Copy, invoke, decode, publish. Raises RingClosed."""
        model, enter = self._model, self._lane.enter
        copying = enter(Stage.COPY)
        np.copyto(model.input_view(), link.images[frame.slot])
        if not link.keep_every:
            link.ring.give_back(frame, copying + self._turn_ns(link, copying))
        invoking = enter(Stage.INVOKE)
        model.interpreter.invoke()
        decoding = enter(Stage.DECODE)
        view: View = frame.view
        fault = ""
        try:
            detections, truncated = model.decode(view, self._filter)
            self._outputs.end("the model's outputs have a meaning again")
        except BadOutput as error:
            detections, truncated, fault = [], False, str(error)
            self._outputs.begin(f"nothing can be said of what the cameras show: {fault}")
        publishing = enter(Stage.PUBLISH)
        self._publish(
            Result(
                link=link.link,
                camera=link.camera,
                frame=frame.frame,
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
                superseded=link.superseded,
            )
        )
        link.superseded = 0
        if link.keep_every and not link.ring.closed:
            link.acknowledge(frame)
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


def tell(channel: Channel[ToDetector], message: Message) -> None:
    """Send a message before the loop runs; the hub being gone ends the worker elsewhere."""
    with contextlib.suppress(ChannelClosed):
        channel.send(message)
