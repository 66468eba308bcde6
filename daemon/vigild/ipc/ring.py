"""Frames from a camera worker to a detector worker, without copying pixels through a socket.

A ring is a memfd of `slots` equal slots, sealed against shrinking and growing, and a SOCK_SEQPACKET
pair. The hub makes both and passes them on. A slot has one owner: first the camera. The camera
fills it and sends a `FilledSlot` (now it is the detector's); the detector sends a `Credit` (now it is
the camera's again). The send and receive calls are the memory barriers; nothing else orders the
two processes' view of the pixels, and nothing else needs to.

    camera                                       detector
    ring = RingWriter(memfd, sock, n, slots)     ring = RingReader(memfd, sock, n, slots)
    slot = ring.free_slot()                      for frame in ring.receive(): ...
    fill(ring.slot(slot))                        use(ring.slot(frame.slot))
    ring.send(FilledSlot(slot=slot, ...))        ring.give_back(frame, ready_ns)
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
from typing import NamedTuple

from vigild.geometry import View

PAGE_BYTES = mmap.PAGESIZE
MAX_FILE_NAME_BYTES = 4096
"""PATH_MAX: a frame of a folder source names its file."""

_FRAME = struct.Struct("<HxxIIxxxxQQQQQQQdddd")
_CREDIT = struct.Struct("<HQQ")

_F_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_SEALS = 0x1 | 0x2 | 0x4  # F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW (linux/fcntl.h)


class RingClosed(Exception):
    """The other side of the ring is gone."""


class FilledSlot(NamedTuple):
    """A filled slot on its way to the detector. Times are monotonic ns, but for wall_ns."""

    slot: int
    frame: int
    captured_ns: int
    wall_ns: int
    decode_ns: int
    convert_ns: int
    sent_ns: int
    width: int
    height: int
    view: View
    file: str = ""
    after: int = 0
    """Number of the frame handed out before this one, to whichever detector of the group."""


class Credit(NamedTuple):
    """A slot on its way back. `ready_ns`: when the detector expects to want the next frame."""

    slot: int
    frame: int
    ready_ns: int


def slot_stride(slot_bytes: int) -> int:
    """Bytes from one slot to the next: whole pages, so that slots share none."""
    return -(-slot_bytes // PAGE_BYTES) * PAGE_BYTES


def make_memfd(name: str, slot_bytes: int, slots: int) -> int:
    """A new ring's memory. It is freed by the kernel with its last descriptor and mapping."""
    fd = os.memfd_create(f"vigild-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, slot_stride(slot_bytes) * slots)
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


class _Ring:
    def __init__(self, memfd: int, sock: socket.socket, slot_bytes: int, slots: int, access: int) -> None:
        """Takes over `memfd` (closed at once; the mapping keeps the memory) and `sock`."""
        stride = slot_stride(slot_bytes)
        try:
            if os.fstat(memfd).st_size < stride * slots:
                raise ValueError(f"the ring's memory holds less than {slots} slots of {slot_bytes} bytes")
            self._map = mmap.mmap(memfd, stride * slots, mmap.MAP_SHARED, access)
        finally:
            os.close(memfd)
        view = memoryview(self._map)
        self._slots = [view[i * stride : i * stride + slot_bytes] for i in range(slots)]
        self.sock = sock
        sock.setblocking(False)
        self.closed = False

    def fileno(self) -> int:
        return self.sock.fileno()

    def slot(self, index: int) -> memoryview:
        """The bytes of a slot. Only its owner may touch them."""
        return self._slots[index]

    def close(self) -> None:
        """Close the socket and drop the mapping (it goes when the last view of it does)."""
        if not self.closed:
            self.closed = True
            self.sock.close()
            self._slots = []

    def _send(self, data: bytes) -> None:
        try:
            self.sock.send(data)
        except BlockingIOError:
            # A slot is in one packet at a time, so a working peer can never be a full buffer behind.
            raise RingClosed("the other side does not read") from None
        except (BrokenPipeError, ConnectionResetError, OSError) as error:
            raise RingClosed(str(error)) from None

    def _receive(self, size: int) -> bytes | None:
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise RingClosed(str(error)) from None
        if not data:
            raise RingClosed("the other side closed")
        return data


class RingWriter(_Ring):
    """The camera's side."""

    def __init__(self, memfd: int, sock: socket.socket, slot_bytes: int, slots: int) -> None:
        super().__init__(memfd, sock, slot_bytes, slots, mmap.PROT_READ | mmap.PROT_WRITE)
        self._free = list(range(slots - 1, -1, -1))
        self.ready_ns = 0
        """When the detector expects to want a frame (from the last credit)."""

    def free_slot(self) -> int | None:
        """A slot this side owns, or None. It stays free until `send`."""
        return self._free[-1] if self._free else None

    def send(self, frame: FilledSlot) -> None:
        """Hand the slot over. Raises RingClosed."""
        if not self._free or frame.slot != self._free[-1]:
            raise ValueError(f"slot {frame.slot} is not this side's to send")
        self._send(
            _FRAME.pack(
                frame.slot,
                frame.width,
                frame.height,
                frame.frame,
                frame.captured_ns,
                frame.wall_ns,
                frame.decode_ns,
                frame.convert_ns,
                frame.sent_ns,
                frame.after,
                frame.view.x_scale,
                frame.view.x_offset,
                frame.view.y_scale,
                frame.view.y_offset,
            )
            + frame.file.encode()[:MAX_FILE_NAME_BYTES]
        )
        self._free.pop()

    def credits(self) -> list[Credit]:
        """Take back what the detector returned. Raises RingClosed, after which nothing comes."""
        credits: list[Credit] = []
        while len(self._free) < len(self._slots):
            data = self._receive(_CREDIT.size)
            if data is None:
                break
            credit = Credit._make(_CREDIT.unpack(data))
            if credit.slot in self._free or credit.slot >= len(self._slots):
                raise RingClosed(f"the detector returned slot {credit.slot}, which it does not hold")
            self._free.append(credit.slot)
            self.ready_ns = credit.ready_ns
            credits.append(credit)
        return credits


class RingReader(_Ring):
    """The detector's side."""

    def __init__(self, memfd: int, sock: socket.socket, slot_bytes: int, slots: int) -> None:
        super().__init__(memfd, sock, slot_bytes, slots, mmap.PROT_READ)
        self._held: set[int] = set()

    def receive(self) -> list[FilledSlot]:
        """All frames that have arrived, oldest first. Raises RingClosed."""
        frames: list[FilledSlot] = []
        # Not a read more than there can be frames: one that finds nothing costs as much as one that does.
        while len(self._held) < len(self._slots):
            data = self._receive(_FRAME.size + MAX_FILE_NAME_BYTES)
            if data is None:
                break
            slot, width, height, number, captured, wall, decode, convert, sent, after, *view = _FRAME.unpack_from(data)
            if slot in self._held or slot >= len(self._slots):
                raise RingClosed(f"the camera sent slot {slot}, which it does not hold")
            self._held.add(slot)
            file = data[_FRAME.size :].decode(errors="replace")
            frames.append(
                FilledSlot(slot, number, captured, wall, decode, convert, sent, width, height, View(*view), file, after)
            )
        return frames

    def give_back(self, frame: FilledSlot, ready_ns: int = 0) -> None:
        """Return the slot, which also acknowledges the frame. Raises RingClosed."""
        self._held.remove(frame.slot)
        self._send(_CREDIT.pack(frame.slot, frame.frame, ready_ns))
