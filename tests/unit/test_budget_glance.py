"""What other programs suddenly take: how it is counted on, what is done about it, and how soon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from fleetkit import World
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.budget import NOMINAL, governed, trace_of
from simboard import drive
from simboard.scenarios import SCENARIOS
from vigild.board.budgets import Budgets
from vigild.board.readings import Readings
from vigild.budget import budgeting, foreign
from vigild.budget.actions import Limits, Move
from vigild.budget.budgeting import Settings
from vigild.budget.foreign import AGAIN_S, JUMP, LEAST_EXPECTED_S, Foreign
from vigild.budget.operating_points import Camera, OperatingPoint
from vigild.ipc import messages as ipc

FULL = 30.0
CORE = 10.0
"""What a core carries, reference frames a second."""

# ---- what is counted on


def lived(taken: Callable[[float], float], seconds: float) -> list[tuple[float, Foreign]]:
    """(when, what is counted on then), looked at as the daemon does; `taken`: cores at a moment."""
    found, state, ticks = [], Foreign(), [0.0] * 100
    for at in range(round(seconds * 100)):
        now = (at + 1) / 100
        ticks.append(taken(at / 100) * CORE)
        if at % 25 == 24:
            lately = min(sum(ticks[-25:]), sum(ticks[-50:-25])) / 25
            state = foreign.glance(state, lately, FULL, now)
            if at % 100 == 99:
                state = foreign.follow(state, sum(ticks[-100:]) / 100, FULL, 1.0, now)
            found.append((now, state))
    return found


@pytest.mark.parametrize("phase", [tenth / 10 for tenth in range(10)])
def test_a_core_is_counted_in_full_in_less_than_a_second_and_as_one_jump(phase: float) -> None:
    found = lived(lambda now: float(now >= 5 + phase), 20)
    soon = next(state for now, state in found if now >= 5.85 + phase)
    assert soon.load == pytest.approx(CORE, rel=0.05)
    assert all(state.restless_until < 0 for _, state in found)
    assert found[-1][1].load == pytest.approx(CORE, rel=0.05)


def test_what_is_no_jump_is_no_news() -> None:
    calm = Foreign(load=5.0)
    for taken in (0.0, 4.0, 5.0, 5.0 + 0.99 * JUMP * FULL):
        assert foreign.glance(calm, taken, FULL, 100.0) is calm


@pytest.mark.parametrize("every", [3.7, 9.3, 31.3, 45.7, 60.0])
def test_short_work_that_comes_again_and_again_is_counted_as_what_reaches_the_die(every: float) -> None:
    """2 cores for 0.2 s: 0.4 core-seconds, of which a die that follows in 4 s shows a tenth of a core."""
    found = lived(lambda now: 2.0 * (now % every < 0.2), 10 * every)
    late = [state.load for now, state in found if now > 6 * every]
    assert max(late) < 0.25 * CORE


def test_it_is_forgotten_when_it_does_not_come_back() -> None:
    found = lived(lambda now: 2.0 * (now % 5 < 0.5 and now < 60), 60 + LEAST_EXPECTED_S + 60)
    assert found[59 * 4][1].load > 0.1 * CORE
    assert found[-1][1].load < 0.01 * CORE
    assert found[-1][1].restless_until < found[-1][0]


def test_a_second_program_beside_the_first_is_none_that_comes_and_goes() -> None:
    found = lived(lambda now: (now >= 5) + float(now >= 70.3), 300)
    assert all(state.restless_until < 0 for _, state in found)
    assert found[-1][1].load == pytest.approx(2 * CORE, rel=0.01)


def test_one_that_came_and_went_and_then_stays_is_followed_again() -> None:
    found = lived(lambda now: float(now >= 60 or now % 10 < 2), 60 + 3 * LEAST_EXPECTED_S)
    assert found[59 * 4][1].restless_until > 60
    assert found[-1][1].restless_until < found[-1][0]
    assert found[-1][1].load == pytest.approx(CORE, rel=0.01)


looks = st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0.01, 200)), max_size=40)


@settings(deadline=None)
@given(looks)
def test_a_glance_never_has_less_counted_on_and_nothing_is_ever_more_than_was_seen(
    seen: list[tuple[bool, float, float]],
) -> None:
    state, now, most = Foreign(), 0.0, 0.0
    for short, taken, later in seen:
        now += later
        most = max(most, taken)
        before = state
        if short:
            state = foreign.glance(state, taken, FULL, now)
            assert state.load >= before.load
            assert (state.lagged, state.most) == (before.lagged, before.most)
        else:
            state = foreign.follow(state, taken, FULL, later, now)
        assert -1e-9 <= state.load <= most + 1e-9
        assert state.restless_until <= now + max(1.5 * AGAIN_S, LEAST_EXPECTED_S) + 1e-6


# ---- what is done about it

POINTS = (OperatingPoint(variant="large", threads=4, cost=1.0, capacity_fps=40.0),)
CAMERAS = (
    Camera(name="front", priority=2, wanted_fps=15.0, measured_fps=14.0),
    Camera(name="back", wanted_fps=15.0, measured_fps=14.0),
)
SETTINGS = Settings(temperature=75.0, memory=None)


def readings(at_s: float, lately: float | None = None, celsius: float = 74.75) -> Readings:
    return Readings(
        at_ns=round(at_s * 1e9), temperatures={"cpu-thermal": celsius + 0.2 * (round(at_s) % 2)},
        counted=("cpu-thermal",), own_cores=2.0, foreign_cores=0.0, foreign_cores_lately=lately,
    )  # fmt: skip


def at_the_budget() -> budgeting.State:
    state = budgeting.begin()
    for second in range(120):
        state, _ = budgeting.step(state, SETTINGS, CAMERAS, POINTS, readings(second), 0, float(second))
    return state


def test_all_of_it_caps_the_cameras_and_says_why_at_once() -> None:
    state = at_the_budget()
    same, none = budgeting.glance(state, SETTINGS, readings(119.25, 0.1), 119.25)
    assert same is state and not none
    after, actions = budgeting.glance(state, SETTINGS, readings(119.5, 1.5), 119.5)
    move, limits = actions
    assert isinstance(move, Move) and isinstance(limits, Limits)
    assert move.kind == "rate_cut" and "other programs" in move.reason
    assert after.counts["rate_cut"] == state.counts.get("rate_cut", 0) + 1
    caps = [limit.max_fps for limit in limits.cameras]
    assert None not in caps and limits.degraded
    assert after.heat is not None and sum(cap or 0.0 for cap in caps) <= after.heat.rate + 1e-6


@pytest.mark.parametrize("state", [budgeting.begin(), None])
def test_before_the_first_step_or_away_from_the_budget_there_is_nothing_to_do(state: budgeting.State | None) -> None:
    """Away from it nobody looks."""
    seen = readings(200.0, 4.0 if state is not None else None)
    state = state or at_the_budget()
    assert budgeting.glance(state, SETTINGS, seen, 200.0) == (state, ())


def test_the_hub_gives_work_up_between_two_rounds_of_the_budgets() -> None:
    world = World()
    world.hub.start()
    began, rounds = world.clock.ns, [0]

    def board(lately: float) -> Callable[[], None]:
        def read() -> None:
            rounds[0] += 1
            if rounds[0] % 2:
                world.gives()
            seen = readings((world.clock.ns - began) / 1e9, lately)
            world.hub.read(msgspec.structs.replace(seen, at_ns=world.clock.ns), Budgets(temperature=75.0, memory=2**30))

        return read

    world.run(1.0)
    world.run(60.0, board(0.0))
    told = len(world.told("budget"))
    cap = world.camera().last(ipc.SetLimits)
    world.run(0.2, board(3.0))
    assert len(world.told("budget")) == told + 1
    assert "other programs" in (world.told("budget")[-1].reason or "")
    lower = world.camera().last(ipc.SetLimits)
    assert lower.max_fps is not None
    assert cap is None or not cap.max_fps or lower.max_fps < cap.max_fps


# ---- on a simulated board

CORNER = (1.3, 0.7, 0.7)
"""Of resistance, capacity and lag: that in which a die answers most strongly and soonest."""


def test_a_core_that_goes_at_any_moment_is_held() -> None:
    known = SCENARIOS["a core goes"]
    sooner = replace(known, seconds=660, changes=((600, known.changes[0][1]),))
    assert known.sudden
    assert governed(sooner, "pi5", CORNER).overshoot <= 1.0


def test_the_rate_does_not_dance_to_short_work() -> None:
    trace = trace_of(SCENARIOS["short bursts"], "pi5", "governor", NOMINAL)
    assert drive.overshoot(trace) <= 1.0
    assert drive.changes_a_minute(trace) <= 2.0
