"""A socket that listens, and the taking in of those who come.

    door = Door(loop, sock, turns, welcome, log)      # welcome(sock) for each connection

Taking somebody in is work like any other and has its turn (see `turns`): a thousand connections a second must not keep
a frame waiting.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from vigild.hub.listening import BACKLOG
from vigild.hub.turns import Turns

ACCEPT_RETRY_S = 1.0
"""Wait when the process has no descriptor left: the listening socket stays readable all the while."""


class Door:
    """A socket that listens. Taking in those who wait there is work like any other: it has its turn."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        turns: Turns,
        welcome: Callable[[socket.socket], None],
        log: logging.Logger,
    ) -> None:
        self.sock = sock
        self._loop = loop
        self._turns = turns
        self._welcome = welcome
        self._log = log
        self._again_s: float | None = None
        """Shut until then, because there was no descriptor left."""
        self._shut = False
        self._open()

    def _open(self) -> None:
        try:
            self._loop.add_reader(self.sock, self._knock)
        except OSError as error:
            self._close_for_a_while("listen for clients", error)

    def _close_for_a_while(self, what: str, error: OSError) -> None:
        self._log.error("cannot %s (%s); trying again in %g s", what, error.strerror or error, ACCEPT_RETRY_S)
        self._again_s = self._loop.time() + ACCEPT_RETRY_S

    def _knock(self) -> None:
        self._loop.remove_reader(self.sock)
        self._turns.add(self)

    def serve(self, until_s: float) -> bool:
        """Its turn: take in those who wait."""
        while self._accept():
            if self._loop.time() >= until_s:
                return True
        if self._again_s is None and not self._shut:
            self._open()
        return False

    def _accept(self) -> bool:
        """Take in one; False when nobody waits, or none can be taken."""
        if self._shut:
            return False
        try:
            sock, _address = self.sock.accept()
        except ConnectionAbortedError:
            return True
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            # EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else a kernel may say: the socket stays readable meanwhile.
            self._close_for_a_while("accept a client", error)
            return False
        self._welcome(sock)
        return True

    def tick(self, now_s: float) -> None:
        """Open it again, if it is time."""
        if self._again_s is not None and now_s >= self._again_s:
            self._again_s = None
            self._turns.add(self)

    def take_in_all(self) -> None:
        """Take in those who wait now: the socket is about to be closed, and they have found it open."""
        for _ in range(BACKLOG):
            if not self._accept():
                break

    def close(self) -> None:
        """Take in no more."""
        self._shut = True
        self._loop.remove_reader(self.sock)
        self._turns.remove(self)
        self.sock.close()
