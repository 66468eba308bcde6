"""`vigild tune --sustained` on simulated boards: what it tells is what they hold, and none gets too hot for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simboard.board import Board, Physics
from simboard.profiles import PI4_BARE, PI4_CASE, PI5_BARE, PI5_FAN, PROFILES
from vigild.board.readings import Readings
from vigild.budget import budgeting, thermal_model
from vigild.budget.operating_points import Camera as BudgetCamera
from vigild.budget.operating_points import OperatingPoint
from vigild.budget.summary import summary
from vigild.tune import course as of_course
from vigild.tune.course import Course, Plan, Result, Seen

UNIT = "int8-300, 4 threads, xnnpack"
BARE = ("pi4", "pi4-case", "pi5")
HOUR_S = 3600.0
BOUND = 0.10
"""Of the true rate, that what is told may be off, with parameters that nobody told it."""
OVER_CELSIUS = 1.0
"""Above the budget, the most that a die may be."""

Changes = tuple[tuple[float, Callable[[Board], None]], ...]


class Drive:
    """One course on one board, once a second."""

    def __init__(
        self, physics: Physics, room: float, seconds: float = HOUR_S, changes: Changes = (), seed: int = 1
    ) -> None:
        self.board = Board(physics, room, seed)
        self.point = physics.points[0]
        self.full_fps = self.point.capacity_fps
        self.course = Course(Plan(unit=UNIT, full_fps=self.full_fps, celsius=physics.budget, seconds=seconds))
        self.changes = list(changes)
        self.hottest = -math.inf
        self.second = 0
        self.phases: list[str] = []
        self.left: list[float] = []
        self.rates: list[float] = []

    def go(self, until: float = math.inf) -> Result:
        """To the end, or for so many seconds."""
        while self.second < until:
            while self.changes and self.changes[0][0] <= self.second:
                self.changes.pop(0)[1](self.board)
            seen = Seen(celsius=self.board.read(), fps=self.board.measured_fps(), flags=self.board.flags())
            step = self.course.step(seen, 1000.0 + self.second)
            if step.phase == "done":
                break
            self.phases.append(step.phase)
            self.left.append(step.left_s)
            self.rates.append(step.fps)
            for _ in range(2):
                self.board.step(self.point, step.fps)
            self.hottest = max(self.hottest, self.board.die)
            self.second += 1
        return self.course.result()

    @property
    def true_load(self) -> float:
        """Frames a second that hold the budget for ever in this room, whatever one frame a second too many would be."""
        physics = self.board.physics
        per_frame = physics.work_watts * physics.cpu_s / physics.cores
        rest = self.board.room + physics.idle_watts * physics.r_board + physics.chip_idle_watts * physics.r_die
        return (physics.budget - rest) / (per_frame * (physics.r_board + physics.r_die))


def error(result: Result, drive: Drive) -> float:
    """Of what the board can do: above full speed nothing is to be told apart."""
    true = min(drive.true_load, drive.full_fps)
    return min(result.load, drive.full_fps) / true - 1


def room_for(physics: Physics, part: float) -> float:
    """The room in which so much of full speed holds the budget for ever."""
    work = physics.work_watts * part
    rise = (physics.idle_watts + work) * physics.r_board + (physics.chip_idle_watts + work) * physics.r_die
    return physics.budget - rise


def sets(name: str, value: object) -> Callable[[Board], None]:
    return lambda board: setattr(board, name, value)


@pytest.mark.parametrize("key", BARE)
@pytest.mark.parametrize("part", [0.4, 0.8, 1.3])
def test_what_a_board_holds_for_ever(key: str, part: float) -> None:
    physics = PROFILES[key]
    drive = Drive(physics, room_for(physics, part))
    result = drive.go()
    assert result.ended == "whole" and result.plateau and result.sure
    assert abs(error(result, drive)) < BOUND / 2
    assert drive.hottest <= physics.budget + OVER_CELSIUS
    assert drive.phases == sorted(drive.phases, key=("rest", "load", "cool").index)
    assert drive.second < 0.8 * HOUR_S, "it ends when there is no more to be seen"
    # What the daemon is given says the same, and is sure of it.
    assert result.model is not None and result.model.unit == UNIT
    belief = thermal_model.believe(result.model)
    told, deviation = thermal_model.sustained(belief, physics.budget)
    assert belief.sure and told == pytest.approx(result.load, rel=1e-6) and 0 < deviation < 0.1 * told
    again = thermal_model.believe(thermal_model.resume(result.model, UNIT, 7.0, 60.0))
    assert again.sure and again.die_gain + again.board_gain == pytest.approx(result.fitted.gain if result.fitted else 0)


def test_a_daemon_begins_having_learned() -> None:
    physics = PI5_BARE
    result = Drive(physics, room_for(physics, 0.5)).go()
    variant, threads, delegate = "int8-300", 4, "xnnpack"
    points = [OperatingPoint(variant=variant, threads=threads, delegate=delegate, capacity_fps=40.0)]
    assert budgeting.unit(points[0]) == UNIT
    limits = budgeting.Settings(temperature=physics.budget, memory=None)
    camera = BudgetCamera(name="front", wanted_fps=30.0, measured_fps=0.0)
    readings = Readings(at_ns=1, temperatures={"cpu-thermal": 50.0}, counted=("cpu-thermal",))
    for kept, known in ((result.model, True), (None, False)):
        state, _ = budgeting.step(budgeting.begin(kept), limits, [camera], points, readings, 0, 1.0)
        told = summary(state, limits)
        assert told.warming is not None and told.warming.sure == known
        assert ("not learned well yet" in told.board) != known


@pytest.mark.parametrize("key", BARE)
def test_boards_that_are_a_third_off(key: str) -> None:
    """Resistance, capacity and lag of the sensor in all combinations, which nobody told it."""
    for resistance, capacity, lag in itertools.product((0.7, 1.3), (0.7, 1.3), (0.7, 1.3)):
        physics = PROFILES[key].varied(resistance, capacity, lag)
        drive = Drive(physics, room_for(physics, 0.5))
        result = drive.go()
        which = (key, resistance, capacity, lag, result)
        assert result.sure and abs(error(result, drive)) < BOUND, which
        assert drive.hottest <= physics.budget + OVER_CELSIUS, which


@pytest.mark.parametrize("key", BARE)
@pytest.mark.parametrize(("noise", "step"), [(0.6, 1.0), (0.0, 1.0), (0.0, 0.001)])
def test_sensors_that_are_noisy_or_coarse(key: str, noise: float, step: float) -> None:
    physics = replace(PROFILES[key], noise=noise, sensor_step=step)
    drive = Drive(physics, room_for(physics, 0.6))
    result = drive.go()
    assert result.sure and abs(error(result, drive)) < BOUND, result
    assert drive.hottest <= physics.budget + OVER_CELSIUS


@settings(deadline=None, max_examples=12)
@given(
    key=st.sampled_from(BARE),
    part=st.floats(0.25, 1.5),
    resistance=st.floats(0.7, 1.3),
    capacity=st.floats(0.7, 1.3),
    noise=st.floats(0.0, 0.6),
    seed=st.integers(0, 1000),
)
def test_no_board_gets_too_hot_and_what_is_sure_is_right(
    key: str, part: float, resistance: float, capacity: float, noise: float, seed: int
) -> None:
    physics = replace(PROFILES[key].varied(resistance, capacity), noise=noise)
    drive = Drive(physics, room_for(physics, part), seed=seed)
    result = drive.go()
    assert drive.hottest <= physics.budget + OVER_CELSIUS
    assert abs(error(result, drive)) < BOUND or not result.sure
    assert drive.second <= HOUR_S + 1


@pytest.mark.parametrize("key", BARE)
def test_a_board_that_is_still_warm_of_other_work(key: str) -> None:
    """As it is when all settings have just been measured."""
    physics = PROFILES[key]
    drive = Drive(physics, room_for(physics, 0.6))
    for _ in range(300):
        drive.board.step(drive.point, 0.8 * drive.full_fps)
    result = drive.go()
    assert result.sure and abs(error(result, drive)) < BOUND, result
    assert drive.hottest <= physics.budget + OVER_CELSIUS


def test_readings_that_are_missed_cost_nothing() -> None:
    gaps = tuple((second + off, sets("sensor_works", off == 2)) for second in range(90, 3000, 60) for off in (0, 2))
    drive = Drive(PI5_BARE, room_for(PI5_BARE, 0.5), changes=gaps)
    result = drive.go()
    assert result.sure and abs(error(result, drive)) < BOUND
    assert drive.hottest <= PI5_BARE.budget + OVER_CELSIUS


@pytest.mark.parametrize("key", BARE)
@pytest.mark.parametrize("celsius", [-2.0, 2.0])
def test_a_room_that_changes_meanwhile(key: str, celsius: float) -> None:
    """Told is what holds in the room as it is when the temperature stands still; less surely than otherwise."""
    physics = PROFILES[key]
    room = room_for(physics, 0.6)
    drive = Drive(physics, room, changes=((400, sets("room", room + celsius)),))
    result = drive.go()
    assert abs(error(result, drive)) < 0.15
    assert drive.hottest <= physics.budget + OVER_CELSIUS


def test_a_fan_that_helps_is_part_of_what_holds() -> None:
    """No board of two nodes: the fan's steps make it several. It is believed where it stood still."""
    drive = Drive(PI5_FAN, 45.0)
    result = drive.go()
    physics = PI5_FAN
    work = physics.work_watts / drive.full_fps
    r_board = physics.fan[-1][1]
    rest = 45.0 + physics.idle_watts * r_board + physics.chip_idle_watts * physics.r_die
    true = min((physics.budget - rest) / (work * (r_board + physics.r_die)), drive.full_fps)
    assert result.plateau and min(result.load, drive.full_fps) == pytest.approx(true, rel=0.1)
    assert drive.hottest <= physics.budget + OVER_CELSIUS


def test_without_a_plateau_no_rate_is_told() -> None:
    """Ten minutes are too short for a metal case: what was learned is kept, with how little that is."""
    drive = Drive(PI4_CASE, room_for(PI4_CASE, 0.6), seconds=600.0)
    result = drive.go()
    assert result.ended == "whole" and not result.plateau and not result.sure
    assert drive.second == pytest.approx(600, abs=2)
    assert result.model is not None
    told, deviation = thermal_model.sustained(thermal_model.believe(result.model), drive.board.physics.budget)
    assert deviation > 0.2 * told and abs(told - drive.true_load) < 2 * deviation


def test_some_seconds_teach_next_to_nothing_and_it_says_so() -> None:
    drive = Drive(PI4_BARE, 22.0, seconds=6.0)
    result = drive.go()
    assert result.ended == "whole" and not result.sure and drive.second <= 8
    assert result.model is not None and not thermal_model.believe(result.model).sure


def test_a_board_that_is_hot_at_rest_is_not_loaded() -> None:
    drive = Drive(PI4_BARE, PI4_BARE.budget - 36.0)  # 35.8 °C above the room at rest
    result = drive.go()
    assert result.ended == "hot" and max(drive.rates) == 0.0 and result.model is None
    assert result.rest_celsius == pytest.approx(PI4_BARE.budget, abs=1.0)


def test_a_hot_board_is_loaded_little_by_little() -> None:
    """Six degrees below the budget, full speed would pass it within seconds: before anything is known of the board."""
    physics = PI5_BARE.varied(1.3, 0.7, 1.3)
    rest = physics.idle_watts * physics.r_board + physics.chip_idle_watts * physics.r_die
    drive = Drive(physics, physics.budget - 6.0 - rest)
    drive.go()
    assert drive.hottest <= physics.budget + OVER_CELSIUS
    first = next(rate for rate in drive.rates if rate > 0)
    assert first <= 0.34 * drive.full_fps


def test_without_the_sensor_nothing_is_heated() -> None:
    drive = Drive(PI5_BARE, 22.0, changes=((200, sets("sensor_works", False)),))
    result = drive.go()
    assert result.ended == "lost" and not result.sure and drive.second < 210
    none = Drive(PI5_BARE, 22.0, changes=((0, sets("sensor_works", False)),))
    assert none.go().ended == "lost" and max(none.rates) == 0.0


def test_a_sensor_that_sticks_is_lost() -> None:
    drive = Drive(PI5_BARE, 22.0, changes=((62, sets("sensor_sticks", True)),))
    assert drive.go().ended == "lost" and drive.second < 300


def test_what_else_heats_stops_the_load() -> None:
    physics = PI5_BARE
    drive = Drive(physics, room_for(physics, 0.5), changes=((400, sets("foreign_cores", 3.0)),))
    result = drive.go()
    assert result.ended == "over" and not result.sure
    assert drive.second < 430


def test_flags_are_told() -> None:
    drive = Drive(PI5_BARE, room_for(PI5_BARE, 0.8), changes=((0, sets("under_voltage_above", 7.0)),))
    assert drive.go().flags == ("under_voltage",)


def test_stopped_it_says_what_it_knows() -> None:
    drive = Drive(PI5_BARE, room_for(PI5_BARE, 0.5))
    resting = drive.go(until=30)
    assert resting.ended == "" and resting.model is None and not resting.sure
    loaded = drive.go(until=200)
    assert loaded.ended == "" and not loaded.sure and loaded.model is not None


def test_how_long_it_still_takes() -> None:
    drive = Drive(PI5_BARE, room_for(PI5_BARE, 0.5))
    drive.go()
    assert drive.left[0] == pytest.approx(drive.course._plan.guess_s, rel=0.05)
    assert drive.left[-1] < 60
    # In the middle of the load it is right to a factor of two.
    at = drive.phases.index("cool") // 2
    assert 0.5 < drive.left[at] / (len(drive.left) - at) < 2


def test_each_phase_has_its_time() -> None:
    for seconds in (6.0, 60.0, 600.0, 3600.0, 36000.0):
        plan = Plan(unit=UNIT, full_fps=18.0, celsius=75.0, seconds=seconds)
        assert plan.rest_s + plan.load_s + plan.cool_s == pytest.approx(seconds)
        assert plan.load_s >= 0.6 * seconds and plan.guess_s <= seconds
    assert of_course.LEAST_COOL_S < of_course.MOST_COOL_S
