"""The governor against everything that Hypothesis can invent, and its words."""

from __future__ import annotations

import math
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigild.budget import governor
from vigild.budget.governor import PERIOD_S, Action, Heat, Plan, State
from vigild.budget.operating_points import GIVE_UP, Camera, OperatingPoint, build

POINTS = (
    OperatingPoint(variant="large", threads=4, cost=1.0, capacity_fps=18.0),
    OperatingPoint(variant="large", threads=2, cost=0.86, capacity_fps=10.5),
    OperatingPoint(variant="small", threads=2, cost=0.4, capacity_fps=24.0),
)
BUDGET = 75.0
DWELL = 10.0
CAMERAS = (Camera(name="front", priority=2, wanted_fps=15.0), Camera(name="back", wanted_fps=15.0))
LADDER = build(POINTS, CAMERAS, GIVE_UP, 1.0)
PLAN = Plan(ladder=LADDER, celsius=BUDGET, dwell=DWELL)

celsius = st.one_of(
    st.none(),
    st.floats(20, 110),
    st.floats(BUDGET - 3, BUDGET + 3),
    st.sampled_from([-89.7, 0.0, 150.0, 1e6, -math.inf]),
)
flags = st.sampled_from([frozenset(), frozenset(), frozenset(), frozenset({"under_voltage"}), frozenset({"throttled"})])
foreign = st.one_of(st.just(0.0), st.floats(0, 20), st.sampled_from([1e6, math.inf, math.nan]))
rates = st.one_of(st.none(), st.floats(0, 40))
heats = st.builds(Heat, celsius=celsius, flags=flags, measured_fps=rates, foreign=foreign)
runs = st.lists(st.tuples(heats, st.integers(1, 15)), min_size=1, max_size=15)
"""A reading and for how many seconds it stays."""
glimpses = st.lists(st.lists(foreign, max_size=3), max_size=20)
"""What is seen of other programs between two steps; the second after the last begins with the first again."""


def load_of(action: Action) -> float:
    return action.rate * action.point.cost


def order_of(action: Action) -> tuple[object, ...]:
    return action.rate, action.point, action.cameras


def seconds_of(run: list[tuple[Heat, int]]) -> list[Heat]:
    return [heat for heat, seconds in run for _ in range(seconds)]


@settings(deadline=None, max_examples=80)
@given(runs, glimpses)
def test_never_off_the_ladder_never_up_while_too_hot_never_up_twice_within_the_dwell(
    run: list[tuple[Heat, int]], seen: list[list[float]]
) -> None:
    state = governor.begin("unit")
    before: Action | None = None
    acted_at = -math.inf
    for second, heat in enumerate(seconds_of(run)):
        state, action = governor.step(state, PLAN, heat, float(second))
        rung = LADDER.rungs[state.rung]
        assert (action.point, action.cameras) == (rung.point, rung.cameras)
        assert rung.floor_fps - 1e-9 <= action.rate <= rung.full_fps + 1e-9
        assert math.isfinite(state.load)
        if before is not None and order_of(action) != order_of(before):
            up = load_of(action) > load_of(before) + 1e-9
            if up:
                assert heat.celsius is not None and heat.celsius <= BUDGET
                assert second - acted_at >= DWELL
            acted_at = second
        for at, taken in enumerate(seen[second % len(seen)] if seen else [], 1):
            before, last, now = action, state, second + at / 4
            state, action = governor.glance(state, PLAN, Heat(celsius=None, foreign=taken), now)
            assert state.rung == last.rung
            assert rung.floor_fps - 1e-9 <= action.rate <= before.rate
            assert math.isfinite(state.load) and state.load <= last.load
            if order_of(action) != order_of(before):
                acted_at = now
                assert [move.kind for move in action.moves] == ["rate_cut"]
            else:
                assert action.moves == ()
            # Only a step learns.
            kept = {"load": last.load, "rate": last.rate, "limited": last.limited, "acted_at": last.acted_at}
            assert msgspec.structs.replace(state, foreign=last.foreign, **kept) == last
        before = action


@settings(deadline=None, max_examples=25)
@given(runs, glimpses, st.floats(25, BUDGET - 12))
def test_it_always_comes_back_to_all_the_work(
    run: list[tuple[Heat, int]], seen: list[list[float]], cool: float
) -> None:
    """After anything, a board that stays cool without flags: the sensor's noise, so that it is not taken for stuck."""
    state = governor.begin("unit")
    now = 0.0
    for heat in seconds_of(run):
        state, _ = governor.step(state, PLAN, heat, now)
        for at, taken in enumerate(seen[int(now) % len(seen)] if seen else [], 1):
            state, _ = governor.glance(state, PLAN, Heat(celsius=None, foreign=taken), now + at / 4)
        now += 1
    for second in range(900):
        rung = LADDER.rungs[state.rung]
        heat = Heat(celsius=cool + 0.5 * (second % 2), measured_fps=state.rate)
        state, action = governor.step(state, PLAN, heat, now)
        now += 1
        if not action.limited:
            break
    assert not action.limited
    assert action.degraded == ""
    assert (action.point, action.cameras) == (LADDER.rungs[0].point, LADDER.rungs[0].cameras), rung


@settings(deadline=None, max_examples=15)
@given(runs)
def test_it_is_a_function(run: list[tuple[Heat, int]]) -> None:
    def all_of() -> list[tuple[State, Action]]:
        state, found = governor.begin("unit"), []
        for second, heat in enumerate(seconds_of(run)[:60]):
            state, action = governor.step(state, PLAN, heat, float(second))
            found.append((state, action))
        return found

    assert all_of() == all_of()


def test_faster_than_its_period_it_does_nothing() -> None:
    state, first = governor.step(governor.begin("unit"), PLAN, Heat(celsius=60.0), 0.0)
    after, action = governor.step(state, PLAN, Heat(celsius=100.0), 0.3 * PERIOD_S)
    assert after == state
    assert action.rate == first.rate
    assert not action.moves


def drive_hot(celsius: float, seconds: int, plan: Plan = PLAN) -> tuple[State, list[Action]]:
    state, found = governor.begin("unit"), []
    for second in range(seconds):
        seen = celsius + 0.2 * (second % 2)
        heat = Heat(celsius=seen, sensor="cpu-thermal", measured_fps=state.rate)
        state, action = governor.step(state, plan, heat, float(second))
        found.append(action)
    return state, found


def test_a_move_says_from_where_to_where_and_why() -> None:
    _, actions = drive_hot(79.0, 3)
    told = [move for action in actions for move in action.moves]
    assert {move.kind for move in told} <= {"rate_cut", "step_down"}
    assert re.search(
        r"from \d+\.\d to \d+\.\d fps: cpu-thermal 79\.\d °C, [+-]\d\.\d\d °C/s, budget 75 °C", told[0].reason
    )
    assert "fps" in actions[-1].degraded


def test_what_may_not_be_given_up_is_kept_and_that_is_said_once() -> None:
    ladder = build(POINTS, CAMERAS, ("fps",), 1.0)
    state, actions = drive_hot(95.0, 120, Plan(ladder=ladder, celsius=BUDGET))
    assert state.rung == 0
    assert actions[-1].rate == pytest.approx(2.0)
    assert [move.kind for action in actions for move in action.moves].count("not_held") == 1


def test_everything_may_end_in_a_pause_and_is_told_as_one() -> None:
    _, actions = drive_hot(95.0, 120)
    assert actions[-1].cameras == ()
    assert actions[-1].degraded.startswith("paused: cpu-thermal 95")


def test_a_pause_that_does_not_help_is_said() -> None:
    """A budget below what the board has at rest: nobody would ever learn why nothing runs."""
    state, told = governor.begin("large"), []
    for second in range(400):
        # It cools for a minute, and stays above the budget.
        celsius = max(90.0 - second / 10, 80.0) + 0.1 * (second % 2)
        state, action = governor.step(state, PLAN, Heat(celsius=celsius, measured_fps=state.rate), float(second))
        told += [(second, move.kind) for move in action.moves]
    assert not action.cameras
    (at,) = [second for second, kind in told if kind == "not_held"]
    assert at >= 100
    for second in range(400, 420):
        state, action = governor.step(state, PLAN, Heat(celsius=60.0, measured_fps=state.rate), float(second))
        told += [(second, move.kind) for move in action.moves]
    assert "held_again" in [kind for _, kind in told]


def test_cameras_that_come_and_go_change_nothing_that_was_given_up() -> None:
    """Where the ladder is made anew, one is on the rung that means the same, not on that of the same number."""

    def hot(seconds: int, celsius: float, *cameras: Camera) -> Action:
        nonlocal state, now
        plan = msgspec.structs.replace(PLAN, ladder=build(POINTS[:1], cameras, ("fps", "cameras", "pause"), 1.0))
        for _ in range(seconds):
            now += 1
            heat = Heat(celsius=celsius + 0.1 * (now % 2), measured_fps=state.rate)
            state, action = governor.step(state, plan, heat, now)
            moves.extend(action.moves)
        return action

    state, now, moves = governor.begin("large"), 0.0, []
    third = Camera(name="third", priority=0.5, wanted_fps=15.0)
    while "back" in (action := hot(1, 78.0, *CAMERAS)).cameras:
        assert now < 60
    assert action.cameras == ("front",)
    moves.clear()
    assert hot(1, 74.8, CAMERAS[0]).cameras == ("front",), "the one that was given up is gone: no pause for the other"
    assert not [move for move in moves if move.kind.startswith("step")]
    assert not hot(60, 79.0, *CAMERAS).cameras
    moves.clear()
    assert not hot(5, 79.0, *CAMERAS, third).cameras, "one that comes is no end of a pause"
    assert not [move for move in moves if move.kind.startswith("step")]
    without_pause = build(POINTS[:1], CAMERAS, ("fps",), 1.0)
    state, action = governor.step(
        state, msgspec.structs.replace(PLAN, ladder=without_pause), Heat(celsius=79.0, measured_fps=0.0), now + 1
    )
    assert [move.kind for move in action.moves if move.kind.startswith("step")] == ["step_up"], "and that is told"
    assert action.rate == 2.0


def test_what_another_program_takes_is_given_up_before_the_sensor_knows_of_it() -> None:
    """And little of it, or for a moment, has the rate follow slowly."""

    def after(*foreign: float) -> float:
        state, _ = drive_hot(74.5, 600)
        rate = state.rate
        for second, other in enumerate(foreign):
            heat = Heat(celsius=74.5, measured_fps=state.rate, foreign=other)
            state, _ = governor.step(state, PLAN, heat, 600.0 + second)
        return state.rate / rate

    assert after(0.0) == pytest.approx(1.0, abs=0.05)
    assert after(4.0) < 0.85
    assert after(0.5, 0.5) > 0.95
    assert after(4.0, 0.0, 0.0) < 0.85, "it is not at once believed to be gone"


def hot_after(*glances: tuple[float, float]) -> tuple[State, Action]:
    """A board at its budget, and then (seconds after the last step, what other programs take)."""
    state, actions = drive_hot(74.5, 600)
    action = actions[-1]
    for after, taken in glances:
        heat = Heat(celsius=None, sensor="cpu-thermal", foreign=taken)
        state, action = governor.glance(state, PLAN, heat, 599.0 + after)
    return state, action


def test_what_another_program_suddenly_takes_is_given_up_between_two_steps_and_told() -> None:
    calm, before = hot_after()
    state, action = hot_after((0.25, 0.0), (0.5, 4.0))
    assert action.rate < 0.85 * before.rate
    assert action.limited and action.degraded
    assert re.fullmatch(
        r"from \d+\.\d to \d+\.\d fps: other programs take more of the processor; "
        r"cpu-thermal 74\.\d °C, [+-]\d\.\d\d °C/s, budget 75 °C",
        action.moves[0].reason,
    )
    assert (state.observer, state.model, state.stepped_at) == (calm.observer, calm.model, calm.stepped_at)
    later, _ = governor.step(state, PLAN, Heat(celsius=74.5, measured_fps=state.rate, foreign=4.0), 600.0)
    assert later.rate == pytest.approx(state.rate, rel=0.1), "the next step knows it already"


@pytest.mark.parametrize(
    "glances", [((0.25, 0.5),), ((0.25, math.nan), (0.5, math.inf)), ((0.25, 0.0), (0.5, 0.1), (0.75, 0.0))]
)
def test_a_glance_at_little_or_at_nonsense_changes_nothing(glances: tuple[tuple[float, float], ...]) -> None:
    calm, before = hot_after()
    state, action = hot_after(*glances)
    assert state == calm
    assert action.rate == before.rate and not action.moves


def test_a_jump_that_is_seen_in_parts_is_one() -> None:
    """Two would be a program that comes and goes, of which only a part is counted on."""
    state, _ = hot_after((0.25, 2.5), (0.5, 4.0))
    assert state.foreign.load == 4.0
    assert state.foreign.restless_until == -math.inf


def test_without_a_budget_or_a_sensor_a_glance_decides_nothing() -> None:
    state, _ = drive_hot(74.5, 600)
    heat = Heat(celsius=None, foreign=10.0)
    assert governor.glance(state, Plan(ladder=LADDER, celsius=None), heat, 599.5)[0] == state
    blind = state
    for second in range(600, 610):
        blind, _ = governor.step(blind, PLAN, Heat(celsius=None), float(second))
    assert blind.sensing.lost
    assert governor.glance(blind, PLAN, heat, 609.5)[0] == blind
    new = governor.begin("unit")
    assert governor.glance(new, PLAN, heat, 0.0)[0] == new


def test_a_lower_budget_acts_at_once() -> None:
    state, _ = drive_hot(70.0, 60)
    assert state.rate == LADDER.rungs[0].full_fps
    lower = Plan(ladder=LADDER, celsius=60.0)
    _, action = governor.step(state, lower, Heat(celsius=70.0, measured_fps=state.rate), 60.0)
    assert load_of(action) < LADDER.full_load


def test_a_lost_sensor_leaves_the_last_safe_load_less_a_tenth_and_is_told() -> None:
    state, _ = drive_hot(60.0, 200)
    assert state.rate == LADDER.rungs[0].full_fps
    told = []
    for second in range(200, 400):
        state, action = governor.step(state, PLAN, Heat(celsius=None, sensor="cpu-thermal"), float(second))
        told += [move.kind for move in action.moves]
    assert load_of(action) == pytest.approx(0.9 * LADDER.full_load)
    assert told.count("sensor_lost") == 1
    assert "cannot be read" in action.degraded


def test_a_sensor_that_is_stuck_while_the_load_falls_is_lost() -> None:
    state = governor.begin("unit")
    for second in range(100):
        warm = 45.0 + 15.0 * (1 - math.exp(-second / 6.0))
        state, _ = governor.step(state, PLAN, Heat(celsius=warm, measured_fps=18.0), float(second))
    for second in range(100, 300):
        state, _ = governor.step(state, PLAN, Heat(celsius=60.0, measured_fps=18.0), float(second))
    assert not state.sensing.lost
    for second in range(300, 400):
        state, _ = governor.step(state, PLAN, Heat(celsius=60.0, measured_fps=2.0), float(second))
    assert state.sensing.lost


@pytest.mark.parametrize(
    "flag", ["under_voltage", "throttled", "frequency_capped", "over_current", "gpu_throttle", "cpu_slowed"]
)
def test_flags_are_believed_though_it_is_cool(flag: str) -> None:
    state, _ = drive_hot(40.0, 30)
    heat = Heat(celsius=40.0, flags=frozenset({flag}), measured_fps=18.0)
    _, action = governor.step(state, PLAN, heat, 30.0)
    assert load_of(action) == pytest.approx(0.9 * LADDER.full_load)
    assert [move.kind for move in action.moves] == ["rate_cut"] or action.moves[0].kind == "step_down"


def test_a_flag_that_is_no_limit_changes_nothing() -> None:
    state, _ = drive_hot(40.0, 30)
    heat = Heat(celsius=40.0, flags=frozenset({"hot_surface"}), measured_fps=18.0)
    _, action = governor.step(state, PLAN, heat, 30.0)
    assert not action.limited
