"""The three standard streams, which whoever starts a program may have left closed, full or gone.

    stdio.open_all()                       # first of all: what is closed becomes /dev/null
    stdio.complain("vigild: no daemon")    # a line on stderr, or nothing where that cannot be
    stdio.notice_failures()
    stdio.stdout_fault()                   # whether an OSError was stdout's
    stdio.hush()                           # the reader went away: no word about it at exit

    terminal = stdio.Terminal.of_this_process()
    terminal.gone()                        # at a SIGHUP, or when writing failed with EIO

A descriptor below 3 that is free is given to the next file or socket that is opened, and then every
`print` goes there. That is why they are filled before anything else is opened.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, TextIO

from vigild import plain
from vigild.terminal import Screen, wrap

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CONTROLLING_TERMINAL = "/dev/tty"
"""What the controlling terminal is called in every process that has one (tty(4)); opening it fails in the others."""


def open_all() -> None:
    """Open descriptors 0 to 2 that are closed on /dev/null, and give Python streams for them."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below `number` are in use by now.
            opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            os.set_inheritable(opened, True)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def complain(sentence: str) -> None:
    """A sentence on stderr: a line, or on a terminal as many as its width asks for, broken between words.

    That it cannot be written is no reason to fail otherwise.
    """
    try:
        columns = Screen.of(sys.stderr).columns
        for line in wrap(plain.spelt(sentence), columns, indent=2):
            print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        hush(sys.stderr)


def hush(*streams: TextIO) -> None:
    """Send what these streams (default: stdout and stderr) still hold to /dev/null.

    Python writes it at exit, and where that fails complains once more and changes the exit status.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams or (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):  # no descriptor behind it, as under a test
            continue
    os.close(nowhere)


class _Noticing(io.BufferedWriter):
    """Of descriptor 1, remembering that it failed: the buffer forgets what it could not write, and so do its callers.

    It is the buffer that notices and not the file below it: a Ctrl-C between the system call and the buffer's own
    accounting would have the same bytes written twice.
    """

    failed: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failed = error
            raise


def notice_failures() -> None:
    """From now on `stdout_fault` knows what happened to stdout. A stream that a test put in its place is left alone."""
    old = sys.stdout
    if not isinstance(old, io.TextIOWrapper) or old is not sys.__stdout__:
        return
    old.flush()
    buffer = _Noticing(io.FileIO(old.fileno(), "w", closefd=False))
    sys.stdout = io.TextIOWrapper(buffer, encoding=old.encoding, errors="backslashreplace", line_buffering=old.isatty())


def stdout_fault() -> OSError | None:
    """Why stdout takes nothing any more (its reader or its terminal is gone, its disk is full), or None."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    return buffer.failed if isinstance(buffer, _Noticing) else None


class Terminal(NamedTuple):
    """Whether this process belonged to a terminal when it began, and whether it was told to outlive it."""

    controlling: bool
    """It had a controlling terminal: typed in a shell, and no service."""
    outlive: bool
    """SIGHUP was ignored at the start, which is how nohup says so."""

    @classmethod
    def of_this_process(cls) -> Terminal:
        """Ask before a handler for SIGHUP is installed."""
        return cls(_has_controlling_terminal(), signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)

    def gone(self) -> bool:
        """Whether the program is to end because its own terminal went away.

        The kernel takes the terminal from its processes before it sends them SIGHUP. So a SIGHUP that
        comes while the terminal is there, or to a process that had none, is somebody's order to reload.
        """
        return self.controlling and not self.outlive and not _has_controlling_terminal()


def _has_controlling_terminal() -> bool:
    try:
        os.close(os.open(CONTROLLING_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        # What stands in the way of opening it (no descriptor left, a closed /dev) says nothing about the terminal.
        return error.errno not in (errno.ENXIO, errno.EIO, errno.ENOENT)
    return True
