"""Boards for the tests of the service; where none can run the tests skip, and say why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import roots
from board import Board, unavailable

LONGEST = "test_deploy.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = unavailable()
    here = Path(__file__).parent
    for item in items:
        if reason and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
    # Side by side, file by file, the one that takes longest must not be the last to begin.
    items.sort(key=lambda item: item.path != here / LONGEST)


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with vigild, its units and a test card as the only camera."""
    layer = tmp_path_factory.mktemp("application")
    layer.chmod(0o755)
    roots.install(layer)
    return layer


@pytest.fixture(scope="session")
def shared_board(application: Path) -> Iterator[Board]:
    with Board("service", layers=[application]) as board:
        board.run("systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload")
        yield board


@pytest.fixture
def board(shared_board: Board) -> Iterator[Board]:
    """The board of all tests of the service, with vigild installed, as it was shipped and not running."""
    yield shared_board
    shared_board.run(
        "systemctl stop vigild.socket vigild-retry.timer vigild.service; systemctl reset-failed;"
        "rm -rf /etc/systemd/system/vigild* /etc/vigild/credentials/*; systemctl daemon-reload",
        check=False,
    )
    shared_board.write("/etc/vigild/vigild.toml", '[camera.front]\nsource = "testcard"\n')
