"""A model file, opened: what can be said of it before looking inside.

    with ModelFile.open("model.tflite", sha256=None) as file:
        file.data, file.sha256

What is checked is a copy in memory, sealed against every write, and that copy is what the interpreter maps (through
`file.proc_path`). So whatever happens to the file meanwhile, a copy over it, a cut or a write into it, neither reaches
a running network nor kills it (a mapping that a file was cut behind raises SIGBUS). Both mappings share its pages.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import stat
from pathlib import Path
from typing import NamedTuple

from vigild.detector.errors import ModelError

MAGIC = b"TFL3"
"""File identifier of the TFLite schema, at bytes 4 to 7."""

MAX_FILE_BYTES = 512 * 2**20
"""The largest SSD-MobileNets are 70 MB of float32; a file beyond this would not leave a small board
room to work, and is more likely no model at all."""

_COPY_BYTES = 8 * 2**20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

MIN_FILE_BYTES = 64
"""Root offset, identifier and an empty model's tables."""

_KINDS = (
    (b"<!DOCTYPE", "a web page (the download gave an error page)"),
    (b"<html", "a web page (the download gave an error page)"),
    (b"PK\x03\x04", "a ZIP archive (unpack it, or convert the SavedModel or Keras model in it)"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"\x89HDF", "a Keras HDF5 model (convert it with the TFLite converter)"),
    (b"/annex/objects/", "a git-annex pointer (run git annex get)"),
)


class ModelFile(NamedTuple):
    """A model file's content; `data` is its mapping, read-only."""

    path: str
    fd: int
    """The sealed copy."""
    map: mmap.mmap
    data: memoryview
    sha256: str

    @property
    def proc_path(self) -> str:
        """A path that opens this very content, while it is open."""
        return f"/proc/self/fd/{self.fd}"

    @classmethod
    def open(cls, path: str, sha256: str | None = None, asked_by: str = "model.sha256") -> ModelFile:
        """Open and check. `asked_by` is what gives `sha256`, for the message. Raises ModelError."""
        source = _open(path)
        try:
            info = os.fstat(source)
            if not stat.S_ISREG(info.st_mode):
                raise ModelError("unreadable", f"{path} is not a regular file; model.path must name a .tflite file.")
            _check_size(path, info.st_size)
            fd = _sealed_copy(path, source)
        finally:
            os.close(source)
        try:
            _check_size(path, os.fstat(fd).st_size)  # it may have been cut or grown meanwhile
            mapping = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        except BaseException:
            os.close(fd)
            raise
        file = cls(path, fd, mapping, memoryview(mapping), hashlib.sha256(mapping).hexdigest())
        try:
            _check_magic(path, bytes(file.data[:200]))
            if sha256 is not None and sha256.lower() != file.sha256:
                raise ModelError(
                    "sha256_mismatch",
                    f"{path} has the SHA-256 {file.sha256}, but {asked_by} asks for {sha256.lower()}; "
                    "fetch the right file or correct that.",
                )
        except BaseException:
            file.close()
            raise
        return file

    def close(self) -> None:
        """Close; the mapping goes with the last view of it."""
        os.close(self.fd)

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        parent = Path(path).parent
        beside = sorted(p.name for p in parent.glob("*.tflite"))[:5] if parent.is_dir() else []
        hint = f"; in its folder are {', '.join(beside)}" if beside else ""
        raise ModelError("missing", f"There is no model file {path}{hint}; correct model.path.") from None
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelError(
            "unreadable", f"The model file {path} cannot be opened: {text}; it must be readable by the daemon's user."
        ) from None


def _sealed_copy(path: str, source: int) -> int:
    """A memfd with the content of `source`. Raises ModelError."""
    copy = os.memfd_create("vigild-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        at = 0
        while at <= MAX_FILE_BYTES and (sent := os.sendfile(copy, source, at, _COPY_BYTES)):
            at += sent
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(copy)
        raise ModelError(
            "unreadable", f"The model file {path} cannot be read into memory: {error.strerror}; is it on a good disk?"
        ) from None
    return copy


def _check_size(path: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ModelError(
            "huge", f"{path} has {size / 2**20:.0f} MiB; models over {MAX_FILE_BYTES // 2**20} MiB are not loaded."
        )
    if size == 0:
        raise ModelError("truncated", f"{path} is empty; fetch it again.")


def _check_magic(path: str, head: bytes) -> None:
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(
            "lfs_pointer",
            f"{path} is a Git LFS pointer of a few lines, not the model itself; run git lfs pull where it came from.",
        )
    if head[4:8] != MAGIC:
        kind = next((text for start, text in _KINDS if head.lstrip().startswith(start)), "")
        found = f"it is {kind}" if kind else f"bytes 4 to 7 are {head[4:8]!r} instead of {MAGIC!r}"
        raise ModelError("not_tflite", f"{path} is not a TFLite model: {found}; expected a .tflite file.")
    if len(head) < MIN_FILE_BYTES:
        raise ModelError("truncated", f"{path} has only {len(head)} bytes; it is truncated, fetch it again.")
