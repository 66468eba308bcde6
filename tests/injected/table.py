"""The hub's system calls, what a kernel may answer, and what makes the hub call."""

from __future__ import annotations

from errno import (
    EACCES,
    EAGAIN,
    ECONNABORTED,
    EIO,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENODEV,
    ENOLCK,
    ENOMEM,
    ENOSPC,
    EPERM,
    EROFS,
    ETOOMANYREFS,
)
from typing import Literal, NamedTuple

Provoke = Literal["hangup", "detector", "camera", "hang", "client", "socket", "stale", "request", "sensor", "nothing"]
"""Kill that worker (or stop the detector); connect; delete the socket file, or put a dead one in its place; send a
request; put another file in the place of a sensor's; wait."""


class Case(NamedTuple):
    """One call."""

    call: str
    errnos: tuple[int, ...]
    provoke: Provoke
    skip: int = 0
    """So many calls of the provoked action succeed first: the one after them is another line of the hub."""
    count: int = 2
    """So often it fails; more than a single retry gets over."""
    quiet: bool = False
    """What fails is a reading of the board that is simply taken again: nobody need be told."""


CASES = (
    # Starting a worker.
    Case("fork", (EAGAIN, ENOMEM), "detector", count=3),
    Case("fork", (EAGAIN, ENOMEM), "camera", count=3),
    Case("memfd_create", (EMFILE, ENFILE, ENOMEM), "detector"),
    Case("memfd_create", (EMFILE, ENOMEM), "camera"),
    Case("ftruncate", (ENOSPC, ENOMEM), "camera"),
    Case("mmap", (ENOMEM, EAGAIN), "detector"),
    Case("socketpair", (EMFILE, ENFILE, ENOBUFS), "camera"),
    Case("pipe2", (EMFILE, ENFILE), "detector"),
    Case("pipe", (EMFILE, ENFILE), "camera"),
    Case("pidfd_open", (EMFILE, ENOMEM), "detector"),
    Case("pidfd_open", (EMFILE,), "camera"),
    Case("epoll_add", (ENOMEM, ENOSPC), "camera", skip=0),
    Case("epoll_add", (ENOMEM,), "detector", skip=1),
    Case("epoll_add", (ENOMEM,), "camera", skip=2),
    # The ring between two.
    Case("memfd_create", (EMFILE, ENOMEM), "camera", skip=1),
    Case("ftruncate", (ENOMEM,), "detector", skip=1),
    Case("socketpair", (EMFILE, ENOBUFS), "detector", skip=1),
    Case("sendmsg", (ENOMEM, ENOBUFS, ETOOMANYREFS), "detector"),
    Case("sendmsg", (ENOMEM,), "camera", skip=1),
    # Talking with workers and clients; the next who speaks may be either.
    Case("send", (ENOBUFS, ENOMEM), "nothing", count=3),
    Case("send", (ENOBUFS,), "camera", count=8),
    Case("recv", (ENOMEM, ENOBUFS), "request", count=1),
    # The event loop's own pipe, by which a signal wakes it.
    Case("recv", (ENOMEM, ENOBUFS), "hangup", count=1),
    Case("recvmsg_into", (ENOMEM, ENOBUFS), "nothing", count=1),
    Case("recvmsg_into", (ENOMEM,), "camera", count=3),
    Case("read", (EIO, ENOMEM), "nothing", count=1, quiet=True),
    Case("read", (EIO,), "detector", count=1, quiet=True),
    # Ending one that hangs.
    Case("pidfd_send_signal", (EPERM, ENOMEM), "hang"),
    # Clients that come.
    Case("accept", (EMFILE, ENFILE, ENOMEM, ENOBUFS, EPERM), "client", count=1),
    Case("accept", (ECONNABORTED,), "client", quiet=True),
    Case("getsockopt", (ENOMEM,), "client", count=1),
    Case("epoll_add", (ENOMEM, ENOSPC), "client", count=1),
    Case("epoll_add", (ENOMEM,), "client", skip=1, count=1),
    # The socket file.
    Case("unlink:socket", (EACCES, EROFS), "stale"),
    Case("connect", (ENOMEM,), "stale"),
    Case("stat:socket", (EACCES, EIO), "nothing"),
    Case("socket", (EMFILE, ENFILE, ENOBUFS), "socket"),
    Case("bind", (EACCES, EROFS, ENOMEM), "socket"),
    Case("listen", (ENOBUFS,), "socket"),
    Case("flock", (ENOLCK, ENOMEM), "socket"),
    Case("epoll_add", (ENOMEM,), "socket", count=1),
    # Readings of the board. What is read every second stays open, until that fails or it is another file.
    Case("pread", (EIO, ENODEV, EAGAIN), "nothing", count=3, quiet=True),
    Case("fstat", (ENOMEM,), "nothing", count=3, quiet=True),
    Case("open:proc", (EMFILE, ENOMEM, EACCES), "nothing", count=8, quiet=True),
    Case("open:sys", (EMFILE, EIO, ENOMEM), "sensor", count=3, quiet=True),
    Case("listdir:proc", (EMFILE, ENOMEM), "nothing", quiet=True),
)
