"""Patches the system calls of this process so that `Rule.check` decides about each."""

from __future__ import annotations

import builtins
import fcntl
import io
import mmap
import os
import select
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from injected.control import Rule


def install(rule: Rule) -> None:
    """Patch everything that `table` names."""

    def failing(call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            rule.check(call)
            return real(*args, **kwargs)

        return wrapper

    def by_path(suffix: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """What is done to a file fails by where the file is."""

        def wrapper(path: Any, *args: Any, **kwargs: Any) -> Any:
            name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            if "/proc/" in name:
                rule.check(f"{suffix}:proc")
            elif "/sys/" in name:
                rule.check(f"{suffix}:sys")
            elif name.endswith(".sock"):
                rule.check(f"{suffix}:socket")
            return real(path, *args, **kwargs)

        return wrapper

    for module, names in (
        (os, ("memfd_create", "ftruncate", "pipe", "pipe2", "pidfd_open", "read", "pread", "fstat")),
        (signal, ("pidfd_send_signal",)),
        (mmap, ("mmap",)),
        (fcntl, ("flock",)),
    ):
        for name in names:
            setattr(module, name, failing(name, getattr(module, name)))
    for name in ("open", "listdir", "scandir", "stat", "lstat", "unlink"):
        setattr(os, name, by_path(name.removeprefix("l") if name == "lstat" else name, getattr(os, name)))
    io.open = builtins.open = by_path("open", io.open)  # type: ignore[assignment]
    _sockets(failing)
    _spawn(failing)
    selectors.EpollSelector._selector_cls = _epoll(rule)  # type: ignore[attr-defined]


def _sockets(failing: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    for name in ("accept", "bind", "connect", "listen", "recv", "recvmsg_into", "send", "sendmsg", "getsockopt"):
        setattr(socket.socket, name, failing(name, getattr(socket.socket, name)))
    socket.socketpair = failing("socketpair", socket.socketpair)
    make = socket.socket.__init__
    making = failing("socket", make)

    def init(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        # One that wraps a descriptor that is there already is no system call.
        (make if kwargs.get("fileno") is not None or len(args) > 3 else making)(self, *args, **kwargs)

    socket.socket.__init__ = init  # type: ignore[method-assign]


def _spawn(failing: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    import _posixsubprocess

    fork = failing("fork", _posixsubprocess.fork_exec)
    _posixsubprocess.fork_exec = fork  # Python 3.10 looks it up there, later ones here
    if hasattr(subprocess, "_fork_exec"):
        subprocess._fork_exec = fork


def _epoll(rule: Rule) -> type:
    class Epoll:
        """select.epoll cannot be subclassed."""

        def __init__(self, *args: Any) -> None:
            self._real = select.epoll(*args)

        def register(self, *args: Any) -> None:
            rule.check("epoll_add")
            self._real.register(*args)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    return Epoll
