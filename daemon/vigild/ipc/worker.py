"""What every worker process does first.

A worker is started as `python -m vigild.camera --control=FD --progress=FD --parent=PID`. It must not
outlive the hub, must leave Ctrl-C and SIGTERM to the hub (which stops it), and must not
inherit what systemd meant for the hub (the hub removes that from its environment).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

from vigild import lean
from vigild.ipc.progress import Progress

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
M_ARENA_MAX = -8  # malloc.h of glibc

OOM_SCORE = 300
"""Above the hub's, of 1000: where memory runs out a worker goes first, and the hub starts it again."""


USAGE = "a vigild worker; the hub starts it, with --control=FD --progress=FD --parent=PID"


class Inherited(NamedTuple):
    """What the hub passed down."""

    control: socket.socket
    progress: Progress


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), f"prctl({option})")


def die_with(parent: int, sig: int = signal.SIGKILL) -> None:
    """Receive `sig` when the parent dies; exit at once if it is dead already."""
    prctl(PR_SET_PDEATHSIG, sig)
    if os.getppid() != parent:
        os._exit(0)


def trim() -> None:
    """Have the C library give its free memory back to the kernel (malloc_trim(3)), where it can."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc; musl has none
        libc.malloc_trim(0)


def one_heap() -> None:
    """Have the C library keep one heap for all threads (mallopt(3)), where it can: one that allocates little and seldom
    would leave a heap of its own behind, half a megabyte of it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)


def go_before_the_hub(proc: Path = Path("/proc")) -> None:
    """Be what the kernel ends first when memory runs out. Anybody may raise their own score."""
    score = proc / "self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError):  # a kernel without it, or no /proc: then by size alone
        score.write_text(str(min(int(score.read_text()) + OOM_SCORE, 1000)))


def start(argv: list[str] | None = None) -> Inherited:
    """The first call of a worker's main, before anything heavy is imported."""
    control, progress, parent = _numbers(sys.argv[1:] if argv is None else argv)
    die_with(parent)
    go_before_the_hub()
    # Sent to a whole process group, or by systemd to all processes of a unit: the hub ends its workers itself.
    left_to_the_hub = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in left_to_the_hub:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, left_to_the_hub)
    for fd in (control, progress):
        os.set_inheritable(fd, False)
    lean.import_msgspec()
    return Inherited(socket.socket(fileno=control), Progress(progress))


def _numbers(argv: list[str]) -> tuple[int, int, int]:
    """(control, progress, parent). Without argparse, which would be a hundredth of a worker's start."""
    given = dict(word.removeprefix("--").split("=", 1) for word in argv if "=" in word)
    try:
        return int(given["control"]), int(given["progress"]), int(given["parent"])
    except (KeyError, ValueError):
        sys.exit(USAGE)
