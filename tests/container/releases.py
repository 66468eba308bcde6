"""Releases for tests: bundles of this tree, with other texts or networks in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cross import bundle as bundles
from cross import target, wheels

TARGET = "amd64-bookworm"

CONFIGURATION = '[camera.front]\nsource = "testcard"\nfps = 5\n'
"""For boards of which several run beside each other: what they see matters, and not how much of it."""

CRASHES = """
def add_arguments(parser):
    parser.add_argument("--config")

def run(args):
    raise SystemExit(1)
"""
"""As cli/run.py: the service ends as soon as it starts."""


def make(
    folder: Path,
    *,
    network: bytes | None = None,
    key: Path | None = None,
    beside: dict[str, bytes] | None = None,
    **files: str,
) -> Path:
    """The bundle, in `folder`. `network`: instead of each embedded one; `key`: signs it; `beside`: other files of
    the bundle, by their names in it; `files`: texts by module of the daemon, cli__run=... for cli/run.py."""
    source = folder / "source"
    source.mkdir()
    for each in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(wheels.REPOSITORY / each, source / each)
    for each in ("daemon", "models"):
        ignored = shutil.ignore_patterns("__pycache__", "forge")
        shutil.copytree(wheels.REPOSITORY / each, source / each, ignore=ignored)
    for module, text in files.items():
        (source / "daemon/vigild" / (module.replace("__", "/") + ".py")).write_text(text)
    for path in (source / "models/embedded").glob("*.tflite") if network is not None else ():
        path.write_bytes(network)
    made = bundles._files
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheels, "REPOSITORY", source)
        patch.setattr(bundles, "_files", lambda chosen: made(chosen) | (beside or {}))
        return bundles.make(target.load(TARGET), key, folder)
