"""Sensors declared in a line each: an attribute that is a file below a folder.

    class Zone(Folder):
        kind = File("type", plain.word)
        celsius = File("temp", milli, kept=True)      # stays open: read again and again

    zone = Zone("/sys/class/thermal/thermal_zone0")
    zone.celsius                      # 54.5; None when it cannot be read now
    Zone.celsius.read(zone)           # 54.5, or why not: Trouble.ASLEEP

Files of /sys and /proc are made when they are read, so one that could be read may be gone, empty or nonsense the
next time, and none of that is an error here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Generic, TypeVar, overload

from vigild import plain

T = TypeVar("T")

MAX_BYTES = 64 * 1024
"""More than any of the files."""
KEPT_BYTES = 8 * 1024
"""Of one that is read every second: a `memory.stat` has some 2 KiB; of /proc/stat, which grows with the processors, the
first line is what counts. A buffer of 64 KiB would be taken from the kernel, and given back, each time."""


class Trouble(Enum):
    """Why there is no value."""

    GONE = "is not there any more"
    ASLEEP = "answers nothing"
    """Empty, or EAGAIN: a device that is switched off to save power, or a zone that is disabled."""
    NONSENSE = "answers nonsense"
    """No value of its kind, or one that cannot be."""
    FAILS = "cannot be read"
    """EIO, EPERM and all the others."""


# ESRCH: of a file of /proc that stayed open, when its process has ended.
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.ESRCH)
# ENODATA: a hwmon or thermal driver without a measurement yet. EOPNOTSUPP: PSI of some kernels that have it off.
# ESPIPE: a FIFO in place of a file, at the place 0 of it.
_ASLEEP = (errno.EAGAIN, errno.ENODATA, errno.EOPNOTSUPP, errno.ETIMEDOUT, errno.ESPIPE)


def fetch(path: str) -> bytes | Trouble:
    """The file's bytes without white space and NULs at its ends; never blocks on what is a FIFO in place of a file."""
    try:
        descriptor = _open(path)
        try:
            content = os.read(descriptor, MAX_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _trouble(error)
    return _content(content)


class Kept:
    """A file that is read every second: it stays open, for to find and open one costs a hub that has just been woken
    several times what reading it does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def fetch(self) -> bytes | Trouble:
        """As `fetch` of its path, also when that is another file by now, or none."""
        try:
            # The kernel's own files are never replaced: one that is goes on with an error. Those of a tree are.
            if self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink == 0:
                self.close()
            if self._descriptor < 0:
                self._descriptor = _open(self._path)
            content = os.pread(self._descriptor, KEPT_BYTES, 0)
        except OSError as error:
            self.close()
            return _trouble(error)
        return _content(content)

    def close(self) -> None:
        """It is opened again when it is read."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _trouble(error: OSError) -> Trouble:
    if error.errno in _GONE:
        return Trouble.GONE
    return Trouble.ASLEEP if error.errno in _ASLEEP else Trouble.FAILS


def _content(read: bytes) -> bytes | Trouble:
    return read.strip(b"\0 \t\r\n") or Trouble.ASLEEP


def milli(text: str) -> float:
    """Thousandths: m°C of a thermal zone, mV of a hwmon."""
    return int(text) / 1000.0


def kilo(text: str) -> int:
    """Thousands: kHz of cpufreq."""
    return int(text) * 1000


def number_or_max(text: str) -> int | None:
    """A limit of a control group; None: "max", there is none."""
    return None if text == "max" else int(text)


class Folder:
    """Something with a folder of files."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._kept: dict[str, Kept] = {}

    @property
    def name(self) -> str:
        """The folder's own."""
        return self.path.rpartition("/")[2]

    def kept(self, name: str) -> Kept:
        """A file of it that stays open, for as long as there is the Folder."""
        kept = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = Kept(f"{self.path}/{name}")
        return kept

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


class File(Generic[T]):
    """A file of a Folder. `convert` makes a value of its text, and raises ValueError where it is none. `kept`: it stays
    open."""

    def __init__(self, name: str, convert: Callable[[str], T], *, kept: bool = False) -> None:
        self.name = name
        self._convert = convert
        self._kept = kept

    @overload
    def __get__(self, folder: None, owner: type[Folder]) -> File[T]: ...
    @overload
    def __get__(self, folder: Folder, owner: type[Folder]) -> T | None: ...
    def __get__(self, folder: Folder | None, owner: type[Folder]) -> File[T] | T | None:
        if folder is None:
            return self
        value = self.read(folder)
        return None if isinstance(value, Trouble) else value

    def read(self, folder: Folder) -> T | Trouble:
        """The value, or why there is none."""
        content = folder.kept(self.name).fetch() if self._kept else fetch(f"{folder.path}/{self.name}")
        if isinstance(content, Trouble):
            return content
        try:
            return self._convert(plain.contents(content))
        except ValueError:
            return Trouble.NONSENSE


def folders(parent: Path, prefix: str) -> Iterator[str]:
    """The paths of the entries of `parent` whose names are `prefix` and a number, in the order of the numbers."""
    try:
        names = os.listdir(parent)  # noqa: PTH208 (a Path for each of them is what takes long)
    except OSError:
        return
    numbered = [(int(rest), name) for name in names if (rest := name.removeprefix(prefix)) != name and rest.isdigit()]
    for _, name in sorted(numbered):
        yield f"{parent}/{name}"
