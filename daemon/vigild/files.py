"""Small files of /sys, /proc and /etc, which may be absent, unreadable or odd; and writing a file whole.

files.text(Path("/proc/device-tree/model"))
files.write_whole(Path("front.jpg"), picture)      # the old one stays until the new one is there
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from vigild import plain

MAX_BYTES = 256 * 1024
"""/proc/cpuinfo of a machine with many cores is the largest."""


def text(path: Path) -> str:
    """The file's text without white space and NULs at its ends; empty when it cannot be read. Of several lines, which
    `plain.contents` made plain."""
    try:
        with path.open("rb") as file:
            return plain.contents(file.read(MAX_BYTES).strip(b"\0 \t\r\n"))
    except (OSError, ValueError):  # a NUL in the name
        return ""


def word(path: Path) -> str:
    """What the file calls something, in one short line; empty when it cannot be read."""
    return plain.word(text(path))


def number(path: Path) -> int | None:
    """The whole number in the file, or None."""
    try:
        return int(text(path))
    except ValueError:
        return None


class CannotWrite(OSError):
    """A file was not written, and what was there before is still there. As a text: a sentence without its end."""

    def __str__(self) -> str:
        hint = _HINTS.get(self.errno or 0, "")
        return f"{self.filename} cannot be written: {self.strerror}{hint and '; '}{hint}"


_HINTS = {
    errno.ENOSPC: "make room there, or name another folder",
    errno.EDQUOT: "make room there, or name another folder",
    errno.ENOENT: "make its folder first, or name another one",
    errno.ENOTDIR: "name a folder that is one",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "name a folder of your own",
    errno.EPERM: "name a folder of your own",
    errno.EROFS: "it is mounted read-only; name another folder",
}
"""By errno: what to do."""


def write_whole(path: Path, data: bytes) -> None:
    """Write all of `data`, or leave what is there: beside it first, then renamed, and both made durable.

    What is no plain file (a pipe, a device, /dev/stdout) is written to as it is. A link stays one.
    An existing file's mode is kept. Raises CannotWrite.
    """
    try:
        target = Path(os.path.realpath(path))
        old = _stat(target)
        if old is not None and stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if old is not None and not stat.S_ISREG(old.st_mode):
            target.write_bytes(data)
            return
        _replace(target, data, None if old is None else stat.S_IMODE(old.st_mode))
    except OSError as error:
        raise CannotWrite(error.errno, error.strerror or str(error), str(path)) from None


def cannot_write(error: OSError, path: Path) -> CannotWrite:
    """The error in words, as one about `path` where it names no file itself."""
    if isinstance(error, CannotWrite):
        return error
    return CannotWrite(error.errno, error.strerror or str(error), str(error.filename or path))


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    beside = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    with contextlib.suppress(OSError):  # some file systems do not let a folder be synced
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
