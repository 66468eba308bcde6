"""How much somebody waits for memory (PSI), and systemd's wake-up when it gets much.

    stall = read_pressure(Path("/proc/pressure/memory"))      # Stall(percent=1.5, total_us=4000); None: no PSI

    watch = PressureWatch.of(os.environ)                      # None: systemd watches nothing for this service
    loop.add_reader(watch.fileno(), watch.woken)

Sources: Documentation/accounting/psi.rst; systemd, docs/PRESSURE.md.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import select
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vigild.board.tree import Kept, Trouble, fetch

_SOME = re.compile(rb"^some avg10=([\d.]+) .*?total=(\d+)", re.MULTILINE)


class Stall(NamedTuple):
    percent: float
    """0..100: share of the last ten seconds in which at least one task waited for memory."""
    total_us: int
    """Since the start."""


def read_pressure(file: Path | Kept) -> Stall | None:
    """None: the kernel has no PSI, has it switched off, or the file says something else."""
    content = file.fetch() if isinstance(file, Kept) else fetch(str(file))
    if isinstance(content, Trouble):
        return None
    match = _SOME.search(content)
    if match is None:
        return None
    try:
        return Stall(float(match[1]), int(match[2]))
    except ValueError:
        return None


class PressureWatch:
    """$MEMORY_PRESSURE_WATCH: a descriptor that becomes readable when memory gets short. For an event loop."""

    def __init__(self, path: str, write: bytes = b"") -> None:
        """Raises OSError where it cannot be watched, and ValueError for a file that is none of the three kinds."""
        self.path = path
        self.threshold = write.decode(errors="replace").strip("\0 \n")
        """What systemd wants written: "some 200000 2000000" (µs of waiting, in a window of so many)."""
        kind = Path(path).stat().st_mode
        self._descriptor = -1
        self._epoll = select.epoll()
        try:
            if stat.S_ISREG(kind):
                # A PSI file: written once, polled for POLLPRI, never read. It always looks readable and writable,
                # so it is put into an epoll of its own, which is what the event loop waits for.
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
                if write:
                    os.write(self._descriptor, write)
                self._epoll.register(self._descriptor, select.EPOLLPRI)
                self._drained = False
            elif stat.S_ISFIFO(kind):
                # Opened for both, so that the end of a writer is no end of the FIFO.
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
                self._epoll.register(self._descriptor, select.EPOLLIN)
                self._drained = True
            else:
                raise ValueError(f"found {path}, expected a PSI file or a FIFO")
        except (OSError, ValueError):
            self.close()
            raise

    @staticmethod
    def of(environment: Mapping[str, str]) -> PressureWatch | None:
        """What systemd set for this service; None: nothing, switched off (/dev/null), or it cannot be watched."""
        path = environment.get("MEMORY_PRESSURE_WATCH", "")
        if not path or path == "/dev/null":
            return None
        try:
            write = base64.b64decode(environment.get("MEMORY_PRESSURE_WRITE", ""), validate=True)
            return PressureWatch(path, write)
        except (OSError, ValueError, binascii.Error):
            return None

    def fileno(self) -> int:
        return self._epoll.fileno()

    def woken(self) -> bool:
        """To be called when `fileno()` is readable; True: memory is short. False: there is nothing more to wait for
        (the control group has gone); take it out of the loop and close it.

        That it was woken is the event: asking whether the epoll is readable has already taken it from the PSI file.
        """
        events = self._epoll.poll(0)
        if self._drained:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._descriptor, 4096):
                    pass
        return not any(mask & select.EPOLLERR for _, mask in events)

    def close(self) -> None:
        self._epoll.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
