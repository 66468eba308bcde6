"""The file of the model that comes with the package, as tests need one that is there."""

from __future__ import annotations

from pathlib import Path

from vigild.catalogue import embedded, store


def default_file() -> Path:
    found = embedded.entry()
    path = store.find(found, found.variants[0])
    assert path is not None
    return path
