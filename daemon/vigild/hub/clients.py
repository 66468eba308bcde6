"""One connected client: its socket, what it asked for, what waits for it.

    client = Client(loop, sock, number, peer, turns, handle=..., closed=...)
    client.deliver(tail, ...)     # hot: a bytes join and a send(); queues when the socket is full
    client.answer(line)

Nothing here blocks. The socket is written to directly; only when the kernel's buffer is full does the
event loop come in (`add_writer`), so that a client that keeps up costs one system call a message.
What it asks for is read and done when it is its turn (`serve`), see `turns`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
from collections import deque
from collections.abc import Callable

from vigild.hub.outbox import Outbox
from vigild.hub.privilege import Peer
from vigild.hub.turns import Turns
from vigild.wire.framing import MAX_REQUEST_BYTES, LineEvent, LineReceiver
from vigild.wire.messages import ClientHealth
from vigild.wire.policy import FrameRate, Policy, detections_line

READ_PAUSE_BYTES = 256 * 1024
"""With more than this pending, no more requests are read: answers are never dropped, so they are bounded here."""

PENDING_BYTES = 4 * 1024 * 1024
"""With more than this pending the connection is closed: events and one snapshot cannot come to that
for a client that reads at all."""

STALL_S = 10.0
"""A connection that accepts no byte for so long, while some wait, is closed."""

REQUESTS_PER_SECOND = 200
"""Requests and reads per client; more wait for the next second. What they may cost is bounded apart from that
(`turns`): this one is for the reader of a log, and for those who ask more often than anything changes."""

SHORT = frozenset((errno.ENOBUFS, errno.ENOMEM))
"""The kernel has no memory for it now: no fault of the client's, which keeps its connection; tried again a second
later."""

READ_BYTES = 4096
"""Read at once, so that requests of several clients take turns."""

SEND_BUFFER_BYTES = 32 * 1024
"""SO_SNDBUF. What the kernel holds can no longer be dropped, so it is stale by the time a slow client
reads it. Linux doubles the figure and counts its own bookkeeping (some 0.8 KiB for a small line), so
this holds about 2 s of lines at 30 frames/s; the default of 208 KiB would hold 7 s."""


class Client:
    """A connection. `handle(client, event)` is called for each line; `closed(client)` once at the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        number: int,
        peer: Peer,
        turns: Turns,
        handle: Callable[[Client, LineEvent], None],
        closed: Callable[[Client, str], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.number = number
        self.peer = peer
        self.connected_s = loop.time()
        self.asked = False
        """Whether it has ever sent a line."""
        self.policy: Policy | None = None
        """None: does not watch."""
        self.watches_detections = False
        self.is_open = True
        self.busy = False
        """An order of this client is being carried out: the next of its requests waits."""
        self.snapshot_in_flight = False
        self.seq = 0
        self.sent = 0
        self._loop = loop
        self._sock = sock
        self._send = sock.send
        self._turns = turns
        self._handle = handle
        self._closed = closed
        self._receiver = LineReceiver(MAX_REQUEST_BYTES)
        self._inbox: deque[LineEvent] = deque()
        self._allowance = REQUESTS_PER_SECOND
        self._reading = False
        self._queued = False
        """It waits for its turn."""
        self._eof = False
        self._finishing = False
        self._outbox = Outbox()
        self._rest: memoryview | None = None
        """What is left of a line that was begun: it is finished before anything else."""
        self._rest_is_detections = False
        self._blocked = False
        self._writing = False
        """The loop tells when the socket takes more."""
        self.trouble = ""
        """Why it had to wait for the kernel since the last look; for the log."""
        self._accepted_s = 0.0
        """When the socket last took a byte, or began not to."""
        self._rates: dict[str, FrameRate] = {}
        self._update_reading()

    # ---- what the server asks

    @property
    def pending_bytes(self) -> int:
        return self._outbox.pending_bytes + (len(self._rest) if self._rest is not None else 0)

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    def health(self) -> ClientHealth:
        return ClientHealth(
            id=self.number,
            pid=self.peer.pid,
            watching=self.policy is not None,
            sent=self.sent,
            dropped=self.dropped,
            pending_bytes=self.pending_bytes,
        )

    # ---- the stream

    def watch(self, policy: Policy | None) -> None:
        """Put a policy in force; None ends the stream, and what waits of it is forgotten."""
        self.policy = policy
        self.watches_detections = policy is not None and "detections" in policy.topics
        self._rates.clear()
        if policy is None:
            self._outbox.forget_stream()

    def admits(self, camera: str, max_fps: float, now_s: float) -> bool:
        """Whether the client's frame rate lets a message of this camera through now."""
        rate = self._rates.get(camera)
        if rate is None:
            rate = self._rates[camera] = FrameRate(max_fps)
        return rate.admits(now_s)

    def deliver(self, tail: bytes) -> None:
        """Send or queue a `detections` line; the oldest that waits may be dropped for it."""
        self.seq += 1
        if self._blocked:
            self._outbox.add_detections(self.seq, tail)
            return
        line = detections_line(tail, self.seq, self._outbox.dropped)
        try:
            count = self._send(line)
        except BlockingIOError:
            self._outbox.add_detections(self.seq, tail)
            self._block()
        except OSError as error:
            if error.errno in SHORT:
                self._outbox.add_detections(self.seq, tail)
            self._cannot_send(error)
        else:
            if count == len(line):
                self.sent += 1
            else:
                self._rest = memoryview(line)[count:]
                self._rest_is_detections = True
                self._block()

    def latest(self, key: str, line: bytes) -> None:
        """Send or queue a line of which only the newest matters."""
        if self._blocked:
            self._outbox.add_latest(key, line)
        else:
            self.answer(line)

    def answer(self, line: bytes) -> None:
        """Send or queue a line that is never dropped. Closes a client that has too much pending."""
        if not self.is_open:
            return
        self._outbox.add_firm(line)
        if not self._blocked:
            self._flush()
        if self.pending_bytes > PENDING_BYTES:
            self.close(f"{self.pending_bytes} bytes were waiting for it: it reads too slowly")

    # ---- writing

    def _block(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._accepted_s = self._loop.time()
            self._update_writing()

    def _cannot_send(self, error: OSError) -> None:
        """For a moment (then `sweep` goes on with it), or for ever."""
        if error.errno not in SHORT:
            self.close(error.strerror or str(error))
            return
        if not self._blocked:
            self._accepted_s = self._loop.time()
        self._blocked = True  # the socket may well be writable: the loop would call without end
        self._waits("written to", error)
        self._stop_writing()

    def _update_writing(self) -> None:
        if self._blocked and not self._writing:
            try:
                self._loop.add_writer(self._sock, self._writable)
                self._writing = True
            except OSError as error:
                self._waits("watched", error)

    def _waits(self, what: str, error: OSError) -> None:
        """Nothing is lost: `sweep` comes by within a second."""
        self.trouble = f"cannot be {what} now ({error.strerror or error}); trying again within a second"

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _writable(self) -> None:
        began_s = self._loop.time()
        of_stream = self._flush()
        if of_stream < 1.0:  # answers: sending them is part of what was asked for
            self._turns.spend(self, (1.0 - of_stream) * (self._loop.time() - began_s))

    def _flush(self) -> float:
        """Send what waits until the socket is full or nothing waits; returns the stream's share of the lines sent."""
        lines = of_stream = 0
        while self.is_open:
            if self._rest is None:
                following = self._outbox.pop()
                if following is None:
                    break
                self._rest, self._rest_is_detections = memoryview(following[0]), following[1]
            try:
                count = self._send(self._rest)
            except BlockingIOError:
                # A line popped but not begun counts as begun; it would be the next in any case.
                self._block()
                self._update_reading()
                break
            except OSError as error:
                self._cannot_send(error)
                break
            lines += 1
            of_stream += self._rest_is_detections
            self._accepted_s = self._loop.time()
            if count < len(self._rest):
                self._rest = self._rest[count:]
            else:
                self._rest = None
                self.sent += self._rest_is_detections
        if self._blocked and self.is_open and self._rest is None:
            self._blocked = False
            self._stop_writing()
            self.wake()
        self._close_if_done()
        return of_stream / lines if lines else 1.0

    # ---- reading

    def wake(self) -> None:
        """What held it back is over: it gets a turn if requests of it wait, else they are read when they come."""
        if self._inbox and self._may_read():
            self._turns.add(self)
            self._queued = True
        self._update_reading()
        self._close_if_done()

    def serve(self, until_s: float) -> bool:
        """Its turn: read and carry out requests until the clock says `until_s`, one in any case; whether more wait."""
        self._queued = False
        more = True
        while more and self._may_read():
            if self._inbox:
                self._allowance -= 1
                self.asked = True
                self._handle(self, self._inbox.popleft())
            else:
                more = not self._eof and self._read()
            if self._loop.time() >= until_s:
                break
        self._queued = more and self._may_read() and (bool(self._inbox) or not self._eof)
        self._update_reading()
        self._close_if_done()
        return self._queued

    def _may_read(self) -> bool:
        return (
            self.is_open
            and not self._finishing
            and not self.busy
            and self._allowance > 0
            and self.pending_bytes <= READ_PAUSE_BYTES
        )

    def _update_reading(self) -> None:
        wanted = self._may_read() and not self._inbox and not self._eof and not self._queued
        if wanted and not self._reading:
            try:
                self._loop.add_reader(self._sock, self._readable)
            except OSError as error:
                self._waits("watched", error)
                wanted = False
        elif self._reading and not wanted:
            self._loop.remove_reader(self._sock)
        self._reading = wanted

    def _readable(self) -> None:
        # Not read here: when it is its turn. Until then the loop need not say again that there is something.
        self._turns.add(self)
        self._queued = True
        self._update_reading()

    def _read(self) -> bool:
        """Take in what has come; False when nothing has."""
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in SHORT:
                self._allowance = 0  # until `sweep`
                self._waits("read from", error)
            else:
                self.close(error.strerror or str(error))
            return False
        self._allowance -= 1
        if data:
            self._inbox.extend(self._receiver.receive(data))
        else:
            # Its writing side only: `echo '{"type":"status"}' | nc -N -U ...` still waits for the answer.
            self._eof = True
            self._inbox.extend(self._receiver.receive_eof())
        return True

    def has_asked(self) -> bool:
        """Whether it has sent anything yet, read or not."""
        if self.asked or self._inbox or self._queued or self._eof:
            return True
        with contextlib.suppress(OSError):  # nothing there, mostly
            return bool(self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        return False

    # ---- the end

    def sweep(self, now_s: float) -> None:
        """Once a second: renew the allowance, and close a connection that takes nothing."""
        if self._blocked and now_s - self._accepted_s > STALL_S:
            self.close(f"it read nothing for {STALL_S:.0f} s")
            return
        if self._eof and self.is_gone():
            self.close("")
            return
        self._allowance = REQUESTS_PER_SECOND
        self._update_writing()
        self.wake()

    def is_gone(self) -> bool:
        """Whether the other side has closed altogether; while nothing is sent nor read, nothing else would tell."""
        if not self.is_open:
            return True
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(events & select.POLLHUP for _fd, events in poll.poll(0))

    def finish(self) -> None:
        """Close as soon as what waits is sent; nothing is added to it."""
        self._finishing = True
        self.policy = None
        self.watches_detections = False
        self._update_reading()
        self._close_if_done()

    def _close_if_done(self) -> None:
        """Close when nothing can come of this connection any more: it will ask nothing, and gets nothing."""
        if not self.is_open or self._blocked:
            return
        silent = self._eof and not self._inbox and not self.busy and not self.snapshot_in_flight
        if self._finishing or (silent and self.policy is None):
            self.close("")

    def close(self, reason: str) -> None:
        """Close now. `reason` is empty when all is in order."""
        if not self.is_open:
            return
        self.is_open = False
        self._reading = self._writing = False
        self.policy = None
        self.watches_detections = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._inbox.clear()
        self._turns.remove(self)
        self._closed(self, reason)
