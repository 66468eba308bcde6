"""`exec:COMMAND`: MJPEG on a command's standard output, such as rpicam-vid's or ffmpeg's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from vigild.camera import warden
from vigild.camera.frames import Buffers, Picture
from vigild.camera.sources.base import MAX_BURST_FRAMES, POLL_S, Grab, Opened, SourceFailed
from vigild.camera.sources.mjpeg import Splitter, picture
from vigild.camera.sources.silence import Silence
from vigild.config.schema import CameraConfig
from vigild.config.source import redact

PIPE_BYTES = 2**20
"""The most an unprivileged process may ask for (fs.pipe-max-size): some frames of headroom."""

READ_BYTES = 2**18
STDERR_BYTES = 4096
"""The end of what the command said, kept for the reason."""

CLOSE_WITHIN_S = 1.0
_SHOWN_COMMAND = 60


class CommandSource:
    """The command runs under a warden from open to close."""

    live = True
    paced = False

    def __init__(self, command: str, config: CameraConfig) -> None:
        self._command = command
        self._config = config
        self._warden: subprocess.Popen[bytes] | None = None
        self._splitter = Splitter()
        self._frame: bytes | None = None
        self._said = b""
        self._poll = select.poll()
        self._silence = Silence(config.open_timeout, config.read_timeout, 0.0)
        self._out = self._err = -1
        self.skipped = 0

    def open(self) -> Opened:
        arguments = [sys.executable, "-I", "-S", warden.__file__, "--parent", str(os.getpid()), "--", self._command]
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/" if not Path.cwd().exists() else None,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceFailed("open", f"the command could not be started ({error.strerror})") from None
        self._warden = process
        assert process.stdout is not None and process.stderr is not None
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory: the default must do
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._splitter = Splitter()
        self._said = b""
        self._silence = Silence(self._config.open_timeout, self._config.read_timeout, time.monotonic())
        self._poll = select.poll()
        for fd in (self._out, self._err):
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)
        shown = redact(self._command)
        shown = shown if len(shown) <= _SHOWN_COMMAND else shown[:_SHOWN_COMMAND] + "..."
        return Opened(0.0, f"MJPEG from the command {shown}")

    def grab(self) -> Grab:
        """The newest frame that is there; waits for one, but not long. Raises SourceFailed."""
        complete = self._splitter.complete
        # A command may write without pause, frames or noise: this loop must end all the same.
        until_s = time.monotonic() + POLL_S
        while self._splitter.complete - complete <= MAX_BURST_FRAMES and (left_s := until_s - time.monotonic()) > 0:
            # With a frame at hand, only what waits already can be better.
            ready = self._poll.poll(left_s * 1000 if self._splitter.complete == complete else 0)
            if not ready:
                break
            for fd, _ in ready:
                if fd == self._err:
                    self._listen()
                elif not self._read():
                    raise self._ended()
        if self._splitter.complete == complete:
            self._silence.check(self._splitter, time.monotonic())
            return Grab.NOTHING
        self._silence.picture(self._splitter, time.monotonic())
        self.skipped += self._splitter.complete - complete - 1
        self._frame = self._splitter.newest()
        return Grab.FRAME

    def _read(self) -> bool:
        """False at the end of the command's output."""
        try:
            data = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return True
        self._splitter.feed(data)
        return bool(data)

    def _listen(self) -> None:
        try:
            data = os.read(self._err, STDERR_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._poll.unregister(self._err)
        self._said = (self._said + data)[-STDERR_BYTES:]

    def _ended(self) -> SourceFailed:
        assert self._warden is not None
        try:
            status = self._warden.wait(CLOSE_WITHIN_S)
        except subprocess.TimeoutExpired:
            return SourceFailed("exit", f"exec source closed its output but still runs{self._last_words()}")
        with contextlib.suppress(ValueError, OSError, KeyError):
            self._listen()
        self._splitter.finish()
        came = f" (it gave {self._splitter.came()})" if self._splitter.total else ""
        pictures = "" if self._splitter.complete else f" without giving a JPEG{came}"
        return SourceFailed("exit", f"exec source exited with status {status}{pictures}{self._last_words()}")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return f": {redact(lines[-1])[:300]}" if lines else ""

    def retrieve(self, buffers: Buffers) -> Picture:
        assert self._frame is not None
        return picture(self._frame)

    def skip(self, frames: int) -> int:
        return 0

    def rewind(self) -> None:
        raise SourceFailed("read", "a command's output has no beginning to go back to")

    def missing(self) -> int:
        return 0

    def set_rate(self, fps: float | None) -> None:
        """The sender decides."""

    def close(self) -> None:
        process, self._warden = self._warden, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(CLOSE_WITHIN_S)
        except subprocess.TimeoutExpired:
            # It waits for a process that the kernel cannot end. SIGKILL would leave that one unwatched.
            return
