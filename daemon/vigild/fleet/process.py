"""One worker process: start it, talk to it, kill it, and say in words why it died.

    processes = Processes()
    worker = processes.start("camera.front", "vigild.camera", FromCamera, on_message, on_exit)
    worker.send(AddCamera(...))
    worker.kill("camera front gave no frame for 1.8 s")

`Starter` and `Worker` are what the fleet asks of it; a test gives it others.

The hub never waits for a child: its end comes as a readable pidfd, and a child in uninterruptible
sleep is simply left to end when the kernel lets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from vigild import log
from vigild.ipc.channel import Channel, ChannelClosed, socketpair
from vigild.ipc.progress import STAGE_TEXT, Progress, Stage
from vigild.ipc.ring import make_memfd

STDERR_LINES = 20
MAX_STDERR_LINE_BYTES = 4096
LANES_READ = 32
"""Threads looked at for the reason of a death: one per camera of a shared worker."""

LAST_WORDS_S = 2.0
"""A line older than this at the death was about something else."""

# What libraries say when all is well: TensorFlow Lite's "INFO: ...", absl's "I0000 00:00:...".
_CHATTER = re.compile(r"(INFO|VERBOSE|DEBUG)\b|[IV]\d{4} ")

# What systemd means for the hub alone, and what would let a library take the interpreter's cores.
_NOT_INHERITED = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")
_THREAD_LIMITS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc makes an arena of its own per thread; one is enough, and arenas are what grows.
    "MALLOC_ARENA_MAX": "2",
}


_TOLD_TO_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
"""What a terminal or a supervisor sends to all processes at once: the hub alone decides what becomes of it."""


class Worker(Protocol):
    """A child, as the fleet sees it."""

    name: str
    pid: int
    exit_status: int | None
    ended_in: Stage

    def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> bool:
        """Returns False if the worker is gone or does not read; then it is being ended anyway."""
        ...

    def drain(self) -> None:
        """Take in everything that the worker has sent already."""
        ...

    def stage(self, lane: int = 0) -> tuple[Stage, int]:
        """What the thread of this lane does, and since when (monotonic ns)."""
        ...

    @property
    def killed_from_outside(self) -> bool:
        """By neither us nor itself: somebody's kill, or the kernel for lack of memory."""
        ...

    def kill(self, because: str) -> None:
        """SIGKILL at once. `because` becomes the reason that clients and the log see."""
        ...


class RingEnds(NamedTuple):
    """The memory of a ring, and the two ends of its socket; to be closed once they are passed on."""

    memfd: int
    camera_fd: int
    detector_fd: int

    def close(self) -> None:
        for fd in self:
            os.close(fd)


class Starter(Protocol):
    """Makes what the fleet consists of. Both raise OSError: no process, no descriptor or no memory is left."""

    def start(
        self,
        name: str,
        module: str,
        decode: Any,
        on_message: Callable[[Any, list[int]], None],
        on_exit: Callable[[str], None],
    ) -> Worker:
        """Run `python -m module`. `on_exit(reason)` is called exactly once, after the last message."""
        ...

    def ring(self, name: str, slot_bytes: int, slots: int) -> RingEnds: ...


class Processes:
    """The real ones. To be used inside a running event loop."""

    def start(
        self,
        name: str,
        module: str,
        decode: Any,
        on_message: Callable[[Any, list[int]], None],
        on_exit: Callable[[str], None],
    ) -> Worker:
        return WorkerProcess(name, module, decode, on_message, on_exit)

    def ring(self, name: str, slot_bytes: int, slots: int) -> RingEnds:
        memfd = make_memfd(name, slot_bytes, slots)
        try:
            camera, detector = socketpair()
        except OSError:
            os.close(memfd)
            raise
        return RingEnds(memfd, camera.detach(), detector.detach())


def _nobody(*_: object) -> None:
    """Listens to a worker that has ended."""


def why_not_started(error: Exception) -> str:
    """What `Starter.start` raised, as the reason of a failure."""
    if isinstance(error, OSError):
        return f"cannot be started: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return "cannot be started: no memory is left"
    return f"cannot be started: {error!r}"


_running: set[int] = set()


def running_pids() -> frozenset[int]:
    """Of all workers that this hub has started and not seen the end of."""
    return frozenset(_running)


def worker_environment() -> dict[str, str]:
    """The hub's environment as workers get it."""
    env = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**_THREAD_LIMITS, **env, "PYTHONUNBUFFERED": "1"}


def signal_name(number: int) -> str:
    """ "SIGABRT" for 6."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class WorkerProcess:
    """A running child. `on_exit(reason)` is called exactly once, after the last message."""

    def __init__(
        self,
        name: str,
        module: str,
        decode: Any,
        on_message: Callable[[Any, list[int]], None],
        on_exit: Callable[[str], None],
    ) -> None:
        """Raises OSError when there is no process, descriptor or memory left; nothing is kept of it then."""
        self.name = name
        self.log = log.logger(name)
        self._on_message = on_message
        self._on_exit = on_exit
        self._killed_because: str | None = None
        self.exit_status: int | None = None
        self.ended_in = Stage.START
        """What it was doing when it ended."""
        self.stderr_tail: deque[tuple[float, str]] = deque(maxlen=STDERR_LINES)
        """What native libraries wrote: (monotonic seconds, line)."""
        self._stderr_rest = b""
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            self.progress = Progress.create(name)
            undo.callback(self.progress.close)
            hub_end, worker_end = socketpair()
            undo.callback(hub_end.close)
            hub_end.setblocking(False)
            with worker_end:
                stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                undo.callback(os.close, stderr_read)
                try:
                    os.set_blocking(stderr_write, True)
                    self._popen = self._run(module, worker_end.fileno(), stderr_write)
                finally:
                    os.close(stderr_write)
            self.pid = self._popen.pid
            undo.callback(self._end_half_started)
            self._pidfd = os.pidfd_open(self.pid)
            undo.callback(os.close, self._pidfd)
            self.channel: Channel[Any] = Channel(hub_end, decode)
            self._stderr = stderr_read
            for fd, react in (
                (hub_end.fileno(), self._readable),
                (stderr_read, self._stderr_readable),
                (self._pidfd, self._exited),
            ):
                # A number that is closed while the loop still knows it could never be watched again.
                undo.callback(self._loop.remove_reader, fd)
                self._loop.add_reader(fd, self._guarded, react)
            undo.pop_all()
        _running.add(self.pid)

    def _run(self, module: str, control: int, output: int) -> subprocess.Popen[bytes]:
        # What is sent to the whole process group in this moment would end the child before it can say that it
        # leaves such signals to the hub (`ipc.worker.start`): it begins with them blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD_TO_STOP)
        try:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", module),
                    *(f"--control={control}", f"--progress={self.progress.fd}", f"--parent={os.getpid()}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(control, self.progress.fd),
                env=worker_environment(),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _end_half_started(self) -> None:
        """It runs, but cannot be watched (no descriptor is left)."""
        self._popen.kill()
        self._popen.wait()

    def _guarded(self, react: Callable[[], object]) -> None:
        """A fault of ours in a reaction must not leave a worker half served: it is ended, and started again."""
        try:
            react()
        except Exception:
            self.log.exception("a fault of the hub's own while it listened to %s", self.name)
            if self.exit_status is None:
                self.kill("the hub failed to understand it")

    # ---- talking

    def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> bool:
        """Returns False if the worker is gone or does not read; then it is being ended anyway."""
        if self.exit_status is not None:
            return False
        try:
            self.channel.send(message, fds)
        except ChannelClosed:
            return False
        except BlockingIOError:
            self.kill("did not read its control channel")
            return False
        except OSError as error:
            # No memory for the packet, or for the descriptors in it. What it was to be told is lost, so it cannot
            # go on as if nothing were.
            self.kill(f"could not be told what to do ({error.strerror or error})")
            return False
        return True

    def _readable(self) -> bool:
        """Take in one message; False when there is none. The loop calls again while more wait."""
        try:
            message, fds = self.channel.receive()
        except BlockingIOError:
            return False
        except ChannelClosed:
            self._loop.remove_reader(self.channel.fileno())
            return False
        except OSError as error:
            self.kill(f"could not be listened to ({error.strerror or error})")
            return False
        except msgspec.DecodeError as error:
            self.kill(f"sent a message that cannot be read ({error})")
            return False
        self._on_message(message, fds)
        return True

    def drain(self) -> None:
        """Take in everything that the worker has sent already."""
        while self.channel.fileno() >= 0 and self._readable():
            pass

    def _stderr_readable(self) -> None:
        try:
            data = os.read(self._stderr, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            # Left unread, it would stand still as soon as the pipe is full.
            self.kill(f"had its output unread ({error.strerror or error})")
            return
        if not data:
            self._loop.remove_reader(self._stderr)
            return
        *lines, self._stderr_rest = (self._stderr_rest + data).split(b"\n")
        if len(self._stderr_rest) > MAX_STDERR_LINE_BYTES:
            lines.append(self._stderr_rest)
            self._stderr_rest = b""
        for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            if line and not log.relay(line, self.name):
                self.stderr_tail.append((time.monotonic(), line))

    # ---- watching

    def stage(self, lane: int = 0) -> tuple[Stage, int]:
        """What the thread of this lane does, and since when (monotonic ns)."""
        return self.progress.lane(lane).read()

    # ---- ending

    @property
    def killed_from_outside(self) -> bool:
        """By neither us nor itself: somebody's kill, or the kernel for lack of memory."""
        return self._killed_because is None and self.exit_status in (-signal.SIGKILL, -signal.SIGTERM)

    def kill(self, because: str) -> None:
        """SIGKILL at once. `because` becomes the reason that clients and the log see."""
        if self.exit_status is None and self._killed_because is None:
            self._killed_because = because
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return  # it has ended; that is told in a moment
            except OSError as error:
                # Whoever wants it dead finds it alive at the next look, and asks again.
                self._killed_because = None
                self.log.error("%s, and cannot be killed: %s", because, error.strerror or error)

    def _exited(self) -> None:
        status = self._popen.poll()
        if status is None:
            return
        _running.discard(self.pid)
        # What it sent and said before the end. Its end is told whatever comes of that.
        self._guarded(self.drain)
        self._guarded(self._stderr_readable)
        self.exit_status = status
        self.ended_in = self._last_stage()
        reason = self._reason(status)
        self._close()
        on_exit = self._on_exit
        # Whoever holds this holds it no longer than us: without the way back, both go at once and not
        # when the cyclic collector comes round, which is after a dozen more.
        self._on_message, self._on_exit = _nobody, _nobody
        on_exit(reason)

    def _reason(self, status: int) -> str:
        if self._killed_because is not None:
            return f"{self._killed_because}; killed"
        doing = STAGE_TEXT[self.ended_in]
        if status < 0:
            return f"killed by {signal_name(-status)} {doing}{self._last_words()}"
        return f"exited with status {status} {doing}{self._last_words() if status else ''}"

    def _last_stage(self) -> Stage:
        """Of the thread that entered a stage last; the main thread counts only when it is alone."""
        lanes = [self.progress.lane(index).read() for index in range(LANES_READ)]
        others = [lane for lane in lanes[1:] if lane[1]]
        return max(others, key=lambda lane: lane[1])[0] if others else lanes[0][0]

    def _last_words(self) -> str:
        """The last line of native stderr: of a Python traceback it is the one that says what happened."""
        recent_s = time.monotonic() - LAST_WORDS_S
        words = [line for at_s, line in self.stderr_tail if at_s >= recent_s and not _CHATTER.match(line)]
        return f" ({words[-1][:300]})" if words else ""

    def _close(self) -> None:
        for fd in (self.channel.fileno(), self._stderr, self._pidfd):
            if fd >= 0:
                self._loop.remove_reader(fd)
        self.channel.close()
        os.close(self._stderr)
        os.close(self._pidfd)
        self.progress.close()
