"""Where the socket is.

    sock = open_socket(None)                        # a client: wherever a daemon answers
    path = default_listen_path(config.daemon.socket)  # the daemon

A client that was told where to look (`--socket`, `$VIGILD_SOCKET`) looks nowhere else: an order that
reaches another daemon than the one that was named is worse than an error.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Mapping
from pathlib import Path

SOCKET_NAME = "vigild.sock"
SYSTEM_SOCKET = Path("/run/vigild/vigild.sock")
ENVIRONMENT = "VIGILD_SOCKET"

MAX_PATH_BYTES = 107
"""sizeof(sun_path) is 108 with the terminating zero (unix(7))."""


class NoDaemon(Exception):
    """No daemon answers; the message lists what was tried."""


def own_folder() -> Path:
    """The user's own folder, of mode 0700, where there is no $XDG_RUNTIME_DIR."""
    return Path(f"/tmp/vigild-{os.geteuid()}")


def check_own_folder(folder: Path) -> None:
    """Raises ValueError unless the folder is ours alone: anybody may make one in /tmp first."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise ValueError(
            f"{folder} is not a folder of this user's own with mode 0700 "
            f"(owner {info.st_uid}, mode {stat.S_IMODE(info.st_mode):04o}); remove it, or set ${ENVIRONMENT}"
        )


def check_path_length(path: Path) -> None:
    """Raises ValueError when no Unix socket can have this path."""
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise ValueError(
            f"the socket path {path} is {length} bytes long and a Unix socket's may be {MAX_PATH_BYTES}; "
            f"choose a shorter one with daemon.socket or ${ENVIRONMENT}"
        )


def default_listen_path(configured: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the daemon listens: `daemon.socket`, else $VIGILD_SOCKET, else below $RUNTIME_DIRECTORY
    (systemd's), else below $XDG_RUNTIME_DIR, else in the user's own folder."""
    if configured:
        return Path(configured)
    if environ.get(ENVIRONMENT):
        return Path(environ[ENVIRONMENT])
    # systemd separates several folders by colons (systemd.exec(5)).
    folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or environ.get("XDG_RUNTIME_DIR")
    return (Path(folder) if folder else own_folder()) / SOCKET_NAME


def candidates(explicit: str | os.PathLike[str] | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where a client looks, in order."""
    if explicit is not None:
        return [Path(explicit)]
    if environ.get(ENVIRONMENT):
        return [Path(environ[ENVIRONMENT])]
    paths = [SYSTEM_SOCKET]
    if environ.get("XDG_RUNTIME_DIR"):
        paths.append(Path(environ["XDG_RUNTIME_DIR"]) / SOCKET_NAME)
    paths.append(own_folder() / SOCKET_NAME)
    return paths


def open_socket(
    explicit: str | os.PathLike[str] | None = None,
    timeout_s: float = 5.0,
    environ: Mapping[str, str] = os.environ,
) -> socket.socket:
    """Connect to the first daemon that answers. Raises NoDaemon, which lists what was tried."""
    tried = []
    for path in candidates(explicit, environ):
        try:
            return _connect(path, timeout_s)
        except (OSError, ValueError) as error:
            tried.append(f"{path} ({_reason(error)})")
    raise NoDaemon(
        f"no daemon answers; tried {', '.join(tried)}. Start one with: vigild run (or systemctl start vigild); "
        f"if it listens elsewhere, say so with --socket or ${ENVIRONMENT}"
    )


def _connect(path: Path, timeout_s: float) -> socket.socket:
    check_path_length(path)
    if path.parent == own_folder():
        check_own_folder(path.parent)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _wait_connect(sock, path, timeout_s)
        sock.settimeout(timeout_s)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait_connect(sock: socket.socket, path: Path, timeout_s: float) -> None:
    """connect() with a time limit: while the backlog is full a Unix socket says EAGAIN at once and
    cannot be polled."""
    give_up_s = time.monotonic() + timeout_s
    sock.setblocking(False)
    while True:
        try:
            sock.connect(str(path))
            return
        except BlockingIOError:
            if time.monotonic() >= give_up_s:
                raise
        time.sleep(0.02)


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "not there"
        case ConnectionRefusedError():
            return "nobody listens: left by a daemon that was killed"
        case PermissionError():
            return "permission denied: are you in the socket's group?"
        case TimeoutError() | BlockingIOError():
            return "does not accept: the daemon hangs"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error)
