"""Budgets on the real daemon: a board whose temperature follows from the work it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Client, Daemon

ROOM_CELSIUS = 40.0
CELSIUS_PER_FPS = 1.5
"""At 20 fps it would come to 70 °C."""
LAG_S = 3.0
"""Quick, so that the test is; a governor has to expect what is slow."""
BUDGET = """
[budget]
temperature = "60 °C"
hysteresis = "3 °C"
dwell = "1 s"
min_fps = 2.0
"""


class Board:
    """A sysfs tree whose one zone warms with the frames that a daemon infers."""

    def __init__(self, root: Path) -> None:
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu-thermal\n")
        self.root = root
        self.room = ROOM_CELSIUS
        self.celsius = ROOM_CELSIUS
        self._temp = zone / "temp"
        self._new = root / "temp.new"
        self._frames = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._warm)
        self.write()

    def write(self) -> None:
        self._new.write_text(f"{round(self.celsius * 1000)}\n")
        self._new.replace(self._temp)

    def saw(self, message: dict[str, Any]) -> None:
        self._frames += message["type"] == "detections"

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def freeze(self) -> None:
        """From now on nothing is written."""
        self._stop.set()
        self._thread.join()

    def __exit__(self, *_: object) -> None:
        self.freeze()

    def _warm(self) -> None:
        """The plant: first-order lag of what the daemon did, by the real clock."""
        at_s, frames = time.monotonic(), self._frames
        while not self._stop.wait(0.2):
            now_s = time.monotonic()
            step_s, at_s = now_s - at_s, now_s
            done, frames = self._frames - frames, self._frames
            goal = self.room + CELSIUS_PER_FPS * done / step_s
            self.celsius += (goal - self.celsius) * min(step_s / LAG_S, 1.0)
            self.write()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Board(tmp_path / "board") as board:
        yield board


def watching(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.watch(empty=True, events=["detections", "event", "health"])
    client.until("detections")
    return client


@pytest.mark.alone
def test_the_board_sits_at_the_budget_and_comes_back(tmp_path: Path, model: Path, board: Board) -> None:
    config = f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = 20\n{BUDGET}'
    with Daemon(tmp_path, config, "--sysfs-root", str(board.root)) as daemon:
        client = watching(daemon)
        opened = 0
        moves: list[str] = []
        hottest = held_s = 0.0
        began_s = time.monotonic()
        settled_s: float | None = None
        statuses: set[str] = set()
        for message in client.stream(90.0):
            board.saw(message)
            if message["type"] == "event":
                opened += message["kind"] == "camera_back"
                if message["kind"] == "budget":
                    moves.append(message["reason"])
                    settled_s = settled_s or time.monotonic()
            if message["type"] == "detections":
                statuses.add(message["status"])
            if settled_s is not None:
                held_s = time.monotonic() - settled_s
                hottest = max(hottest, board.celsius)
            if held_s > 15:
                break
            assert time.monotonic() - began_s < 80, moves
        assert "degraded" in statuses, "work was given up, and that was told"
        assert moves and "budget 60 °C" in moves[0] and "cpu-thermal" in moves[0], moves
        assert hottest < 64, (hottest, moves)
        health = daemon.status()["health"]
        assert health["budget"]["degraded"] and sum(health["budget"]["moves"].values()) >= 1
        board.room = 20.0  # the heat has gone
        for message in client.stream(90.0):
            board.saw(message)
            opened += message.get("kind") == "camera_back"
            if message["type"] == "health" and message["cameras"]["front"].get("max_fps") is None:
                break
        assert opened == 0, "no source was opened again for it"
        assert daemon.logged().count("budget") >= 2


def test_a_budget_set_while_running_acts_at_once(tmp_path: Path, model: Path, board: Board) -> None:
    config = (
        f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = 20\n[budget]\ntemperature = "90 °C"\n'
    )
    with Daemon(tmp_path, config, "--sysfs-root", str(board.root)) as daemon:
        client, orders = watching(daemon), daemon.connect()
        board.room = 50.0
        daemon.wait_for(lambda: board.celsius > 48)
        assert orders.ask(type="set", key="budget.temperature", value="45 °C")["type"] == "ok"
        assert "budget 45 °C" in client.event("budget")["reason"]


def test_a_lost_sensor_is_said_and_is_no_permission(tmp_path: Path, model: Path, board: Board) -> None:
    config = f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = 20\n{BUDGET}'
    with Daemon(tmp_path, config, "--sysfs-root", str(board.root)) as daemon:
        client = watching(daemon)
        client.until("health")
        board.freeze()  # or the reading that is being written now would bring the file back
        (board.root / "sys/class/thermal/thermal_zone0/temp").unlink()
        # A cut that came just before is one, too.
        client.until(lambda m: m.get("kind") == "budget" and "from now on the last safe load" in m["reason"])
        assert daemon.status()["health"]["budget"]["moves"].get("sensor_lost") == 1
