"""Budgets that are not set: what each board suggests, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardkit import (
    amd_pc,
    cgroup,
    jetson_orin,
    laptop,
    meminfo,
    plain_pc,
    raspberry_pi_3_b_plus,
    raspberry_pi_4,
    raspberry_pi_5,
    write,
    zone,
)
from vigild.board.board import Board, Slowed
from vigild.board.budgets import InForce, default_memory, default_temperature, resolve
from vigild.board.reader import BoardReader
from vigild.board.readings import Readings
from vigild.board.sensors import FIND_S
from vigild.board.thermal import Trip
from vigild.config.schema import BudgetConfig

MIB = 2**20


@pytest.mark.parametrize(
    ("tree", "celsius", "why"),
    [
        (raspberry_pi_3_b_plus, 55, "5 °C under the soft limit of a Raspberry Pi 3 Model B Plus, 60 °C"),
        (raspberry_pi_4, 75, "5 °C under where a Raspberry Pi's firmware slows it, 80 °C"),
        (
            raspberry_pi_5,
            77.5,
            "half way from the fan's last step, 75 °C of cpu-thermal, "
            "to where a Raspberry Pi's firmware slows it, 80 °C",
        ),
        (jetson_orin, 94, "5 °C under cpu-thermal's passive trip, 99 °C"),  # not under the 70 °C of the surface alert
        (laptop, 90, "5 °C under acpitz's passive trip, 95 °C"),
        (plain_pc, 75, "the default where the board does not say from where it is slowed"),
        (amd_pc, 75, "the default where the board does not say from where it is slowed"),
    ],
)
def test_the_temperature_of_a_board(tmp_path: Path, tree: Callable[[Path], Path], celsius: float, why: str) -> None:
    budgets = resolve(BudgetConfig(), Board(tree(tmp_path)))
    assert (budgets.temperature, budgets.temperature_why) == (celsius, why)


def test_what_is_set_holds(tmp_path: Path) -> None:
    budgets = resolve(BudgetConfig(temperature=85.0, memory=64 * MIB), Board(raspberry_pi_4(tmp_path)))
    assert (budgets.temperature, budgets.temperature_why) == (85.0, "budget.temperature is set")
    assert (budgets.memory, budgets.memory_why) == (64 * MIB, "budget.memory is set")


@pytest.mark.parametrize(
    ("model", "text", "celsius"),
    [
        ("3 Model B Plus", "temp_soft_limit=70\n", 65),
        ("3 Model B Plus", "temp_soft_limit=99\n", 65),  # the firmware takes no more than 70
        ("3 Model A Plus", "#temp_soft_limit=70\n", 55),
        ("4 Model B", "temp_soft_limit=60\n", 75),  # has none
        ("4 Model B", "[all]\n temp_limit = 70\n", 65),
        ("4 Model B", "temp_limit=95\n", 75),  # can only be lowered
    ],
)
def test_limits_of_a_pi_s_config_txt(tmp_path: Path, model: str, text: str, celsius: float) -> None:
    write(tmp_path / "proc/device-tree/model", f"Raspberry Pi {model} Rev 1.0\0")
    write(tmp_path / "boot/firmware/config.txt", text)
    assert resolve(BudgetConfig(), Board(tmp_path)).temperature == celsius


def test_a_trip_that_is_bound_counts_before_one_that_is_not(tmp_path: Path) -> None:
    """A Rockchip: its first passive trip switches the power allocator on, its second is what it holds."""
    zone(tmp_path, 0, "soc-thermal", "50000\n", [(60000, "passive", ""), (85000, "passive", "cpufreq-cpu0")])
    assert resolve(BudgetConfig(), Board(tmp_path)).temperature == 80


def test_an_unbound_trip_only_lowers_the_default(tmp_path: Path) -> None:
    zone(tmp_path, 0, "soc-thermal", "50000\n", [(70000, "passive", "")])
    assert resolve(BudgetConfig(), Board(tmp_path)).temperature == 65
    zone(tmp_path, 0, "soc-thermal", "50000\n", [(95000, "passive", "")])
    assert resolve(BudgetConfig(), Board(tmp_path)).temperature == 75


def test_a_zone_that_no_work_heats_sets_nothing(tmp_path: Path) -> None:
    zone(tmp_path, 0, "battery", "30000\n", [(50000, "passive", "cpufreq-cpu0")])
    assert resolve(BudgetConfig(), Board(tmp_path)).temperature == 75


def test_an_edge_tpu_slows_its_clock(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/apex/apex_0/temp", "61000\n")
    write(tmp_path / "sys/class/apex/apex_0/trip_point0_temp", "65000\n")
    budgets = resolve(BudgetConfig(), Board(tmp_path))
    assert (budgets.temperature, budgets.temperature_why) == (60, "5 °C under edgetpu-0's passive trip, 65 °C")


def test_a_fan_without_anything_that_slows() -> None:
    fan = Trip(82.0, "active", ("gpio-fan",))
    assert default_temperature([], {"soc": [fan]}) == (84.5, "2.5 °C above the fan's last step, 82 °C of soc")


def test_a_fan_above_what_slows_cannot_help() -> None:
    trips = {"soc": [Trip(90.0, "active", ("gpio-fan",)), Trip(80.0, "passive", ("cpufreq-cpu0",), True)]}
    assert default_temperature([Slowed(80.0, "soc's passive trip", True)], trips).value == 75


def test_never_near_where_the_board_switches_off() -> None:
    found = default_temperature([], {"soc": [Trip(75.0, "critical")]})
    assert found == (65, "10 °C under soc's critical trip, 75 °C")


CELSIUS = st.integers(46, 120).map(float)
TRIPS = st.lists(
    st.builds(
        Trip,
        CELSIUS,
        st.sampled_from(["active", "passive", "critical", "hot"]),
        st.sampled_from([(), ("pwm-fan",), ("cpufreq-cpu0",)]),
    )
)


@given(st.lists(CELSIUS), TRIPS)
def test_it_is_always_below_what_slows_and_what_switches_off(slowed: list[float], trips: list[Trip]) -> None:
    found = default_temperature([Slowed(celsius, "x", True) for celsius in slowed], {"soc": trips})
    assert found.why
    for limit in [*slowed, *(trip.celsius for trip in trips if trip.kind == "critical")]:
        assert found.value < limit
    assert found.value >= 36


# ---- memory


@pytest.mark.parametrize(
    ("limit", "kind", "total", "budget", "why"),
    [
        (300, "memory.high", 906, 270, "30 MiB under the control group's memory.high, 300 MiB"),
        (100, "memory.max", 906, 84, "16 MiB under the control group's memory.max, 100 MiB"),
        (24, "memory.max", 906, 12, "12 MiB under the control group's memory.max, 24 MiB"),
        (4096, "memory.max", 906, 226, "a quarter of the board's 906 MiB"),  # more than there is limits nothing
        (None, "", 906, 226, "a quarter of the board's 906 MiB"),
        (None, "", 416, 128, "what one camera and the default model need, on a board of 416 MiB"),
        (None, "", 16000, 1024, "the most that is taken unasked, of the board's 15.6 GiB"),
        (None, "", 0, 256, "twice what one camera needs: the board does not say how much it has"),
        (300, "memory.max", 0, 270, "30 MiB under the control group's memory.max, 300 MiB"),
    ],
)
def test_memory(limit: int | None, kind: str, total: int, budget: int, why: str) -> None:
    found = default_memory(None if limit is None else limit * MIB, kind, total * MIB)
    assert (int(found.value) // MIB, found.why) == (budget, why)


def test_the_lowest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", meminfo(906, 600))
    cgroup(tmp_path, "/system.slice/vigild.service", current=1, high="max", max=400 * MIB)
    write(tmp_path / "sys/fs/cgroup/system.slice/memory.max", f"{320 * MIB}\n")
    budgets = resolve(BudgetConfig(), Board(tmp_path))
    assert budgets.memory == 288 * MIB
    assert budgets.memory_why == "32 MiB under the control group's memory.max, 320 MiB"


def test_the_limit_of_a_container_and_of_a_hierarchy_beside_v1(tmp_path: Path) -> None:
    cgroup(tmp_path, "/", current=1, max=200 * MIB)
    assert resolve(BudgetConfig(), Board(tmp_path)).memory == 180 * MIB
    other = tmp_path / "other"
    cgroup(other, "/a", mount="sys/fs/cgroup/unified", current=1, max=200 * MIB)
    assert resolve(BudgetConfig(), Board(other)).memory == 180 * MIB


def test_the_group_of_another_process(tmp_path: Path) -> None:
    cgroup(tmp_path, "/user.slice", current=1, max="max")
    cgroup(tmp_path, "/vigild.service", current=1, max=200 * MIB)
    write(tmp_path / "proc/7/cgroup", "0::/vigild.service\n")
    write(tmp_path / "proc/self/cgroup", "0::/user.slice\n")
    assert resolve(BudgetConfig(), Board(tmp_path, pid=7)).memory == 180 * MIB


@pytest.mark.parametrize(
    ("kind", "limit", "why"),
    [
        ("high", 200, "20 MiB under the control group's memory.high, 200 MiB; budget.memory is set to more, 512 MiB"),
        ("max", 520, "52 MiB under the control group's memory.max, 520 MiB; budget.memory is set to more, 512 MiB"),
    ],
)
def test_what_is_set_and_the_control_group_does_not_leave(tmp_path: Path, kind: str, limit: int, why: str) -> None:
    write(tmp_path / "proc/meminfo", meminfo(906, 600))
    cgroup(tmp_path, "/vigild.service", **{"current": 1, kind: limit * MIB})
    budgets = resolve(BudgetConfig(memory=512 * MIB), Board(tmp_path))
    assert (budgets.memory, budgets.memory_why) == (limit * MIB * 9 // 10, why)


def test_what_is_set_and_the_control_group_leaves(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", meminfo(906, 600))
    cgroup(tmp_path, "/vigild.service", current=1, high=200 * MIB, max=4096 * MIB)
    for memory in (64, 180):
        budgets = resolve(BudgetConfig(memory=memory * MIB), Board(tmp_path))
        assert (budgets.memory, budgets.memory_why) == (memory * MIB, "budget.memory is set")
    write(tmp_path / "sys/fs/cgroup/vigild.service/memory.high", "max\n")
    assert resolve(BudgetConfig(memory=2048 * MIB), Board(tmp_path)).memory == 2048 * MIB


# ---- while a daemon runs


S = 10**9


class Running:
    """A daemon, as far as its budgets go."""

    def __init__(self, root: Path, configured: BudgetConfig) -> None:
        self.board = Board(root)
        self.reader = BoardReader(self.board)
        self.in_force = InForce(self.board)
        self.configured = configured
        self.readings = Readings(at_ns=0)
        self.told: list[str] = []
        self.follow()

    def follow(self) -> None:
        self.budgets, told = self.in_force.follow(self.configured, self.readings)
        self.told += told

    def until(self, second: int) -> None:
        """Read once a second, from the second of the last reading on."""
        for at in range(self.readings.at_ns // S + 1, second + 1):
            self.readings = self.reader.read(at * S, {})
            self.follow()


def test_a_limit_that_is_set_while_it_runs_is_in_force_soon_and_told(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", meminfo(906, 600))
    folder = cgroup(tmp_path, "/vigild.service", current=1, high="max")
    daemon = Running(tmp_path, BudgetConfig())
    daemon.until(30)
    first = daemon.budgets
    assert first.memory == 906 * MIB // 4 and daemon.told == []
    write(folder / "memory.high", f"{200 * MIB}\n")
    daemon.until(41)
    assert daemon.budgets.memory == 180 * MIB
    assert daemon.told == [
        "the memory budget goes from 226 MiB to 180 MiB: 20 MiB under the control group's memory.high, 200 MiB"
    ]
    write(folder / "memory.high", "max\n")
    daemon.until(60)
    assert daemon.budgets == first


def test_it_holds_for_a_budget_that_is_set_too(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", meminfo(906, 600))
    folder = cgroup(tmp_path, "/vigild.service", current=1, high=400 * MIB)
    daemon = Running(tmp_path, BudgetConfig(memory=256 * MIB))
    daemon.until(10)
    write(folder / "memory.high", f"{200 * MIB}\n")
    daemon.until(21)
    assert daemon.budgets.memory == 180 * MIB and len(daemon.told) == 1
    daemon.configured = BudgetConfig(memory=100 * MIB)
    daemon.follow()
    assert daemon.budgets.memory == 100 * MIB and len(daemon.told) == 1, "whoever sets it is answered"


def test_a_thermal_driver_that_comes_late(tmp_path: Path) -> None:
    daemon = Running(tmp_path, BudgetConfig())
    daemon.until(10)
    assert daemon.budgets.temperature == 75
    zone(tmp_path, 0, "cpu-thermal", "50000\n", [(99000, "passive", "cpufreq-cpu0")])
    daemon.until(round(FIND_S) + 2)
    assert daemon.budgets.temperature == 94
    assert daemon.told == [
        "the temperature budget goes from 75 °C to 94 °C: 5 °C under cpu-thermal's passive trip, 99 °C"
    ]
    assert daemon.readings.hottest is not None


def test_a_sensor_that_is_lost_takes_no_budget_with_it(tmp_path: Path) -> None:
    jetson_orin(tmp_path)
    daemon = Running(tmp_path, BudgetConfig())
    daemon.until(10)
    (tmp_path / "sys/class/thermal").rename(tmp_path / "gone")
    daemon.until(150)
    assert daemon.readings.lost and (daemon.budgets.temperature, daemon.told) == (94, [])
    (tmp_path / "gone").rename(tmp_path / "sys/class/thermal")
    daemon.until(300)
    assert not daemon.readings.lost and (daemon.budgets.temperature, daemon.told) == (94, [])


def test_between_searches_nothing_is_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Running(jetson_orin(tmp_path), BudgetConfig())
    daemon.until(5)
    before = daemon.budgets
    monkeypatch.setattr(Board, "trips", None)
    monkeypatch.setattr(Board, "group", None)
    for _ in range(100):
        daemon.follow()
    assert daemon.budgets is before
