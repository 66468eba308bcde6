"""A SOCK_SEQPACKET socket that carries messages, and file descriptors beside them.

    hub_end, worker_end = socketpair()
    channel = Channel(hub_end, decode=FromCamera)
    channel.send(AttachCamera(...), fds=[memfd, ring])
    message, fds = channel.receive()

One packet is one message, so there is no framing and no partial read. A message that does not fit
a packet (MAX_PACKET_BYTES) is the sender's error; bulk data goes through a memfd beside it.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from vigild.decoding import decoded, encoded

MAX_PACKET_BYTES = 128 * 1024
"""A unix socket's default buffer is net.core.wmem_default, 208 KiB on Linux; half of it is the
kernel's bookkeeping in the worst case."""

MAX_FDS = 4
"""Descriptors in one message: a ring has two."""

_FD_BYTES = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)

M = TypeVar("M")


class ChannelClosed(Exception):
    """The other end is gone."""


def socketpair() -> tuple[socket.socket, socket.socket]:
    """A connected SOCK_SEQPACKET pair; descriptors are not inheritable."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel(Generic[M]):
    """One end of a hub-worker connection; `decode` is the union of messages it receives."""

    def __init__(self, sock: socket.socket, decode: Any) -> None:
        self.sock = sock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(decode)
        # Kept: a fresh buffer of this size would be mapped, touched and unmapped for every message.
        self._buffer = memoryview(bytearray(MAX_PACKET_BYTES))

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """Send one message. Descriptors stay the caller's to close.

        Raises ChannelClosed when the other end is gone, BlockingIOError when the socket is
        non-blocking and full.
        """
        data = encoded(self._encoder.encode, message)
        try:
            if fds:
                socket.send_fds(self.sock, [data], list(fds))
            else:
                self.sock.send(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed(str(error)) from None

    def receive(self) -> tuple[M, list[int]]:
        """Receive one message and the descriptors with it (the caller owns them).

        Raises ChannelClosed at the end, BlockingIOError when non-blocking and empty.
        """
        try:
            size, ancillary, _flags, _addr = self.sock.recvmsg_into(
                [self._buffer], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError as error:
            raise ChannelClosed(str(error)) from None
        fds: list[int] = []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(payload) - len(payload) % _FD_BYTES
                fds.extend(array.array("i", payload[:whole]))
        if not size:
            for fd in fds:
                os.close(fd)
            raise ChannelClosed("the other end closed")
        try:
            return decoded(self._decoder.decode, self._buffer[:size]), fds
        except msgspec.DecodeError:
            for fd in fds:
                os.close(fd)
            raise

    def close(self) -> None:
        self.sock.close()
