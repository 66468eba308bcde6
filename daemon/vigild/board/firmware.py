"""What a Raspberry Pi's firmware says: it slows the board down by itself, and no file of the kernel tells of it.

    firmware = Firmware(Path("/"))
    said = firmware.poll(now_ns)          # Said(bits=0x50005, arm_hz=600_000_000); None: it has not said anything
    flags_now(said.bits)                  # ["under_voltage", "throttled"]

Two ways. /dev/vcio, the mailbox of the firmware: an ioctl of some microseconds, for members of the group video; the
same answer has the clock that really runs. Where that may not be opened, `vcgencmd get_throttled`, a process that is
started at one poll and looked after at the next ones, so that nobody waits for it. The file get_throttled in /sys is
deprecated and writes a warning into the kernel's log when it is read: it is not touched.

Sources: raspberrypi/linux, drivers/char/broadcom/vcio.c (the ioctl) and include/soc/bcm2835/raspberrypi-firmware.h (the
tags); documentation, graphics-utilities.adoc (the bits).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vigild.board.identity import is_raspberry_pi

FLAGS = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
"""The bit for now; SINCE_START further up: since the board's start."""
SINCE_START = 16

MAILBOX_EVERY_S = 0.9
"""Once a second, less the tenth by which a round of the hub may be early: the firmware has other things to do."""
VCGENCMD_EVERY_S = 5.0
VCGENCMD_EVERY_NEAR_S = 1.0
"""Near a limit. A process takes some milliseconds to start."""
VCGENCMD_MOST_S = 3.0
RETRY_S = 60.0
"""Until a way that did not work is tried again."""

_GET_THROTTLED = 0x00030046
_GET_CLOCK_RATE_MEASURED = 0x00030047
_ARM_CLOCK = 3
_ANSWERED = 1 << 31
_SUCCESS = 0x80000000
# _IOWR(100, 0, char *): the size of a pointer is part of the number.
_PROPERTY = 0xC0000000 | struct.calcsize("P") << 16 | 100 << 8

_SAID = re.compile(rb"throttled=0x([0-9a-fA-F]{1,8})\s*$")


class Said(NamedTuple):
    bits: int
    """As of `vcgencmd get_throttled`."""
    arm_hz: int | None = None
    """The clock of the ARM cores, counted; None where only the bits are known."""


def flags_now(bits: int) -> list[str]:
    """Raised now, in the order of the bits."""
    return [name for bit, name in FLAGS.items() if bits >> bit & 1]


def flags_before(bits: int) -> list[str]:
    """Raised since the board's start, and not now."""
    return [name for bit, name in FLAGS.items() if bits >> (bit + SINCE_START) & 1 and not bits >> bit & 1]


Ioctl = Callable[[int, int, bytearray], int]


def ask_mailbox(device: Path, ioctl: Ioctl = fcntl.ioctl) -> Said | None:
    """One question. Raises OSError where the device may not be opened or is none; None: an answer without the bits.

    The words of a message: its size, 0 for a question, then tags (number, size, 0, values), then 0. The value 0 of
    get_throttled asks without clearing the bits that are remembered.
    """
    words = [0, 0, _GET_THROTTLED, 4, 0, 0, _GET_CLOCK_RATE_MEASURED, 8, 0, _ARM_CLOCK, 0, 0]
    words[0] = 4 * len(words)
    message = bytearray(struct.pack(f"={len(words)}I", *words))
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        ioctl(descriptor, _PROPERTY, message)
    finally:
        os.close(descriptor)
    answer = struct.unpack(f"={len(words)}I", message)
    if answer[1] != _SUCCESS or not answer[4] & _ANSWERED:
        return None
    return Said(answer[5], answer[10] if answer[8] & _ANSWERED and answer[10] else None)


def start_vcgencmd() -> subprocess.Popen[bytes] | None:
    """None: it is not installed. Raises OSError when it cannot be started."""
    import shutil  # brings the compressors along, and few boards get here

    command = shutil.which("vcgencmd")
    if command is None:
        return None
    return subprocess.Popen(
        [command, "get_throttled"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def parse_vcgencmd(output: bytes) -> int | None:
    """The bits; None: it says something else."""
    match = _SAID.search(output)
    return int(match[1], 16) if match else None


class Firmware:
    """Asks again and again without ever waiting. Also on a board that is no Raspberry Pi: it has nothing to say."""

    def __init__(
        self,
        root: Path,
        mailbox: Callable[[Path], Said | None] = ask_mailbox,
        start: Callable[[], subprocess.Popen[bytes] | None] = start_vcgencmd,
    ) -> None:
        self._device = root / "dev/vcio"
        self._is_pi = is_raspberry_pi(root)
        self._mailbox = mailbox
        self._start = start
        self._mailbox_from_ns = 0
        self._answered_ns: int | None = None
        """When the mailbox did; None: it does not."""
        self._process: subprocess.Popen[bytes] | None = None
        self._started_ns: int | None = None
        self._vcgencmd_from_ns = 0
        self._said: Said | None = None
        self.way = ""
        """How it is asked now, in words; empty: it does not answer, or there is none."""

    def poll(self, now_ns: int, near: bool = False) -> Said | None:
        """What it said last; None: it does not answer, or has not yet. `near`: a limit is near, so ask often."""
        if not self._is_pi:
            return None
        if self._answered_ns is not None and now_ns - self._answered_ns < MAILBOX_EVERY_S * 1e9:
            return self._said
        self._answered_ns = None
        if now_ns >= self._mailbox_from_ns:
            try:
                said = self._mailbox(self._device)
            except OSError:
                said = None
            if said is not None:
                self._said, self.way = said, "the firmware's mailbox, /dev/vcio"
                self._answered_ns = now_ns
                return said
            self._mailbox_from_ns = now_ns + int(RETRY_S * 1e9)
        if self._process is not None:
            self._look_after(self._process, now_ns)
        else:
            every_s = VCGENCMD_EVERY_NEAR_S if near else VCGENCMD_EVERY_S
            due = self._started_ns is None or now_ns - self._started_ns >= every_s * 1e9
            if due and now_ns >= self._vcgencmd_from_ns:
                self._begin(now_ns)
        return self._said

    @property
    def pending(self) -> bool:
        """A question is on its way: a later poll will have the answer."""
        return self._process is not None

    def close(self) -> None:
        """Do not leave a process behind."""
        if self._process is not None:
            self._end(self._process)

    def _begin(self, now_ns: int) -> None:
        try:
            self._process = self._start()
        except OSError:
            self._process = None
        if self._process is None:
            self._fails(now_ns)
            return
        self._started_ns = now_ns
        if self._process.stdout is not None:
            os.set_blocking(self._process.stdout.fileno(), False)

    def _look_after(self, process: subprocess.Popen[bytes], now_ns: int) -> None:
        if process.poll() is None:
            if self._started_ns is None or now_ns - self._started_ns >= VCGENCMD_MOST_S * 1e9:
                self._end(process)
                self._fails(now_ns)
            return
        try:
            output = os.read(process.stdout.fileno(), 4096) if process.stdout is not None else b""
        except OSError:
            output = b""
        self._end(process)
        bits = parse_vcgencmd(output)
        if bits is None:
            self._fails(now_ns)
        else:
            self._said, self.way = Said(bits), "vcgencmd get_throttled"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)  # killed: at once, but for one that hangs in the driver
        if process.stdout is not None:
            process.stdout.close()

    def _fails(self, now_ns: int) -> None:
        self._said, self.way = None, ""
        self._vcgencmd_from_ns = now_ns + int(RETRY_S * 1e9)
