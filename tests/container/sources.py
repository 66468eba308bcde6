"""A copy of what packages are made of, with changes: another release, as a board sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cross import wheels


def changed(folder: Path, files: dict[str, str]) -> Path:
    """Into a new folder; `files`: whole texts of the daemon's modules, by path. For wheels.REPOSITORY."""
    folder.mkdir()
    for each in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(wheels.REPOSITORY / each, folder / each)
    for each in ("daemon", "models"):
        ignored = shutil.ignore_patterns("__pycache__", "forge")
        shutil.copytree(wheels.REPOSITORY / each, folder / each, ignore=ignored)
    for name, text in files.items():
        (folder / "daemon/vigild" / name).write_text(text)
    return folder
