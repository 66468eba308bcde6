"""What there is to measure: the builds of a model that are here, what can execute them, with how many threads.

    found = builds(config, [])                    # raises ManifestError: there is nothing to measure
    for candidate in candidates(found.builds, [1, 2], None, "auto", Path("/")): ...

A build is a variant of the manifest's entry, or a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from vigild.catalogue import embedded, library, store
from vigild.catalogue.entry import EDGETPU, ManifestError
from vigild.config.schema import ModelConfig
from vigild.delegates import edgetpu, prospects
from vigild.delegates.ladder import is_edgetpu

MAX_DEFAULT_THREADS = 8
"""An SSD-MobileNet gains nothing from more."""


class Build(NamedTuple):
    """One file to measure."""

    name: str
    """The variant's name, or the file's without its suffix."""
    config: ModelConfig
    """Names this build and no other; threads and delegate do not matter in it."""
    edgetpu: bool
    """Compiled for the Edge TPU: it runs nowhere else."""


class Builds(NamedTuple):
    name: str
    """Of the manifest's entry; of files, their names."""
    builds: list[Build]
    absent: list[str]
    """Variants whose files are not here."""


class Candidate(NamedTuple):
    """One setting."""

    build: Build
    delegate: str
    threads: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.build.name, self.delegate, self.threads


def builds(config: ModelConfig, files: Sequence[str], environ: Mapping[str, str] = os.environ) -> Builds:
    """`files`: instead of the model that `config` names. Raises ManifestError."""
    if config.path is not None and not files:
        files = [config.path]
    base = msgspec.structs.replace(config, path=None, name=None, variant="auto", sha256=None, delegate="auto")
    if files:
        return _files(files, base)
    entry = library.load(environ).get(config.name or embedded.ENTRY)
    here, absent = [], []
    for variant in entry.variants:
        if store.find(entry, variant, environ) is None:
            absent.append(variant.name)
            continue
        named = msgspec.structs.replace(base, name=entry.name, variant=variant.name)
        here.append(Build(variant.name, named, variant.delegate == EDGETPU))
    if not here:
        raise ManifestError(
            f"No variant of {entry.name} is on this machine; fetch one first: vigild models pull {entry.name}.",
            "missing",
        )
    return Builds(entry.name, here, absent)


def _files(files: Sequence[str], base: ModelConfig) -> Builds:
    found = []
    stems = [Path(file).stem for file in files]
    for file, stem in zip(files, stems, strict=True):
        if not Path(file).is_file():
            raise ManifestError(f"There is no model file {file}; expected .tflite files, or a name of the manifest.")
        name = stem if stems.count(stem) == 1 else file
        config = msgspec.structs.replace(base, path=str(Path(file).absolute()))
        compiled, _ = prospects.builds(config)
        found.append(Build(name, config, compiled))
    return Builds(" + ".join(build.name for build in found), found, [])


def default_threads(cores: int) -> list[int]:
    """1, 2, 4, ... and all cores."""
    most = min(cores, MAX_DEFAULT_THREADS)
    return sorted({count for count in (1, 2, 4, 8) if count < most} | {most})


def candidates(
    found: Iterable[Build], threads: Sequence[int], delegates: Sequence[str] | None, delegate: str, root: Path
) -> list[Candidate]:
    """Every setting that this board can run, in the order of the builds.

    `delegates`: only these; None: all that may work. `delegate`: model.delegate of the configuration,
    which may name an external one or a certain Edge TPU. `root`: what /dev and /sys are below.
    """
    tpu = delegate if is_edgetpu(delegate) else EDGETPU
    has_tpu = bool(edgetpu.devices(root)) and edgetpu.library_installed()
    result = []
    for build in found:
        if build.edgetpu:
            on = [tpu] if has_tpu or is_edgetpu(delegate) else []
        else:
            on = ["xnnpack", "none"]
            if "/" in delegate and not is_edgetpu(delegate):
                on.insert(0, delegate)
        if delegates is not None:
            on = [one for one in delegates if is_edgetpu(one) == build.edgetpu]
        for rung in on:
            # On an Edge TPU the CPU does next to nothing.
            counts = list(threads)[:1] if is_edgetpu(rung) else threads
            result += [Candidate(build, rung, count) for count in counts]
    return result
