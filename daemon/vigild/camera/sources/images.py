"""`images:FOLDER`: the pictures of a folder, sorted by name.

Names are bytes: one that is no UTF-8 is shown with U+FFFD in it. What is wrong with one file is said of that file, and
the others are read.
"""

from __future__ import annotations

import os
from pathlib import Path

from vigild import plain
from vigild.camera.frames import BadFrame, Buffers, Picture
from vigild.camera.sources import still
from vigild.camera.sources.base import Grab, Opened, SourceFailed

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
DEFAULT_FPS = 1.0
"""Of `pace = "live"`: slow enough to look at."""

MAX_FILE_BYTES = 256 * 2**20
"""A picture file larger than this is no picture; reading it could take a board's memory."""

MAX_SHOWN = 3
"""Of what is in a folder without a picture."""


class ImagesSource:
    """Reads each file once, in the order of names. Files that come later are not seen before a rewind."""

    live = False
    paced = True

    def __init__(self, folder: str, fps: float | None) -> None:
        self._folder = Path(folder)
        self._fps = fps or DEFAULT_FPS
        self._names: list[str] = []
        self._next = 0
        self.skipped = 0

    def open(self) -> Opened:
        self._list()
        return self._opened()

    def _opened(self) -> Opened:
        return Opened(self._fps, f"{len(self._names)} pictures in {self._folder}")

    def _list(self) -> None:
        try:
            with os.scandir(self._folder) as entries:
                found = list(entries)
            names = [entry.name for entry in found if _is_picture(entry)]
        except FileNotFoundError:
            raise SourceFailed("open", f"the folder {self._folder} does not exist") from None
        except NotADirectoryError:
            raise SourceFailed("open", f"{self._folder} is not a folder; name the folder the pictures are in") from None
        except OSError as error:
            raise SourceFailed("open", f"the folder {self._folder} cannot be read ({error.strerror})") from None
        if not names:
            raise SourceFailed("open", _no_picture(self._folder, found))
        self._names = sorted(names)
        self._next = 0

    @property
    def names(self) -> list[str]:
        """The files, in the order they are read."""
        return list(self._names)

    def grab(self) -> Grab:
        if self._next >= len(self._names):
            return Grab.END
        self._next += 1
        return Grab.FRAME

    def retrieve(self, buffers: Buffers) -> Picture:
        path = self._folder / self._names[self._next - 1]
        name = plain.name(os.fsencode(path.name).decode(errors="replace"))
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadFrame(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB")
            data = path.read_bytes()
        except (OSError, ValueError, MemoryError) as error:
            raise BadFrame(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})") from None
        picture = still.decode(data)
        if picture is None:
            raise BadFrame(f"{name} is not a picture that can be decoded ({len(data)} bytes)")
        picture.file = name
        return picture

    def skip(self, frames: int) -> int:
        skipped = min(frames, len(self._names) - self._next)
        self._next += skipped
        return skipped

    def rewind(self) -> None:
        self._list()

    def missing(self) -> int:
        return 0

    def set_rate(self, fps: float | None) -> Opened:
        self._fps = fps or DEFAULT_FPS
        return self._opened()

    def close(self) -> None:
        self._names = []


def _no_picture(folder: Path, found: list[os.DirEntry[str]]) -> str:
    """What is there instead, what would be read, and what to do."""
    there = sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in found)
    shown = ", ".join(plain.name(name) for name in there[:MAX_SHOWN])
    more = f" and {len(there) - MAX_SHOWN} more" if len(there) > MAX_SHOWN else ""
    what = f"it holds {shown}{more}" if there else "it is empty"
    below = next((name for name in there if name.endswith("/")), "")
    todo = f"; pictures in its folders are not read: name one, as images:{folder}/{plain.name(below)}" if below else ""
    return (
        f"the folder {folder} holds no picture: {what}; expected files that end in {', '.join(sorted(SUFFIXES))}"
        f"{todo or '; put some there, or name another folder'}"
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """By its name. A link that leads nowhere counts: that its picture cannot be read is to be told."""
    if Path(entry.name).suffix.lower() not in SUFFIXES:
        return False
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:
        return True
