"""The wheels of a target, from the lock, and vigild's own.

    files = fetch(target)              # paths in build/cross/wheels, each with the hash of the lock
    own = project(folder)              # vigild-0.1.0-py3-none-any.whl; the same source gives the same bytes

What was fetched once is not fetched again: the second bundle needs no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cross import lock
from cross.errors import CrossError
from cross.lock import Pinned
from cross.target import REPOSITORY, Target

CACHE = REPOSITORY / "build/cross/wheels"

EPOCH = 1580601600
"""2020-02-02: the time that hatchling gives files where SOURCE_DATE_EPOCH says no other; a zip cannot tell of 1970."""


def epoch() -> int:
    """Seconds; the time of every file in a bundle. Raises CrossError."""
    text = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
    if not text.isdigit() or int(text) < 315532800:
        raise CrossError(f"SOURCE_DATE_EPOCH is {text!r}; seconds since 1970, not before 1980, are expected")
    return int(text)


def fetch(target: Target, cache: Path = CACHE) -> list[Path]:
    """Raises CrossError."""
    pinned = lock.read(target)
    _check_complete(target, pinned)
    cache.mkdir(parents=True, exist_ok=True)
    missing = [each for each in pinned if not _good(cache / each.file, each.sha256)]
    if missing:
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text("".join(f"{each.line()}\n" for each in missing))
            options = ["--quiet", "--no-deps", "--require-hashes", "--dest", folder, *target.pip_options()]
            lock.pip("download", *options, "-r", str(requirements))
            for each in missing:
                path = Path(folder) / each.file
                if not _good(path, each.sha256):
                    raise CrossError(f"{each.file} did not come from the package index; lock anew: make lock")
                path.replace(cache / each.file)
    return [cache / each.file for each in pinned]


def _check_complete(target: Target, pinned: list[Pinned]) -> None:
    there = {each.name for each in pinned}
    if lacking := [name for name in target.built if name not in there]:
        raise CrossError(
            f"{', '.join(lacking)} has no wheel for {target.name} on the package index, and {target.lock_file().name} "
            f"names none: on such a board, `pip wheel {lacking[0]}` makes one; put it into {CACHE} and its line, with "
            "its hash, into that file"
        )


def _good(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def project(folder: Path) -> Path:
    """Build vigild's wheel into `folder`. Raises CrossError."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    with _source() as source:
        done = subprocess.run(
            command,
            cwd=source,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    wheels = list(folder.glob("vigild-*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise CrossError(f"the wheel of vigild cannot be built:\n{done.stdout}")
    return wheels[0]


class _source:
    """A copy of what the wheel is made of, with fixed permissions: a checkout's depend on the umask."""

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory()
        copy = Path(self._folder.name)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "forge")
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(REPOSITORY / name, copy / name)
        for name in ("daemon", "models"):
            shutil.copytree(REPOSITORY / name, copy / name, ignore=ignored, copy_function=shutil.copyfile)
        for path in copy.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return copy

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
