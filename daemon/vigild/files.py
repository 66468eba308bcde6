"""Small files of /sys, /proc, /etc and the device tree, which may be absent, unreadable or odd."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 256 * 1024
"""/proc/cpuinfo of a machine with many cores is the largest."""


def text(path: Path) -> str:
    """The file's text without white space and NULs at its ends; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace").strip("\0 \t\r\n")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """The whole number in the file, or None."""
    try:
        return int(text(path))
    except ValueError:
        return None
