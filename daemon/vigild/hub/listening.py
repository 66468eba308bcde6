"""The socket file: made so that nobody ever sees half of it, and only one daemon holds it.

    made = make_socket(Path("/run/vigild/vigild.sock"), 0o660, "vigild", log)
    file = SocketFile(made, 0o660, group, log)
    file.look(now_s)        # twice a second: a file that somebody took away is made again
    file.remove()

A file that nobody listens at (left by a killed daemon) is replaced; one that answers is not. Looking,
removing and binding happen under a lock on the folder, or two daemons that start together could each
take the other's new socket for a stale one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vigild.hub.privilege import group_id
from vigild.wire.address import check_own_folder, check_path_length, own_folder

BACKLOG = 128
"""Connections that wait while the hub is busy; a bench that starts 200 clients at once fits with two wakes."""

LOOK_S = 0.5
"""Between looks whether the file is still there: one system call."""

_LOCK_WAIT_S = 2.0
"""Another daemon holds the lock for a few system calls only."""


class SocketInUse(Exception):
    """Another daemon listens at this path."""


class SocketUnusable(Exception):
    """The socket cannot be made at this path."""


class MadeSocket(NamedTuple):
    sock: socket.socket
    """Listening, non-blocking."""
    path: Path
    identity: tuple[int, int]
    """(device, inode) of the file."""


def make_socket(path: Path, mode: int, group: str, log: logging.Logger) -> MadeSocket:
    """Listen at `path` with permissions `mode`, owned by `group` if there is one and we may give it.

    A missing parent folder is made: of mode 0700 if it is the user's own, else 0755.
    Raises SocketInUse, SocketUnusable.
    """
    try:
        check_path_length(path)
        _make_parent(path.parent)
        with _locked(path.parent):
            _clear(path)
            return _bind(path, mode, group, log)
    except ValueError as error:
        raise SocketUnusable(str(error)) from None
    except OSError as error:
        raise SocketUnusable(f"cannot make the socket {path}: {error.strerror or error}{_advice(error)}") from None


def passed_socket(sock: socket.socket) -> MadeSocket | None:
    """A listening socket that somebody else made; None if it has no file (an abstract name, or another family)."""
    name = sock.getsockname() if sock.family == socket.AF_UNIX else ""
    if not isinstance(name, str) or not name.startswith("/"):
        return None
    try:
        info = Path(name).lstat()
    except OSError:
        return None
    return MadeSocket(sock, Path(name), (info.st_dev, info.st_ino))


def remove_socket(made: MadeSocket) -> None:
    """Remove the file, unless it is no longer the one that was made."""
    with contextlib.suppress(FileNotFoundError):
        info = made.path.lstat()
        if (info.st_dev, info.st_ino) == made.identity:
            made.path.unlink()


class SocketFile:
    """A socket file that is looked after: others delete it, move it, or put something in its place.

    While our socket is open the kernel holds the file's inode, so no other file can have its number.
    """

    def __init__(self, made: MadeSocket, mode: int | None, group: Callable[[], str], log: logging.Logger) -> None:
        """`mode`: its permissions; None when somebody else made the file, who alone can make it again."""
        self.made = made
        self._mode = mode
        self._group = group
        self._log = log
        self._next_look_s = 0.0
        self._told = ""
        """Why it could not be made again, as it was said last."""

    def look(self, now_s: float) -> tuple[str, str] | None:
        """Look whether it is still there (every LOOK_S), and make it again if not.

        Returns what clients are to be told: ("socket_remade", why), `made.sock` is another one then; or
        ("socket_lost", why), once, if it cannot be made; mostly None.
        """
        if now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        gone = _gone(self.made)
        if gone is None:
            self._told = ""
            return None
        try:
            self.made = self._make_again()
        except (SocketInUse, SocketUnusable) as error:
            why = f"{gone}, and it cannot be made again: {error}"
            if why == self._told:
                return None
            self._told = why
            self._log.error("%s; clients that are connected stay", why)
            return "socket_lost", why
        self._told = ""
        why = f"{gone}; it was made again"
        self._log.warning("%s; clients that are connected stay", why)
        return "socket_remade", why

    def _make_again(self) -> MadeSocket:
        path = self.made.path
        if self._mode is None:
            raise SocketUnusable("systemd made it, and makes it again with: systemctl restart vigild.socket")
        # At the start a file that is no socket is left alone, and the path refused. Now the path is ours, and clients
        # look for us there: what was put in its place goes aside.
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                _put_aside(path, self._log)
        return make_socket(path, self._mode, self._group(), self._log)

    def remove(self) -> None:
        """Remove the file, unless it is no longer ours, or never was."""
        if self._mode is not None:
            remove_socket(self.made)


def _gone(made: MadeSocket) -> str | None:
    """What became of the file; None while it is where it was."""
    try:
        info = made.path.lstat()
    except FileNotFoundError:
        return f"the socket {made.path} was deleted"
    except OSError as error:
        return f"the socket {made.path} is out of reach ({error.strerror})"
    if (info.st_dev, info.st_ino) == made.identity:
        return None
    return f"the socket {made.path} was replaced by another file"


def _put_aside(path: Path, log: logging.Logger) -> None:
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.aside-{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            log.warning("what was in the socket's place is now %s", aside)
            return


def _advice(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; choose another with daemon.socket or $VIGILD_SOCKET"
    return ""


def _make_parent(folder: Path) -> None:
    if folder == own_folder():
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        check_own_folder(folder)
    elif not folder.is_dir():
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock (flock works on folders and leaves no file behind)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up = time.monotonic() + _LOCK_WAIT_S
        # Somebody else may lock a shared folder for ever; then better a small race than no daemon.
        while time.monotonic() < give_up:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _clear(path: Path) -> None:
    """Remove a stale socket. Raises SocketInUse, or ValueError for a file that is not a socket."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise ValueError(f"{path} exists and is not a socket; remove it, or choose another path with daemon.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except (BlockingIOError, PermissionError, OSError) as error:
            # A full backlog (EAGAIN), another kind of socket (EPROTOTYPE), or no right to ask: alive for all we know.
            raise SocketInUse(_in_use(path, error.strerror)) from None
    raise SocketInUse(_in_use(path, None))


def _in_use(path: Path, detail: str | None) -> str:
    why = f" ({detail})" if detail else ""
    return (
        f"another program listens at {path}{why}; stop it (systemctl stop vigild), "
        "or give this one another path with daemon.socket or $VIGILD_SOCKET"
    )


def _bind(path: Path, mode: int, group: str, log: logging.Logger) -> MadeSocket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file is born with its permissions: a chmod afterwards would leave a moment when it is open to all.
        before = os.umask(0o777 & ~mode)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        info = path.lstat()
        made = MadeSocket(sock, path, (info.st_dev, info.st_ino))
        _give_to(path, group, log)
        sock.setblocking(False)
        sock.listen(BACKLOG)  # from here on it answers; before, connections are refused
    except BaseException:
        sock.close()
        raise
    return made


def _give_to(path: Path, group: str, log: logging.Logger) -> None:
    gid = group_id(group)
    if gid is None:
        return
    try:
        os.chown(path, -1, gid, follow_symlinks=False)
    except PermissionError:
        log.info("the socket stays with this user's own group: only root or a member may give it to group %s", group)
