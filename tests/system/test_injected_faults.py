"""Each system call of the hub fails in each way that a kernel knows: it lives, says so, and goes on.

`make test` takes one line and one errno of each call; `make test-faults` all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Client, Daemon, Holdings, holdings, settled_holdings

from boardkit import flip
from injected.control import Faults
from injected.table import CASES, Case

ALL = bool(os.environ.get("VIGILD_ALL_ERRNOS"))


def _chosen() -> list[tuple[Case, int]]:
    if ALL:
        return [(case, number) for case in CASES for number in case.errnos]
    # The first line of each call, and not always the first errno: neighbours in the table take different ones.
    first = {case.call: case for case in reversed(CASES)}
    lines = [case for case in CASES if first[case.call] is case or case.provoke in ("hang", "hangup", "client")]
    return [(case, case.errnos[index % len(case.errnos)]) for index, case in enumerate(lines)]


def _name(pair: tuple[Case, int]) -> str:
    case, number = pair
    return f"{case.call}-{os.strerror(number).replace(' ', '_')}-{case.provoke}{case.skip or ''}"


def _board(root: Path) -> Path:
    """A board with one sensor, to be read again and again, and the processes of this machine."""
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("45000\n")
    (root / "proc").symlink_to("/proc")
    return root


class Attacked:
    """A daemon whose calls can be made to fail, and a client that watches it all the while."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.faults = Faults(folder)
        config = f'[model]\npath = "{model}"\nmin_score = 0.1\n[camera.front]\nsource = "testcard"\nfps = 20\n'
        self.board = _board(folder / "board")
        arguments = ("--sysfs-root", str(self.board))
        self.daemon = Daemon(folder, config, *arguments, module="injected", env=self.faults.environment)
        self.watcher: Client
        self.holdings: Holdings

    def provoke(self, case: Case, workers: dict[str, int]) -> socket.socket | None:
        match case.provoke:
            case "detector":
                os.kill(workers["detector"], signal.SIGKILL)
            case "camera":
                os.kill(workers["camera.front"], signal.SIGKILL)
            case "hang":
                os.kill(workers["detector"], signal.SIGSTOP)
            case "client":
                guest = socket.socket(socket.AF_UNIX)
                guest.connect(str(self.daemon.socket))
                return guest
            case "socket":
                self.daemon.socket.unlink()
            case "stale":
                self.daemon.socket.unlink()
                with socket.socket(socket.AF_UNIX) as dead:
                    dead.bind(str(self.daemon.socket))
            case "hangup":
                os.kill(self.daemon.pid, signal.SIGHUP)
            case "request":
                self.watcher.send(type="ping", id="provoked")
            case "sensor":
                temperature = self.board / "sys/class/thermal/thermal_zone0/temp"
                flip(temperature, temperature.read_text())
            case "nothing":
                pass
        return None


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Attacked]:
    attacked = Attacked(tmp_path_factory.mktemp("attacked"), model)
    with attacked.daemon.start() as daemon:
        attacked.watcher = daemon.connect()
        attacked.watcher.watch(empty=True)
        attacked.watcher.until("detections")
        attacked.holdings = settled_holdings(daemon.pid)
        yield attacked


@pytest.mark.parametrize("pair", _chosen(), ids=_name)
def test_a_call_that_fails(attacked: Attacked, pair: tuple[Case, int]) -> None:
    case, number = pair
    daemon, faults, watcher = attacked.daemon, attacked.faults, attacked.watcher
    workers = {name: daemon.worker(name) for name in ("detector", "camera.front")}
    before = len(daemon.logged())

    faults.fail(case.call, number, case.count, case.skip)
    guest = attacked.provoke(case, workers)
    daemon.wait_for(lambda: faults.hits() == case.count)
    faults.lift()
    lifted_ns = time.monotonic_ns()

    # It is told, unless it is a reading that is merely taken again.
    if not case.quiet:
        daemon.wait_for(lambda: os.strerror(number) in daemon.logged()[before:])
    assert "Traceback" not in daemon.logged()[before:]
    # Whoever was connected still is, and sees detections again.
    watcher.until(lambda m: m["type"] == "detections" and m["captured_ns"] > lifted_ns)
    if case.provoke == "request":
        assert watcher.ask(type="ping")["type"] == "pong"
    # Others can come, and find both workers at work.
    daemon.wait_for(daemon.answers)
    if guest is not None:
        guest.close()
    for name in workers:
        daemon.worker(name)
    if case.provoke in ("detector", "camera", "hang"):
        killed = workers["camera.front" if case.provoke == "camera" else "detector"]
        assert killed not in daemon.processes()


def test_nothing_of_it_is_left(attacked: Attacked) -> None:
    """After all of them: what a daemon holds that was left alone."""
    daemon = attacked.daemon
    assert len(daemon.running("vigild.detector")) == len(daemon.running("vigild.camera")) == 1
    daemon.wait_for(lambda: holdings(daemon.pid) == attacked.holdings)
    assert daemon.stop() == 0
    daemon.gone()
