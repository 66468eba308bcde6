"""The learner: on simulated boards it finds what they are made of, and says how sure it is."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simboard.board import Board, Physics
from simboard.profiles import PROFILES
from vigild.budget import thermal_model
from vigild.budget.thermal_model import Belief, ThermalModel

UNIT = "int8-300, 4 threads, xnnpack"


def watch(board: Board, model: ThermalModel | None, rates: list[tuple[float, int]]) -> ThermalModel:
    """`rates`: (frames a second, for so many seconds)."""
    point = board.physics.points[0]
    for rate, seconds in rates:
        for _ in range(seconds):
            board.step(point, rate)
            board.step(point, rate)
            seen = board.read()
            assert seen is not None
            if model is None:
                model = thermal_model.begin(UNIT, point.capacity_fps, seen)
            model = thermal_model.learn(model, seen, board.measured_fps(), 1.0)
    assert model is not None
    return model


def measured(physics: Physics, room: float = 22.0) -> tuple[Belief, ThermalModel]:
    """A load step, a plateau, a rest, and a step again: what `vigild tune --sustained` does."""
    board = Board(physics, room, firmware=False)
    full = physics.points[0].capacity_fps
    model = watch(board, None, [(0.0, 60), (full, 2400), (0.0, 1200), (full, 600)])
    return thermal_model.believe(model), model


@pytest.mark.parametrize("key", ["pi4", "pi4-case", "pi5"])
def test_it_finds_both_resistances_and_what_the_board_holds_for_ever(key: str) -> None:
    physics = PROFILES[key]
    belief, _ = measured(physics)
    per_frame = physics.work_watts / physics.points[0].capacity_fps
    assert belief.die_gain == pytest.approx(physics.r_die * per_frame, rel=0.25)
    assert belief.board_gain == pytest.approx(physics.r_board * per_frame, rel=0.35)
    assert belief.sure
    true = physics.idle_watts * physics.r_board + physics.chip_idle_watts * physics.r_die + 22.0
    budget = true + 0.6 * physics.work_watts * (physics.r_board + physics.r_die)
    load, deviation = thermal_model.sustained(belief, budget)
    assert load == pytest.approx(0.6 * physics.points[0].capacity_fps, abs=max(4 * deviation, 1.5))


def test_before_anything_was_seen_it_is_not_sure_and_says_so() -> None:
    belief = thermal_model.believe(thermal_model.begin(UNIT, 18.0, 45.0))
    assert not belief.sure
    assert belief.die_deviation * 18.0 > 5
    text = thermal_model.describe(belief, 75.0, 1.0, "int8-300 on 4 threads", 18.0)
    assert "not learned well yet" in text


@pytest.mark.parametrize("jump", [10.0, 20.0, 45.0])
def test_a_die_that_answers_at_once_is_taken_for_neither_a_fan_nor_a_furnace(jump: float) -> None:
    """The first work of all on a board that follows faster than any time constant that is considered."""
    model = thermal_model.begin(UNIT, 20.0, 40.0)
    for second in range(600):
        model = thermal_model.learn(model, 40.0 + jump + 0.2 * (second % 2), 20.0, 1.0)
    belief = thermal_model.believe(model)
    assert 0.6 * jump <= belief.die_gain * 20.0 <= 1.5 * jump


def test_what_warms_the_board_while_work_is_given_up_for_it_teaches_nothing() -> None:
    """Another program: the load goes down, the temperature up all the same."""
    belief, model = measured(PROFILES["pi4"])
    celsius, load = model.celsius, 18.0
    for second in range(30):
        load = max(load - 1.0, 6.0)
        celsius += 1.5 * math.exp(-second / 5)
        model = thermal_model.learn(model, celsius, load, 1.0)
    assert thermal_model.believe(model).die_gain == pytest.approx(belief.die_gain, rel=0.15)


def test_what_a_fan_is_worth_is_told() -> None:
    belief, _ = measured(PROFILES["pi5"], room=30.0)
    text = thermal_model.describe(belief, 75.0, 1.0, "int8-300 on 4 threads", 40.0)
    held, _ = thermal_model.sustained(belief, 75.0)
    fan, _ = thermal_model.sustained(belief, 75.0, 20.0)
    assert fan > held
    assert f"{held:.1f} ±" in text
    assert text.endswith(f"with a fan that took 20 °C off: {min(fan, 40.0):.1f}")


def test_it_outlives_a_restart_as_json() -> None:
    belief, model = measured(PROFILES["pi4"])
    kept = msgspec.json.decode(msgspec.json.encode(model), type=ThermalModel)
    assert kept == model
    again = thermal_model.believe(thermal_model.resume(kept, UNIT, 18.0, 60.0))
    assert again.die_gain == pytest.approx(belief.die_gain)
    assert again.board_gain == pytest.approx(belief.board_gain)
    assert again.board_deviation > belief.board_deviation


def test_what_is_of_another_unit_or_damaged_is_not_taken_up() -> None:
    _, model = measured(PROFILES["pi4"])
    fresh = thermal_model.begin("other", 18.0, 60.0)
    assert thermal_model.resume(model, "other", 18.0, 60.0) == fresh
    broken = msgspec.structs.replace(
        model, quick=(msgspec.structs.replace(model.quick[0], gain=math.nan), *model.quick[1:])
    )
    assert thermal_model.resume(broken, UNIT, 18.0, 60.0) == thermal_model.begin(UNIT, 18.0, 60.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-40, 150), st.floats(0, 200), st.floats(0.1, 10)), min_size=1, max_size=60))
def test_nonsense_teaches_nothing_impossible(seen: list[tuple[float, float, float]]) -> None:
    model = thermal_model.begin(UNIT, 18.0, seen[0][0])
    for celsius, load, seconds in seen:
        model = thermal_model.learn(model, celsius, load, seconds)
    belief = thermal_model.believe(model)
    for gain in (belief.die_gain, belief.board_gain):
        assert 0 < gain <= thermal_model.MOST_CELSIUS / 18.0 * 1.001
    assert all(map(math.isfinite, thermal_model.sustained(belief, 75.0)))
