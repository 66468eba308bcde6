"""What several system tests need."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import write_pictures

from unit import modelkit


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of 1.7 KB that loads at once: it reports how green and how blue the quarters of a picture are."""
    return modelkit.quadrants(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def large_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 pictures that take a decoder some 10 ms each: time to kill somebody in between."""
    folder = tmp_path_factory.mktemp("large") / "pictures"
    write_pictures(folder, 40, (1280, 720))
    return folder
