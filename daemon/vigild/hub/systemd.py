"""What systemd asks of a service: readiness, a watchdog fed by progress, and passed sockets.

The protocol is a datagram of text to $NOTIFY_SOCKET (sd_notify(3)); the standard library is enough.
"""

from __future__ import annotations

import os
import socket
import time

LISTEN_FDS_START = 3  # sd_listen_fds(3)


class Notifier:
    """Sends to $NOTIFY_SOCKET, or does nothing without one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s()

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.sendto(text.encode(), address)
            except OSError:
                # systemd restarting itself; the next message goes through.
                return

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Must carry the time, or `systemctl reload` hangs from systemd 257 on."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")


def _watchdog_s() -> float | None:
    """Half of WatchdogSec=, or None when the watchdog is not for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None


def passed_sockets() -> list[socket.socket]:
    """The listening Unix stream sockets of a .socket unit (LISTEN_FDS), each used as it is."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    try:
        count = int(os.environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return []
    sockets = []
    for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + count):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM:
            sockets.append(sock)
        else:
            sock.detach()
    return sockets
