"""Every change that vigild-deploy itself makes to the disk, each durable before the next one begins.

    disk = Disk()
    disk.write(path, b"...")          # whole or not at all, also through a power cut
    disk.link(path, target)           # a link that points at the old or at the new place, never at none

`changed` is called after each change: a test that raises (or kills) there sees every state that a power cut can
leave behind. The order is write, fsync, rename, fsync of the folder: a rename may reach the disk before the data
it names (fsync(2), rename(2)).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_NEW = ".new"


class Disk:
    def __init__(self, changed: Callable[[str], None] = lambda what: None) -> None:
        self._changed = changed

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """The file has these bytes, or what it had before."""
        new = path.with_name(path.name + _NEW)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        self._changed(f"written {new}")
        self.rename(new, path)

    def copy_stream(self, source: BinaryIO, path: Path, size: int) -> None:
        """`size` bytes of a stream into a new file. Raises EOFError when there are fewer."""
        with path.open("wb") as file:
            left = size
            while left:
                piece = source.read(min(left, 1 << 20))
                if not piece:
                    raise EOFError(f"{path.name}: {left} of {size} bytes did not come")
                file.write(piece)
                left -= len(piece)
            file.flush()
            os.fsync(file.fileno())
        self._changed(f"copied {path}")

    def rename(self, old: Path, new: Path) -> None:
        old.replace(new)
        self._changed(f"renamed {new}")
        self.sync(new.parent)
        if old.parent != new.parent:
            self.sync(old.parent)

    def link(self, path: Path, target: str) -> None:
        """A symbolic link at `path`, in place of whatever link or file was there."""
        if path.is_symlink() and str(path.readlink()) == target:
            return
        new = path.with_name(path.name + _NEW)
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        self._changed(f"linked {new}")
        self.rename(new, path)

    def folder(self, path: Path, mode: int = 0o755) -> None:
        """The folder, with those above it."""
        if path.is_dir():
            return
        self.folder(path.parent)
        path.mkdir(mode=mode, exist_ok=True)
        path.chmod(mode)  # whatever the umask
        self._changed(f"made {path}")
        self.sync(path.parent)

    def remove(self, path: Path) -> None:
        """A file, link or whole folder; nothing when it is not there.

        A folder is renamed first: what is half removed never has the name of something whole.
        """
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            going = path.with_name(f".{path.name}.removed")
            if path != going and not path.name.endswith(".removed"):
                shutil.rmtree(going, ignore_errors=True)
                self.rename(path, going)
                path = going
            shutil.rmtree(path)
        else:
            return
        self._changed(f"removed {path}")
        self.sync(path.parent)

    def sync(self, folder: Path) -> None:
        """What the folder lists is on the disk."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_all(self, folder: Path) -> None:
        """Everything below, and the rest of its file system: what other programs (pip) wrote into it.

        One syncfs through sync(2) costs less than thousands of fsync calls on an SD card.
        """
        os.sync()
        self.sync(folder)
        self._changed(f"synced {folder}")
