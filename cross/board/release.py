"""Makes a release of a bundle: its own folder, whole before anything points at it.

    name = Builder(layout, disk, system).build(package)

What many releases share (NumPy, OpenCV, the runtime, pip) is installed once per lock file, and a release's environment
points there; a deploy of a changed line installs one small wheel.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .disk import Disk
from .layout import COMPLETE, Layout
from .package import Package, Refused, fits
from .system import System

PIP_S = 900
"""NumPy and OpenCV on a slow SD card take minutes."""

UNPACKED = 5
"""Installed wheels with their .pyc files are so many times larger than packed (measured: 3.6 to 4.4)."""

SPARE_BYTES = 64 << 20
"""Left for the system whatever is deployed."""


class Builder:
    def __init__(self, layout: Layout, disk: Disk, system: System, say: Callable[[str], None]) -> None:
        self._layout, self._disk, self._system, self._say = layout, disk, system, say

    def build(self, package: Package) -> str:
        """The release's name; when it returns the release is whole and on the disk. Raises Refused."""
        layout, disk = self._layout, self._disk
        package.verify(layout.store, disk)
        described = package.description(layout.store)
        fits(described["target"])
        name = package.release_name(layout.store)
        if layout.whole(name):
            self._say(f"release {name} is here already")
            return name
        self.room(package, described)
        with _full_disk():
            self._build(package, described, name)
        return name

    def room(self, package: Package, described: dict[str, Any]) -> None:
        """Raises Refused when what is to be installed would not fit."""
        wheels = [hash for name, hash in package.files.items() if name.startswith("wheels/")]
        packed = sum((self._layout.store / hash).stat().st_size for hash in wheels)
        own = (self._layout.store / package.files[described["package"]]).stat().st_size
        there = (self._environment(package) / COMPLETE).is_file()
        enough_room(self._layout.home, UNPACKED * (own if there else packed))

    def _build(self, package: Package, described: dict[str, Any], name: str) -> None:
        layout, disk = self._layout, self._disk
        release = layout.release(name)
        disk.remove(release)  # a beginning that was interrupted
        disk.folder(release)
        with self._wheels(package) as wheels:
            environment = self._environment(package)
            if not (environment / COMPLETE).is_file():
                self._say("installing what the lock file names; the first time this takes a while")
                self._make_environment(package, described, environment, wheels)
            self._make_venv(package, described, release, environment, wheels)
        for file in package.files:
            if file.startswith(("systemd/", "share/")) or file in ("vigild.toml", "sbom.cdx.json"):
                disk.folder((release / file).parent)
                disk.write(release / file, package.file(layout.store, file))
        disk.sync_all(release)
        about = {
            "release": name,
            "version": described["version"],
            "target": described["target"]["name"],
            "environment": environment.name,
            "files": sorted(package.files.values()),
        }
        disk.write(release / COMPLETE, json.dumps(about, indent=1).encode() + b"\n")

    def _environment(self, package: Package) -> Path:
        """By what is in it: the lock file, pip, and this Python."""
        pip = package.files[package.description(self._layout.store)["pip"]]
        parts = [package.files["lock.txt"], pip, sys.version.split()[0]]
        return self._layout.environments / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def _wheels(self, package: Package) -> Iterator[Path]:
        """A folder of the wheels under their own names, as pip wants them: hard links into the store."""
        folder = self._layout.home / ".wheels"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            for name, hash in package.files.items():
                if name.startswith("wheels/"):
                    os.link(self._layout.store / hash, folder / name.removeprefix("wheels/"))
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _make_environment(self, package: Package, described: dict[str, Any], folder: Path, wheels: Path) -> None:
        disk = self._disk
        disk.remove(folder)
        disk.folder(folder)
        disk.write(folder / "lock.txt", package.file(self._layout.store, "lock.txt"))
        # pip runs from its wheel too, but compiles all of itself each time: a third of a small install.
        with zipfile.ZipFile(wheels / described["pip"].removeprefix("wheels/")) as pip:
            pip.extractall(folder / "pip")
        self._pip([sys.executable], folder, wheels, folder / "lock.txt", "--target", str(folder / "site"))
        disk.sync_all(folder)
        disk.write(folder / COMPLETE, b"{}\n")

    def _make_venv(
        self, package: Package, described: dict[str, Any], release: Path, environment: Path, wheels: Path
    ) -> None:
        disk, target, venv = self._disk, described["target"], release / "venv"
        options = ["--system-site-packages"] if target["system_site_packages"] else []
        self._must([sys.executable, "-m", "venv", "--without-pip", *options, str(venv)], "the environment")
        own = release / "package.txt"
        disk.write(own, f"{described['requirement']}\n".encode())
        python = venv / "bin/python"
        # -B: the environment is whole and on the disk, and nothing is added to it.
        self._pip([str(python), "-B"], environment, wheels, own)
        site = next((venv / "lib").glob("python*")) / "site-packages"
        disk.write(site / "vigild-environment.pth", f"{environment / 'site'}\n".encode())
        disk.link(release / "bin", "venv/bin")

    def _pip(self, python: list[str], environment: Path, wheels: Path, requirements: Path, *more: str) -> None:
        pip = environment / "pip/pip"
        options = ["--isolated", "--no-index", "--no-deps", "--require-hashes", "--no-cache-dir", "--quiet"]
        options += ["--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"]
        what = [*python, str(pip), "install", *options, "--find-links", str(wheels), *more, "-r", str(requirements)]
        self._must(what, "the packages")

    def _must(self, command: list[str], what: str) -> None:
        done = self._system.run(command, timeout_s=PIP_S)
        if done.status == 0:
            return
        if "No space left on device" in done.output:
            raise OSError(errno.ENOSPC, "No space left on device")
        told = "\n".join(done.output.strip().splitlines()[-5:])
        raise Refused(f"{what} cannot be installed (status {done.status}):\n{told}")


def enough_room(home: Path, wanted_bytes: int) -> None:
    """Raises Refused with both figures."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < wanted_bytes + SPARE_BYTES:
        raise Refused(
            f"the disk is too full: this needs {(wanted_bytes + SPARE_BYTES) >> 20} MiB below {home} "
            f"and {free >> 20} MiB are free"
        )


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise Refused(
            f"the disk is too full or cannot be written to ({error.strerror}); nothing was switched"
        ) from None


def sweep(layout: Layout, disk: Disk, keep: frozenset[str]) -> None:
    """Remove releases not in `keep`, what was left unfinished, and what no release needs any more."""
    environments: set[str] = set()
    files: set[str] = set()
    for path in _listed(layout.releases):
        if path.name in keep and (path / COMPLETE).is_file():
            about = json.loads((path / COMPLETE).read_bytes())
            environments.add(about["environment"])
            files.update(about["files"])
        else:
            disk.remove(path)
    for path in _listed(layout.environments):
        if path.name not in environments:
            disk.remove(path)
    for path in _listed(layout.store):
        if path.name not in files:
            disk.remove(path)
    shutil.rmtree(layout.home / ".wheels", ignore_errors=True)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
