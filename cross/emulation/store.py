"""Where emulated boards are kept: $VIGILD_BOARDS, else ~/.cache/vigild/boards (below $XDG_CACHE_HOME).

with made_once(path) as folder:      # None: it is there already
    if folder is not None: ...       # fill it; it becomes `path` when that went well
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from cross.errors import CrossError

TOLD = 3000
"""Characters of a failed command's output that are shown: its end, where the reason stands."""


def cache() -> Path:
    if chosen := os.environ.get("VIGILD_BOARDS"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vigild" / "boards"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time, by the lock file beside `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def made_once(path: Path) -> Iterator[Path | None]:
    """Yields a folder to fill, which becomes `path` when that went well; None when it is there already."""
    with alone(path):
        if path.exists():
            yield None
            return
        half = path.with_name(path.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        yield half
        half.rename(path)


def key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def ssh_key() -> Path:
    """The private key that boards let in."""
    path = cache() / "id_ed25519"
    with made_once(cache() / "keys") as folder:
        if folder is not None:
            path.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vigild-test-boards", "-f", str(path)])
    return path


def run(command: list[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What it said. Raises CrossError."""
    env = None if environment is None else {**os.environ, **environment}
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise CrossError(f"{' '.join(command[:3])} ... failed (status {done.returncode}):\n{done.stdout[-TOLD:]}")
    return done.stdout


def lacking(programs: Mapping[str, str]) -> str:
    """A sentence that names what is not here; empty when all is. `programs`: the package that each is in."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if not missing:
        return ""
    packages = " ".join(dict.fromkeys(programs[name] for name in missing))
    return f"{', '.join(missing)} not found: sudo apt-get install {packages}"
