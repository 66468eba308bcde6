"""Whole emulated boards, one after the other; where none can run the tests skip, and say why.

VIGILD_BOARD_ARCH names one (x86_64, aarch64); both by default.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import FIGURES, RUNNING, Installed, unavailable

from cross import bundle as bundles
from cross import target
from cross.emulation import images, machine

HERE = Path(__file__).parent
CHOSEN = os.environ.get("VIGILD_BOARD_ARCH", "").split() or list(images.MACHINES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # Emulation, and at the first run the making of an image.
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session", params=CHOSEN)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A board with the bundle on it, installed by its own installer."""
    if reason := unavailable(request.param):
        pytest.skip(reason)
    image = images.image(request.param)
    bundle = bundles.make(target.load(images.TARGETS[request.param]), None, tmp_path_factory.mktemp("bundle"))
    begun = time.monotonic()
    with machine.Machine(image, stick=bundle) as board:
        FIGURES.append(
            f"{request.param}: ssh lets in {board.uptime_s:.0f} s after power on, with {board.cpu_s:.0f} s of processor"
        )
        RUNNING.append(board)
        installed = Installed(board, FIGURES)
        installed.install()
        yield installed
        RUNNING.remove(board)
        cpu_s = board.cpu_s
    FIGURES.append(f"{request.param}: all of it in {time.monotonic() - begun:.0f} s, with {cpu_s:.0f} s of processor")


@pytest.fixture
def x86(installed: Installed) -> Installed:
    """For what only the x86 board has: a thermal zone that can be set."""
    if installed.board.image.tables is None:
        pytest.skip("the emulated aarch64 machine has no thermal zone")
    return installed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("emulated boards")
        load = os.getloadavg()[0]
        for line in FIGURES:
            terminalreporter.line(line)
        terminalreporter.line(f"on {os.cpu_count()} cores with a load of {load:.1f}")


@pytest.fixture(autouse=True)
def _tells_its_journal(request: pytest.FixtureRequest) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    for board in RUNNING if request.session.testsfailed > failed else ():
        try:
            print(board.run("journalctl --no-pager -n 40 -u vigild -u vigild-confirm -o short-monotonic", check=False))
        except (OSError, subprocess.SubprocessError) as error:
            print(f"its journal cannot be read: {error}")
