"""What several system tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit import modelkit


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of 1.7 KB that loads at once: it reports how green and how blue the quarters of a picture are."""
    return modelkit.quadrants(tmp_path_factory.mktemp("model"))
