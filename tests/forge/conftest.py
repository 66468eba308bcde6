"""Tests of models/forge: they need its environment, and are left out where PyTorch is absent."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

collect_ignore: list[str] = []
if importlib.util.find_spec("torch") is None:
    collect_ignore += [path.name for path in Path(__file__).parent.glob("test_*.py")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Converting a network takes half a minute, on a busy machine several."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))
