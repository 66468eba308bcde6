"""Datagrams to a socket file of the system's: journald's, systemd's. Sending never waits and never fails.

    journal = Datagrams("/run/systemd/journal/socket")
    journal.send(b"MESSAGE=hello\\n")      # False: it was not taken, and counted in journal.dropped

The receiver may be stopped, restarting or gone: then its queue is full (the kernel holds net.unix.max_dgram_qlen
datagrams) or its socket refuses, and what is sent is dropped. A daemon that waited there would stand still because
somebody else does. That is also why the library systemd-python is not used: its calls wait, and hold the interpreter's
lock meanwhile, so that with journald stopped every thread of the process stops.
"""

from __future__ import annotations

import socket


class Datagrams:
    """One destination: a path, or with "@" in front a name in Linux's abstract namespace."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self.dropped = 0
        """How many were not taken, since the start."""

    def send(self, data: bytes) -> bool:
        """Whether it was taken."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            # Not connected: the receiver's socket is another one after it has been restarted.
            self._socket.sendto(data, self._address)
        except OSError:
            self.dropped += 1
            return False
        return True
