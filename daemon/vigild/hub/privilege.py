"""Who is at the other end of a Unix socket, and whether they may give orders.

    peer = peer_of(sock)
    if not is_privileged(peer, "vigild"): ...

Root, the daemon's own user and the members of one group may. SO_PEERCRED knows the user and the
primary group only, and a member of `vigild` has it as a supplementary group nearly always: those come
from SO_PEERGROUPS (Linux 4.13). Both are of the moment of connect(), so no race with the peer's pid.
"""

from __future__ import annotations

import array
import ctypes
import errno
import grp
import os
import socket
import struct
from typing import NamedTuple

SO_PEERGROUPS = 59
"""asm-generic/socket.h; the socket module has no name for it. (It differs on sparc, parisc and alpha.)"""

_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid
_GID_BYTES = array.array("I").itemsize
_GETSOCKOPT_BYTES = 1024  # the most that socket.getsockopt takes: 256 groups
_NGROUPS_MAX = 65536  # linux/limits.h


class Peer(NamedTuple):
    """A connected process, as it was when it connected."""

    pid: int
    """0 when it is in a PID namespace that is not below ours."""
    uid: int
    gids: frozenset[int]
    """Primary and supplementary groups."""


def peer_of(sock: socket.socket) -> Peer:
    """Who connected. Raises OSError."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, frozenset((gid, *_supplementary(sock))))


def _supplementary(sock: socket.socket) -> array.array[int]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GETSOCKOPT_BYTES)
    except OSError as error:
        if error.errno == errno.ERANGE:
            raw = _many_groups(sock)
        elif error.errno == errno.ENOPROTOOPT:  # before Linux 4.13: the primary group has to do
            raw = b""
        else:
            raise
    return array.array("I", raw)


def _many_groups(sock: socket.socket) -> bytes:
    """Directory services put people into hundreds of groups; socket.getsockopt stops at 256."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_NGROUPS_MAX * _GID_BYTES)
    length = ctypes.c_uint32(len(buffer))
    if libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_PEERGROUPS, buffer, ctypes.byref(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "SO_PEERGROUPS")
    return buffer.raw[: length.value]


def group_id(name: str) -> int | None:
    """The group's number; None when there is no such group (or the name is empty)."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def is_owner(peer: Peer) -> bool:
    """Root, or the user that the daemon runs as: whose machine it is."""
    return peer.uid in (0, os.geteuid())


def is_privileged(peer: Peer, group: str) -> bool:
    """Whether the peer may use `set`, `swap`, `pause`, `resume` and `reload`."""
    if is_owner(peer):
        return True
    gid = group_id(group)
    return gid is not None and gid in peer.gids
