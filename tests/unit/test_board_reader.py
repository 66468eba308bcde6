"""The board read again and again: at which pace, and what comes out on odd trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boardkit import (
    flip,
    jetson_orin,
    laptop,
    plain_pc,
    process,
    raspberry_pi_3_b_plus,
    raspberry_pi_4,
    raspberry_pi_5,
    write,
)
from vigild.board.board import Board
from vigild.board.budgets import resolve
from vigild.board.reader import BoardReader
from vigild.board.readings import Hottest, Readings
from vigild.config.schema import BudgetConfig

S = 10**9
TREES = [raspberry_pi_3_b_plus, raspberry_pi_4, raspberry_pi_5, jetson_orin, laptop, plain_pc]


@pytest.fixture(autouse=True)
def without_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("tree", TREES)
def test_readings_are_plain_values(tmp_path: Path, tree: Callable[[Path], Path]) -> None:
    board = Board(tree(tmp_path))
    readings = BoardReader(board, resolve(BudgetConfig(), board)).read(5, {})
    assert msgspec.json.decode(msgspec.json.encode(readings), type=Readings) == readings
    assert readings.at_ns == 5 and readings.hottest is not None and readings.lost == ()
    assert readings.hottest.sensor in readings.counted


def test_the_hottest_is_one_that_counts(tmp_path: Path) -> None:
    assert BoardReader(Board(laptop(tmp_path))).read(0, {}).hottest == Hottest("x86_pkg_temp", 68.0)


def test_no_sensors_at_all(tmp_path: Path) -> None:
    readings = BoardReader(Board(tmp_path)).read(0, {"hub": 1})
    assert readings.hottest is None and readings.counted == readings.lost == readings.flags == ()
    assert readings.frequency is None and readings.memory.available_bytes is None


def test_the_same_value_until_something_is_due(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    process(root, 100, 1000)
    board = Board(root)
    reader = BoardReader(board, resolve(BudgetConfig(), board))
    first = reader.read(0, {"hub": 100})
    temp = root / "sys/class/thermal/thermal_zone0/temp"
    flip(temp, "71000\n")
    assert reader.read(S - 1, {"hub": 100}) is first
    assert reader.read(S, {"hub": 100}).hottest == Hottest("cpu-thermal", 71.0)
    flip(temp, "72000\n")  # less than 5 °C under the budget of 75 °C: glances in between tell nothing of it
    glanced = reader.read(S + S // 4, {"hub": 100})
    assert glanced.hottest == Hottest("cpu-thermal", 71.0) and glanced.at_ns == S
    assert reader.read(2 * S, {"hub": 100}).hottest == Hottest("cpu-thermal", 72.0)


def test_another_budget_begins_the_glances(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    write(root / "proc/stat", "cpu  100 0 0 0 0 0 0 0 0 0\n")
    board = Board(root)
    reader = BoardReader(board, resolve(BudgetConfig(temperature=90.0), board))
    first = reader.read(0, {})
    assert reader.read(S // 2, {}) is first
    reader.budgets = resolve(BudgetConfig(temperature=55.0), board)
    for quarter in range(4, 7):
        glanced = reader.read(quarter * S // 4, {})
    assert glanced.foreign_cores_lately == 0.0 and glanced.at_ns == S


def test_what_memory_asks_for_in_between_puts_off_nothing(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    process(root, 100, 1000)
    reader = BoardReader(Board(root))
    times = []
    for tenth in range(31):
        if tenth == 14:
            reader.memory_is_short()
        times.append(reader.read(tenth * S // 10, {"hub": 100}).at_ns * 10 // S)
    assert sorted(set(times)) == [0, 10, 15, 20, 30]  # half a second after the last exact count


def test_a_lost_sensor_is_told(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    reader = BoardReader(Board(root))
    reader.read(0, {})
    (root / "sys/class/thermal/thermal_zone0/temp").unlink()
    gap = reader.read(S, {})
    assert gap.hottest is None and gap.lost == () and gap.counted == ("cpu-thermal",)
    assert reader.read(2 * S, {}).lost == ("cpu-thermal",)


def test_a_process_that_comes_is_counted_without_waiting_for_the_sensors(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    process(root, 100, 1000)
    process(root, 101, 500)
    reader = BoardReader(Board(root))
    first = reader.read(0, {"hub": 100})
    second = reader.read(1, {"hub": 100, "camera": 101})
    assert second.memory.processes == {"hub": 1000 * 1024, "camera": 500 * 1024}
    assert second.at_ns == first.at_ns and second.temperatures == first.temperatures


def test_memory_that_is_said_to_be_short_is_counted_at_once_but_not_without_end(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    process(root, 100, 1000)
    reader = BoardReader(Board(root))
    reader.read(0, {"hub": 100})
    reader.read(S, {"hub": 100})
    process(root, 100, 9000)
    reader.memory_is_short()
    said = reader.read(S + S // 2, {"hub": 100})
    assert said.memory.woken and not said.memory.estimated and said.memory.used_bytes == 9000 * 1024
    assert said.at_ns == S + S // 2, "what is new is looked at"
    reader.memory_is_short()
    assert reader.read(S + S // 2 + S // 10, {"hub": 100}) is said
    again = reader.read(2 * S, {"hub": 100})
    assert again.memory.woken
    assert not reader.read(3 * S, {"hub": 100}).memory.woken
