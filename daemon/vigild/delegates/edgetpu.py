"""Edge TPUs as the kernel shows them, and whether their library is installed. Nothing is opened.

    devices(Path("/"))       # [EdgeTpu("USB 18d1:9302", PosixPath("/dev/bus/usb/002/003"))]
    library_installed()      # libedgetpu.so.1 is where the dynamic loader looks
    diagnosis(Path("/"))     # in words, for somebody whose Edge TPU does not work

A USB Edge TPU has the ids 1a6e:089a until its firmware is loaded on first use, and 18d1:9302 from
then on (libedgetpu, debian/edgetpu-accelerator.rules). One on PCIe is /dev/apex_N (its
driver/driver_factory.cc).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vigild import files

LIBRARY = "libedgetpu.so.1"

USB_BEFORE_FIRST_USE = "1a6e:089a"
USB_IDS = (USB_BEFORE_FIRST_USE, "18d1:9302")

LOADER_CACHE = Path("/etc/ld.so.cache")


class EdgeTpu(NamedTuple):
    name: str
    """For people: "USB 18d1:9302" or "PCIe apex_0"."""
    node: Path
    """The device node that the library opens for reading and writing."""


def devices(root: Path) -> list[EdgeTpu]:
    """All Edge TPUs; `root` is what /sys and /dev are below ("/" on a board)."""
    found = [EdgeTpu(f"PCIe {node.name}", node) for node in sorted(root.glob("dev/apex_*"))]
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        ids = f"{files.word(device / 'idVendor')}:{files.word(device / 'idProduct')}"
        if ids in USB_IDS:
            bus, number = (files.word(device / name).rjust(3, "0") for name in ("busnum", "devnum"))
            found.append(EdgeTpu(f"USB {ids}", root / "dev/bus/usb" / bus / number))
    return found


def library_installed(environ: Mapping[str, str] = os.environ, cache: Path = LOADER_CACHE) -> bool:
    """Whether the dynamic loader would find libedgetpu (ld.so(8): $LD_LIBRARY_PATH, its cache, the usual folders)."""
    folders = [Path(folder) for folder in environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":") if folder]
    triplet = getattr(sys.implementation, "_multiarch", "")
    folders += [Path(base) / sub for base in ("/lib", "/usr/lib") for sub in ("", triplet)]
    if any((folder / LIBRARY).exists() for folder in folders):
        return True
    try:
        return f"{LIBRARY}\0".encode() in cache.read_bytes()
    except OSError:
        return False


def diagnosis(root: Path) -> str:
    """What is wrong as far as it can be seen from outside, and what to do: a clause without a full stop."""
    found = devices(root)
    if not found:
        ids = " or ".join(USB_IDS)
        return f"no Edge TPU is connected: there is neither /dev/apex_0 nor a USB device {ids}; plug it in"
    for tpu in found:
        if tpu.node.exists() and not os.access(tpu.node, os.R_OK | os.W_OK):
            group = "plugdev" if tpu.name.startswith("USB") else "apex"
            return (
                f"{tpu.name} is there, but user {os.getuid()} may not open {tpu.node}; "
                f"add the daemon's user to the group {group}"
            )
    names = " and ".join(tpu.name for tpu in found)
    return f"{names} is there and may be opened; another program may be using it, else unplug it and plug it in again"
