"""Budgets on the real daemon, in closed loop with a board whose temperature follows from the work it does."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon, Ended

from simboard import drive
from simboard.loop import FULL_FPS, Loop, Second
from simboard.profiles import SMALL
from unit import tunekit
from vigild.budget.operating_points import OperatingPoint
from vigild.catalogue import embedded, profile

WARM, WARMER, COOL, COLD = 32.0, 33.0, -5.0, -15.0
"""°C of the room. In a warm one a quarter of all the work is what holds the budget; in a cold one all of it does."""
WARM_FOR_LIGHTER = 26.0
"""Too warm for the better of two variants at the full rate, not for the lighter."""
HELD_S = 6
BUDGET = f"""
[budget]
temperature = "{SMALL.budget:g} °C"
hysteresis = "3 °C"
dwell = "2 s"
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Loop]:
    with Loop(WARM, tmp_path, tmp_path / "v.sock") as board:
        yield board


def one_camera(model: Path, budget: str = BUDGET) -> str:
    return f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = {FULL_FPS:g}\n{budget}'


class Watcher(threading.Thread):
    """A client that takes in everything, all the time: what it saw after the first result is kept, and can be waited
    for."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self.seen: list[dict[str, Any]] = []
        self._daemon = daemon
        self._client = daemon.connect()
        self._client.watch(empty=True, events=["detections", "event", "health"])
        self._client.until("detections")
        self.start()

    def run(self) -> None:
        with contextlib.suppress(Ended, OSError):
            while True:
                self.seen.append(self._client.next())

    def until(self, wanted: Callable[[dict[str, Any]], bool], since: int = 0) -> int:
        """The place of the first for which this is true, from `since` on."""
        self._daemon.wait_for(lambda: not self.is_alive() or any(map(wanted, self.seen[since:])))
        assert self.is_alive(), "the connection was lost"
        return next(at for at, message in enumerate(self.seen) if at >= since and wanted(message))

    def moves(self, since: int = 0) -> list[str]:
        return [message["reason"] for message in self.seen[since:] if message.get("kind") == "budget"]


def cap(message: dict[str, Any]) -> float | None:
    limit: float | None = message["cameras"]["front"].get("max_fps")
    return limit


def reached(seconds: list[Second]) -> int | None:
    """The second in which the die came to the budget."""
    return next((at for at, second in enumerate(seconds) if second["die"] >= SMALL.budget - 1), None)


def longer(board: Loop, seconds: int) -> int:
    """Some seconds of the board later; how many they are by then."""
    end = len(board.seconds()) + seconds
    return len(board.when(lambda seconds: len(seconds) >= end))


def full(message: dict[str, Any]) -> bool:
    return message["type"] == "health" and cap(message) is None


def governed(message: dict[str, Any]) -> bool:
    return message["type"] == "health" and cap(message) is not None


@pytest.mark.alone
def test_the_board_sits_at_the_budget_and_comes_back(tmp_path: Path, model: Path, board: Loop) -> None:
    with Daemon(tmp_path, one_camera(model), "--sysfs-root", str(board.root)) as daemon:
        client = Watcher(daemon)
        began = client.until(governed)
        board.when(lambda seconds: reached(seconds) is not None)
        longer(board, HELD_S)
        board.change(room=WARMER)
        held = longer(board, HELD_S)
        ends = len(client.seen)
        board.change(room=COLD)
        back = client.until(full, ends)
        longer(board, 2)
        trace, seconds = board.trace(), board.seconds()

        first = client.moves()[0]
        assert re.match(r"from [0-9.]+ to [0-9.]+ fps: cpu-thermal [0-9.]+ °C, .*budget 60 °C$", first), first
        # Held: at the budget, with work done all the time, and told.
        assert max(trace.die) - SMALL.budget <= 1.0, (trace.die, client.moves())
        assert all(sum(three) > 0 for three in zip(*(trace.rate[at:] for at in (1, 2, 3)), strict=False)), trace.rate
        arrived = reached(seconds)
        assert arrived is not None
        capped = next(at for at, second in enumerate(seconds) if second["cap"] is not None)
        assert capped <= arrived + 2, (
            "the cap comes with the next reading, and the trace's second before it does not have it"
        )
        for second in seconds[max(arrived, capped) : held]:
            assert second["cap"] is not None and second["cap"] < FULL_FPS, second
            assert "cpu-thermal" in second["degraded"] and "budget 60 °C" in second["degraded"], second
        statuses = {message["status"] for message in client.seen[began:ends] if message["type"] == "detections"}
        assert statuses == {"degraded"}
        # All of it is back soon after it would fit.
        back_s = drive.back_to_full_s(trace)
        assert back_s is not None and back_s <= 60, seconds[held:]
        assert not client.seen[back]["budget"].get("degraded") and seconds[-1]["cap"] is None
        moves = daemon.status()["health"]["budget"]["moves"]
        assert set(moves) == {"rate_cut", "rate_raised"}
        assert sum(moves.values()) == daemon.logged().count("warning budget: ") >= len(client.moves())
        assert "camera_back" not in {message.get("kind") for message in client.seen}, "no source was opened again"


def measured(folder: Path) -> dict[str, str]:
    """What `vigild tune` would have found here of the two points of the board; the daemon's environment."""
    rows = [
        tunekit.row(point.variant, point.threads, point.delegate, 1000 / point.capacity_fps, cpu_ms=10 * point.cost)
        for point in SMALL.points
    ]
    model = profile.ModelProfile(preferred="", measured="", budgets=profile.Budgets(), rows=rows)
    kept = profile.Profile(format=profile.FORMAT, board=profile.this_board(), models={embedded.ENTRY: model})
    profile.save(folder / "tune.json", kept)
    return {"VIGILD_PROFILE": str(folder / "tune.json")}


def runs(point: OperatingPoint) -> Callable[[dict[str, Any]], bool]:
    def so(message: dict[str, Any]) -> bool:
        now = message.get("operating_point") or {}
        return message["type"] == "health" and (now["variant"], now["threads"]) == (point.variant, point.threads)

    return so


def test_a_lighter_variant_takes_over_in_the_heat_and_the_better_one_after_it(tmp_path: Path) -> None:
    """The rate may not be given up: what is left is another variant, and with it other threads."""
    better, lighter = SMALL.points
    config = (
        f'[model]\nvariant = "{better.variant}"\nthreads = {better.threads}\ndelegate = "{better.delegate}"\n'
        f'[camera.front]\nsource = "testcard"\nfps = {FULL_FPS:g}\n{BUDGET}give_up = ["variant"]\n'
    )
    with (
        Loop(COOL, tmp_path, tmp_path / "v.sock") as board,
        Daemon(tmp_path, config, "--sysfs-root", str(board.root), env=measured(tmp_path)) as daemon,
    ):
        client = Watcher(daemon)
        began = client.until(runs(better))
        assert not client.seen[began]["budget"].get("degraded")
        old = daemon.worker("detector")
        board.change(room=WARM_FOR_LIGHTER)
        daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 2)
        beside_ns = time.monotonic_ns()
        below = client.until(runs(lighter))
        daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 1)
        assert daemon.worker("detector") != old
        longer(board, 2)
        warm = len(client.seen)
        board.change(room=COLD)
        above = client.until(runs(better), warm)
        longer(board, 2)
        moves = daemon.status()["health"]["budget"]["moves"]
        seen = list(client.seen)

    assert moves == {"step_down": 1, "step_up": 1}
    down, up = client.moves()
    assert down.startswith(f"{better} becomes {lighter}: cpu-thermal ") and "budget 60 °C" in down
    assert up.startswith(f"{lighter} becomes {better}: cpu-thermal "), up
    told = seen[below]["budget"]
    assert told["point"] == str(lighter) and f"{lighter} instead of {better}: cpu-thermal" in told["degraded"], told
    assert seen[above]["budget"]["point"] == str(better) and not seen[above]["budget"].get("degraded")
    # One connection, one source, one stream of results.
    results = [message for message in seen if message["type"] == "detections"]
    assert [one for one, _ in itertools.groupby(message["variant"] for message in results)] == [
        better.variant, lighter.variant, better.variant
    ]  # fmt: skip
    for one, other in itertools.pairwise(results):
        assert one["frame"] < other["frame"] and one["captured_ns"] < other["captured_ns"]
    numbers = [message["seq"] for message in seen if "seq" in message]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "nothing was dropped on the way"
    assert {message["kind"] for message in seen[began:] if message["type"] == "event"} == {"budget", "limits", "model"}
    statuses = {message.get("status") for message in seen[began:]}
    assert not statuses & {"no_frame", "paused"}, statuses
    # The old one goes on while the new one loads and looks at its first frame.
    first = next(at for at, message in enumerate(results) if message["variant"] == lighter.variant)
    assert results[first - 1]["captured_ns"] > beside_ns
    # What comes of the lighter one says that it is the lesser.
    assert {message["status"] for message in results if message["variant"] == lighter.variant} == {"degraded"}


def falls(reason: str) -> bool:
    rates = re.match(r"from ([0-9.]+) to ([0-9.]+) fps", reason)
    return rates is not None and float(rates[2]) < float(rates[1])


def test_the_hottest_of_two_sensors_vanishes_and_that_is_no_permission(tmp_path: Path, model: Path) -> None:
    zones = {"cpu-thermal": 0.0, "gpu-thermal": 6.0}
    config = one_camera(model, BUDGET.replace('"2 s"', '"4 s"'))  # a dwell in which there is time for what follows
    with (
        Loop(WARM - zones["gpu-thermal"], tmp_path, tmp_path / "v.sock", zones) as board,
        Daemon(tmp_path, config, "--sysfs-root", str(board.root)) as daemon,
    ):
        client = Watcher(daemon)
        client.until(governed)
        assert all("gpu-thermal" in reason for reason in client.moves()), client.moves()
        # It warms, and something is given up for that: nothing is to be raised for a dwell, and then it cannot be seen.
        told = len(client.seen)
        board.change(room=WARM)
        client.until(lambda m: m.get("kind") == "budget" and "gpu-thermal" in m["reason"] and falls(m["reason"]), told)
        limit = daemon.status()["health"]["cameras"]["front"]["max_fps"]
        board.change(gone=["gpu-thermal"])
        gone = len(client.seen)
        longer(board, 8)
        limits = [cap(message) for message in client.seen[gone:] if message["type"] == "health"]
        assert None not in limits and max(filter(None, limits)) <= limit, (limit, limits, client.moves(gone))
        client.until(lambda m: m.get("kind") == "budget" and "gpu-thermal cannot be read" in m["reason"], gone)
        assert daemon.status()["health"]["budget"]["moves"]["sensor_lost"] == 1
        # It comes back, and the heat has gone: so is all the work.
        board.change(gone=[], room=COLD)
        client.until(lambda m: m.get("kind") == "budget" and "gpu-thermal can be read again" in m["reason"], gone)
        client.until(full, gone)


def test_a_budget_set_while_running_acts_at_once(tmp_path: Path, model: Path, board: Loop) -> None:
    config = one_camera(model, '[budget]\ntemperature = "90 °C"\n')
    with Daemon(tmp_path, config, "--sysfs-root", str(board.root)) as daemon:
        client, orders = Watcher(daemon), daemon.connect()
        board.when(lambda seconds: seconds[-1]["die"] > 55)
        assert client.moves() == []
        assert orders.ask(type="set", key="budget.temperature", value="45 °C")["type"] == "ok"
        moved = client.until(lambda message: message.get("kind") == "budget")
        assert "budget 45 °C" in client.seen[moved]["reason"]


def test_a_lost_sensor_is_said_and_is_no_permission(tmp_path: Path, model: Path, board: Loop) -> None:
    with Daemon(tmp_path, one_camera(model), "--sysfs-root", str(board.root)) as daemon:
        client = Watcher(daemon)
        client.until(governed)
        board.change(gone=["cpu-thermal"], room=COLD)
        gone = len(client.seen)
        # A cut that came just before is a move, too.
        client.until(lambda m: m.get("kind") == "budget" and "from now on the last safe load" in m["reason"], gone)
        longer(board, 3)
        limits = [cap(message) for message in client.seen[gone:] if message["type"] == "health"]
        assert None not in limits and limits == sorted(limits, reverse=True), limits
        assert daemon.status()["health"]["budget"]["moves"].get("sensor_lost") == 1
