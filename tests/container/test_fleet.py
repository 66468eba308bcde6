"""Ten boards side by side: a canary, waves, a stop rule, and a table that says how it went (`make test-fleet`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases
from board import Board
from releases import CRASHES, TARGET

from cross import wheels

pytestmark = pytest.mark.fleet

BOARDS = 10
WAVE = 3
WINDOW_S = 150
"""For a release to pass its gate: they all start at once here, on the cores of one machine."""

CONFIGURATION = '[camera.front]\nsource = "testcard"\nfps = 1\n'
"""One frame a second: ten daemons share what one board has for itself."""


class Fleet:
    """The boards, and the command line that deploys to them."""

    def __init__(self, boards: list[Board], folder: Path) -> None:
        self.boards = {board.name: board for board in boards}
        self._ssh_config = folder / "ssh_config"
        self._ssh_config.write_text("".join(board.ssh_config.read_text() for board in boards))
        self._hosts = folder / "hosts.toml"
        lines = [f"[defaults]\nwindow = {WINDOW_S}\ncanary = 1\nwave = {WAVE}\nmax_failed = 1\n"]
        for number, board in enumerate(boards):
            group = "near" if number < 2 else "far"
            lines.append(
                f'[board.{board.name}]\nhost = "pi@{board.name}"\ntarget = "{TARGET}"\ngroups = ["yard", "{group}"]\n'
            )
        self._hosts.write_text("".join(lines))

    def cross(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cross", *arguments, "--hosts", str(self._hosts)],
            cwd=wheels.REPOSITORY,
            env={**os.environ, "VIGILD_SSH": f"ssh -F {self._ssh_config}"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def releases(self) -> dict[str, str]:
        """What `current` points at, by board; empty where nothing is deployed."""
        links = {name: board.root / "opt/vigild/current" for name, board in self.boards.items()}
        return {name: link.readlink().name if link.is_symlink() else "" for name, link in links.items()}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        boards = [stack.enter_context(Board(f"yard-{number}")) for number in range(1, BOARDS + 1)]
        for board in boards:
            board.write("/etc/vigild/vigild.toml", CONFIGURATION)
        yield Fleet(boards, tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.make(tmp_path_factory.mktemp("crashing"), cli__run=CRASHES)


@pytest.mark.timeout(1500)
def test_ten_boards_side_by_side(fleet: Fleet, crashing: Path) -> None:
    # The canary alone, then three at a time, until all ten have it.
    said = fleet.cross("deploy", "--group", "yard")
    assert said.returncode == 0, said.stderr + said.stdout
    (release,) = set(fleet.releases().values())
    assert all(f"yard-{number}" in said.stdout for number in range(1, BOARDS + 1))
    status = fleet.cross("status", "--group", "all")
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.count(release) >= BOARDS

    # A bad one ends at the canary, which puts the old one back; nine never hear of it.
    said = fleet.cross("deploy", "--group", "yard", "--bundle", str(crashing))
    assert said.returncode == 1
    assert "9 boards were left as they were" in said.stderr
    assert set(fleet.releases().values()) == {release}
    for number in range(2, BOARDS + 1):
        assert f"yard-{number}" in said.stdout

    # Boards that are away are told by name; no wave follows when there are more of them than allowed.
    for name in ("yard-3", "yard-4"):
        fleet.boards[name].run("systemctl stop ssh.socket ssh.service; systemctl mask --runtime ssh.socket ssh.service")
    said = fleet.cross("rollback", "--group", "far", "--window", "20")
    assert said.returncode == 1
    assert "yard-3: " in said.stderr
    status = fleet.cross("status", "--group", "all")
    assert status.returncode == 1
    assert "cannot be reached" in status.stdout + status.stderr
    assert status.stdout.count(release) == BOARDS - 2
