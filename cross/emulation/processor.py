"""Foreign programs on this machine: qemu-user, known to the kernel for the files of that processor."""

from __future__ import annotations

import platform
from pathlib import Path

from cross.emulation.store import lacking, run
from cross.errors import CrossError

BINFMT = Path("/proc/sys/fs/binfmt_misc")

# binfmt_misc's own form, with qemu's magic for a 64-bit Arm ELF executable. F: the kernel opens qemu now, so that it
# need not be in each root; O and C: the program is handed over open, with its own credentials.
_AARCH64 = (
    rb":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:OCF"
)


def prepare(machine: str) -> None:
    """The kernel runs programs for `machine` from now on, until the next reboot. Raises CrossError."""
    if machine == platform.machine():
        return
    if machine != "aarch64":
        raise CrossError(f"programs for {machine} cannot be emulated here: aarch64 is what this knows")
    if text := lacking({"qemu-aarch64-static": "qemu-user-static"}):
        raise CrossError(text)
    if not (BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if not (BINFMT / "qemu-aarch64").exists():
        try:
            (BINFMT / "register").write_bytes(_AARCH64)
        except OSError as error:
            raise CrossError(
                f"the kernel does not take qemu for {machine} programs ({error.strerror}): try as root"
            ) from None
