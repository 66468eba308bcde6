"""What the files that a model is made of contain: compared at a reload, and watched while the model runs.

    contents = Contents()
    before = contents.fingerprint(config, loaded=ready.path)      # {path: SHA-256}
    ...
    contents.fingerprint(config, loaded=ready.path) == before     # the same network, labels and anchors?

    watcher = Watcher(contents, config, ready.path, {ready.path: ready.sha256})
    for sentence in watcher.look(): ...                           # every few seconds; each change is told once

A path says nothing of what lies there. The files are read only when their stat(2) data changed, so that looking
costs a few system calls; the first reading of a large network takes as long as its SHA-256 does (70 MB: half a
second on a small board), and is better done in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vigild.catalogue.entry import Entry, ManifestError
from vigild.config.schema import ModelConfig
from vigild.decoding import encoded

if TYPE_CHECKING:
    from vigild.catalogue.library import Library

ABSENT = ""
"""In the place of the SHA-256 of a path where no readable file is."""

_CHUNK_BYTES = 2**16
"""At a time: pages that a thread has once allocated stay with the process (2.5 MiB with chunks of 1 MiB)."""
_SETTLED_NS = 2 * 10**9
"""Times of a file have the resolution of its file system (FAT: 2 s): within it, a second write cannot be seen."""

_Stat = tuple[int, int, int, int, int]

Fingerprint = dict[str, str]


class Contents:
    """Digests of files, kept as long as stat(2) says they hold."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._known: dict[str, tuple[_Stat, str]] = {}
        self._manifests: tuple[tuple[_Stat | None, ...], Library] | None = None
        """The manifests as last read, and their stat(2) data: reading them takes a small board a tenth of a second."""

    def fingerprint(
        self, config: ModelConfig, loaded: str = "", environ: Mapping[str, str] = os.environ
    ) -> Fingerprint:
        """Digest of each file that `config` depends on, ABSENT for those that are not there. Never raises.

        `loaded`: the file that was taken (ModelReady.path), where the configuration names an entry of the manifest;
        the entry itself counts as a file of its own, MANIFEST#NAME.
        """
        entry = self._entry(config, environ)
        return _described(config, entry) | {path: self.digest(path) for path in _files(config, loaded, entry)}

    def _entry(self, config: ModelConfig, environ: Mapping[str, str]) -> Entry | None:
        """Of the manifests, where the configuration names one that is there."""
        if config.path is not None:
            return None
        from vigild.catalogue import embedded, library

        marks = tuple(map(_mark, library.paths(environ)))
        if self._manifests is None or self._manifests[0] != marks:
            # Marked before they are read: what is written meanwhile counts as new at the next look.
            self._manifests = marks, library.load(environ)
        read = self._manifests[1]
        if not all(mark is None or self._settled(max(mark[3:])) for mark in marks):
            self._manifests = None
        try:
            return read.get(config.name or embedded.ENTRY)
        except ManifestError:
            return None

    def _settled(self, changed_ns: int) -> bool:
        return self._wall_ns() - changed_ns > _SETTLED_NS

    def digest(self, path: str) -> str:
        """SHA-256 in hexadecimal, or ABSENT. Never raises."""
        try:
            info = Path(path).stat()
        except (OSError, ValueError):
            return ABSENT
        if not stat.S_ISREG(info.st_mode):
            return ABSENT
        mark = mark_of(info)
        known = self._known.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        value = _sha256(path)
        if self._settled(max(info.st_mtime_ns, info.st_ctime_ns)):
            self._known[path] = (mark, value)
        else:
            self._known.pop(path, None)
        return value


def _described(config: ModelConfig, entry: Entry | None) -> Fingerprint:
    """The entry of the manifest, where the configuration names one."""
    if config.path is not None:
        return {}
    if entry is None:
        return {f"manifest#{config.name}": ABSENT}
    return {f"{entry.origin}#{entry.name}": hashlib.sha256(encoded(msgspec.json.encode, entry)).hexdigest()}


def mark_of(info: os.stat_result) -> _Stat:
    """What changes when a file is replaced or written to."""
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb", buffering=0) as file:
            chunk = bytearray(_CHUNK_BYTES)
            view = memoryview(chunk)
            while taken := file.readinto(chunk):
                digest.update(view[:taken])
    except OSError:
        return ABSENT
    return digest.hexdigest()


def _mark(path: Path) -> _Stat | None:
    """Of a path that may lead nowhere."""
    try:
        return mark_of(path.stat())
    except (OSError, ValueError):
        return None


def _files(config: ModelConfig, loaded: str, entry: Entry | None) -> list[str]:
    """The network, what may lie beside it, and its labels."""
    network = config.path or loaded
    found = []
    if network:
        found += [network, *sidecars(network)]
    labels, anchors = config.labels, ""
    if config.path is None and entry is not None:
        variant = next((v for v in entry.variants if Path(v.file).name == Path(network).name), None)
        if variant is not None:
            labels = labels or (str(Path(entry.folder) / variant.labels) if variant.labels else None)
            anchors = str(Path(entry.folder) / variant.anchors_file) if variant.anchors_file else ""
    found += [path for path in (labels, anchors) if path]
    return list(dict.fromkeys(found))


def sidecars(network: str) -> list[str]:
    """Where a description of the anchors may lie beside a network."""
    return [network + ".anchors.json", str(Path(network).with_suffix(".anchors.json"))]


class Watcher:
    """Tells once, in a sentence, that a path now holds something else than what runs."""

    def __init__(self, contents: Contents, config: ModelConfig, loaded: str, running: Mapping[str, str]) -> None:
        """`running`: digests of what the worker took, which may be older than what lies there by now."""
        self._contents = contents
        self._config, self._loaded = config, loaded
        self._running = contents.fingerprint(config, loaded) | dict(running)
        self._before = dict(self._running)
        self._told: Fingerprint = {}

    def look(self) -> list[str]:
        """What is new since the last look. A change counts when two looks agree on it: a copy takes its time."""
        now = self._contents.fingerprint(self._config, self._loaded)
        sentences = []
        for path in {**self._running, **now}:
            digest, runs = now.get(path, ABSENT), self._running.get(path, ABSENT)
            if digest == self._before.get(path, ABSENT) and digest != self._told.get(path, runs):
                self._told[path] = digest
                if digest != runs:
                    sentences.append(_sentence(path, digest))
        self._before = now
        return sentences


def _sentence(path: str, digest: str) -> str:
    what, _, entry = path.partition("#") if not os.path.exists(path) else (path, "", "")  # noqa: PTH110
    if entry:
        return f"the entry {entry} of {what} has changed; vigild reload takes it up"
    if digest == ABSENT:
        return f"{path} is gone or cannot be read; what was loaded from it goes on"
    return f"{path} now holds something else than what runs; vigild reload takes it up"
