"""systemd, users and groups, and the socket: whether a daemon runs, and whether one could."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from vigild.config.schema import DaemonConfig
from vigild.decoding import decoded
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.wire.address import NoDaemon, default_listen_path, open_socket
from vigild.wire.messages import Hello

UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
UNIT = "vigild.service"

HELLO_S = 5.0
_MAX_HELLO_BYTES = 1024 * 1024
_hello = msgspec.json.Decoder(Hello)


class Daemon(NamedTuple):
    """The daemon that answers, if any."""

    hello: Hello | None
    path: str
    reason: str
    """Why none answers, with what was tried."""


def find_daemon(config: DaemonConfig, explicit: str | None) -> Daemon:
    """Connect where clients would: `explicit` (--socket), else the configured path, else the usual ones."""
    try:
        sock = open_socket(explicit or config.socket, HELLO_S)
    except NoDaemon as error:
        return Daemon(None, "", str(error))
    with sock:
        path = os.fsdecode(sock.getpeername())
        try:
            with sock.makefile("rb") as stream:
                return Daemon(decoded(_hello.decode, stream.readline(_MAX_HELLO_BYTES)), path, "")
        except (OSError, msgspec.DecodeError) as error:
            return Daemon(None, path, f"what listens at {path} does not greet like a vigild ({error})")


def checks(root: Path, config: DaemonConfig, daemon: Daemon, explicit: str | None) -> Iterator[Finding]:
    yield _systemd(root)
    yield _user(config.privileged_group)
    yield _socket(config, daemon, explicit)


def _systemd(root: Path) -> Finding:
    if not (root / "run/systemd/system").is_dir():
        return note("systemd", "it is not what runs this system: start vigild run yourself, or from another supervisor")
    units = [root / folder / UNIT for folder in UNIT_FOLDERS]
    installed = next((unit for unit in units if unit.exists()), None)
    if installed is None:
        return note("systemd", f"{UNIT} is not installed", "make install, if vigild is to start with the board")
    return ok("systemd", f"{UNIT} is installed at /{installed.relative_to(root)}")


def _user(privileged_group: str) -> Finding:
    uid = os.getuid()
    names = []
    for gid in sorted({os.getegid(), *os.getgroups()}):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            names.append(str(gid))
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    found = f"{user}, in the groups {', '.join(names)}"
    if uid == 0:
        return ok("user", f"{found}; a service needs no root: the groups video and plugdev are enough")
    exists = False
    with contextlib.suppress(KeyError):
        exists = bool(grp.getgrnam(privileged_group))
    if exists and privileged_group not in names:
        todo = f"sudo usermod -aG {privileged_group} {user}, then log in again"
        return note("user", f"{found}; it may watch a vigild of another user, but not change its settings", todo)
    return ok("user", found)


def _socket(config: DaemonConfig, daemon: Daemon, explicit: str | None) -> Finding:
    if daemon.hello is not None:
        return ok("daemon", f"vigild {daemon.hello.version} answers at {daemon.path}")
    if daemon.path:
        return problem("daemon", daemon.reason, "end that program, or choose another daemon.socket", blocks=True)
    if "permission denied" in daemon.reason:
        todo = f"sudo usermod -aG {config.privileged_group} $USER, then log in again"
        return problem("daemon", daemon.reason.partition(". Start one")[0], todo)
    if "hangs" in daemon.reason:
        todo = "look at it with journalctl -u vigild; systemctl restart vigild"
        return problem("daemon", daemon.reason.partition(". Start one")[0], todo)
    path = Path(explicit) if explicit else default_listen_path(config.socket)
    if fault := _cannot_listen(path):
        todo = "choose another with daemon.socket or $VIGILD_SOCKET; under systemd, RuntimeDirectory=vigild makes it"
        return problem("daemon", f"none runs, and this user could not listen at {path}: {fault}", todo, blocks=True)
    return ok("daemon", f"none runs; vigild run would listen at {path}")


def _cannot_listen(path: Path) -> str:
    """Why no socket can be made there; empty when one can."""
    if path.exists() and not path.is_socket():
        return "something that is not a socket is there"
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        return f"{folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return f"{folder} cannot be written to"
    return ""
