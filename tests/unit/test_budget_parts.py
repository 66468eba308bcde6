"""The ladder, shares, the schedule, points from a profile, and all of it in one call."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.board.budgets import Budgets
from vigild.board.readings import Memory, Readings
from vigild.budget import budgeting, schedule
from vigild.budget.actions import Action, Limits, Move, UsePoint
from vigild.budget.budgeting import Settings, State
from vigild.budget.from_profile import assumed, operating_points
from vigild.budget.operating_points import GIVE_UP, Camera, Ladder, OperatingPoint, build, changes_place, place
from vigild.budget.schedule import Quiet
from vigild.budget.shares import FPS_STEP, divide
from vigild.budget.summary import summary
from vigild.budget.summary import warming as warming_of
from vigild.catalogue.profile import Accuracy, Row

POINTS = (
    OperatingPoint(variant="large", threads=4, cost=1.0, capacity_fps=18.0),
    OperatingPoint(variant="large", threads=2, cost=0.86, capacity_fps=10.5),
    OperatingPoint(variant="large", threads=1, cost=0.86, capacity_fps=5.5),
    OperatingPoint(variant="small", threads=4, cost=0.5, capacity_fps=30.0),
    OperatingPoint(variant="small", threads=2, cost=0.4, capacity_fps=24.0),
)
FRONT, BACK = Camera(name="front", priority=2, wanted_fps=15.0), Camera(name="back", wanted_fps=15.0)

# ---- the ladder


def test_what_hurts_least_is_given_up_first() -> None:
    ladder = build(POINTS, [FRONT, BACK], GIVE_UP, 1.0)
    found = [(rung.gives_up, rung.point.variant, rung.point.threads, rung.cameras) for rung in ladder.rungs]
    assert found == [
        ("fps", "large", 4, ("front", "back")),
        ("threads", "large", 2, ("front", "back")),
        ("variant", "small", 2, ("front", "back")),
        ("cameras", "small", 2, ("front",)),
        ("pause", "small", 2, ()),
    ]
    assert [rung.stage for rung in ladder.rungs] == [0, 0, 1, 2, 3]


def test_only_what_may_be_given_up_is_in_it_in_the_users_order() -> None:
    ladder = build(POINTS, [FRONT, BACK], ("cameras", "variant"), 1.0)
    assert [rung.gives_up for rung in ladder.rungs] == ["fps", "cameras", "variant"]
    assert all(rung.floor_fps == rung.full_fps for rung in ladder.rungs)


def test_the_rate_has_its_turn_like_everything_else() -> None:
    """Whoever would rather do without the second camera than without frames says so."""
    for order in [("cameras", "fps"), ("variant", "fps", "cameras"), ("threads", "cameras", "fps", "pause")]:
        ladder = build(POINTS, [FRONT, BACK], order, 1.0)
        kept = [rung.floor_fps == rung.full_fps for rung in ladder.rungs]
        at = next(at for at, rung in enumerate(ladder.rungs) if rung.floor_fps < rung.full_fps)
        assert all(kept[:at]) and not any(rung.floor_fps > len(rung.cameras) for rung in ladder.rungs[at:])
        assert [rung.gives_up for rung in ladder.rungs[1 : at + 1]] == list(order[: order.index("fps")])


def test_behind_a_pause_nothing_is_left_to_give_up() -> None:
    ladder = build(POINTS, [FRONT, BACK], ("pause", "cameras", "fps"), 1.0)
    assert [rung.gives_up for rung in ladder.rungs] == ["fps", "pause"]


CAMERAS = st.lists(st.tuples(st.floats(0.5, 60), st.floats(0.1, 10)), min_size=0, max_size=5)
ORDERS = st.permutations(GIVE_UP).flatmap(lambda order: st.integers(0, len(order)).map(lambda n: tuple(order[:n])))
CARRIED = st.one_of(st.none(), st.floats(0.5, 200))


def ladder_of(cameras: list[tuple[float, float]], order: tuple[str, ...], min_fps: float, fps: float | None) -> Ladder:
    known = [Camera(name=f"c{at}", wanted_fps=wanted, priority=weight) for at, (wanted, weight) in enumerate(cameras)]
    return build(POINTS, known, order, min_fps, fps)  # type: ignore[arg-type]


@given(CAMERAS, ORDERS, st.floats(0.1, 20), CARRIED)
def test_floors_are_below_what_is_full_and_loads_go_down(
    cameras: list[tuple[float, float]], order: tuple[str, ...], min_fps: float, carried: float | None
) -> None:
    ladder = ladder_of(cameras, order, min_fps, carried)
    for rung in ladder.rungs:
        assert 0 <= rung.floor_fps <= rung.full_fps
    floors = [rung.floor_load for rung in ladder.rungs]
    assert floors == sorted(floors, reverse=True)
    if carried is not None and cameras:
        assert ladder.rungs[0].full_fps == pytest.approx(min(sum(fps for fps, _ in cameras), carried))


@given(CAMERAS.filter(bool), CAMERAS.filter(bool), ORDERS, ORDERS, st.floats(0.1, 20), CARRIED, st.data())
def test_on_another_ladder_it_is_the_same_place_or_one_that_goes_as_low(
    cameras: list[tuple[float, float]],
    others: list[tuple[float, float]],
    order: tuple[str, ...],
    another: tuple[str, ...],
    min_fps: float,
    carried: float | None,
    data: st.DataObject,
) -> None:
    before, after = ladder_of(cameras, order, min_fps, carried), ladder_of(others, another, min_fps, carried)
    at = data.draw(st.integers(0, len(before.rungs) - 1))
    old = before.rungs[at]
    load = data.draw(st.floats(old.floor_load, max(old.full_load, old.floor_load)))
    assert place(before, old, load) == at
    new = after.rungs[place(after, old, load)]
    if changes_place(after, old, new):
        assert new is after.rungs[-1] or new.floor_load <= load or (not new.cameras and not old.cameras)
    # A camera that comes does not end a pause, and one that goes does not begin one.
    if old.without and not old.cameras and any(rung.without and not rung.cameras for rung in after.rungs):
        assert not new.cameras
    if old.cameras and "pause" not in another and after.rungs[0].cameras:
        assert new.cameras


def test_without_a_point_there_is_no_ladder() -> None:
    with pytest.raises(ValueError, match="at least one operating point"):
        build([], [FRONT], GIVE_UP, 1.0)


# ---- shares


def test_the_rate_goes_by_priority_and_surplus_to_the_others() -> None:
    assert divide(13.0, [FRONT, BACK], 1.0) == pytest.approx({"front": 8.3, "back": 4.6})
    slow = Camera(name="slow", priority=5, wanted_fps=2.0)
    assert divide(12.0, [slow, BACK], 1.0) == pytest.approx({"slow": 2.0, "back": 10.0})


@given(
    st.floats(0, 100),
    st.lists(st.tuples(st.one_of(st.none(), st.floats(0.5, 60)), st.floats(0.1, 10)), min_size=1, max_size=6),
    st.floats(0.1, 10),
)
def test_shares_keep_the_floors_and_the_sum(
    rate: float, cameras: list[tuple[float | None, float]], min_fps: float
) -> None:
    known = [Camera(name=f"c{at}", wanted_fps=fps, priority=weight) for at, (fps, weight) in enumerate(cameras)]
    given_ = divide(rate, known, min_fps)
    floors = {camera.name: min(min_fps, camera.wanted_fps or min_fps) for camera in known}
    for camera in known:
        assert given_[camera.name] >= floors[camera.name] - 1e-9
        assert camera.wanted_fps is None or given_[camera.name] <= camera.wanted_fps + 1e-9
    assert sum(given_.values()) <= max(rate, sum(floors.values())) + FPS_STEP * len(known)


# ---- the schedule


def test_hours_may_go_over_midnight() -> None:
    start, end = schedule.hours("22:00-07:00")
    quiet = Quiet(start=start, end=end, temperature=60.0)
    inside = [minute for minute in range(schedule.DAY_MINUTES) if schedule.active(quiet, minute)]
    assert len(inside) == 9 * 60
    assert not schedule.active(quiet, end)
    assert schedule.active(quiet, start)
    assert not schedule.active(None, start)


@pytest.mark.parametrize("text", ["", "22-7", "24:00-07:00", "22:00-22:00", "22:00 - 07:00", "٢٢:00-07:00"])
def test_what_are_no_hours_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="expected two"):
        schedule.hours(text)


# ---- points from a profile


def row(variant: str, threads: int, cpu_ms: float, **more: object) -> Row:
    facts = {"delegate": "xnnpack", "rounds": 3, "p50_ms": 50.0, "width": 300, "height": 300, **more}
    return Row(variant=variant, threads=threads, cpu_ms=cpu_ms, **facts)  # type: ignore[arg-type]


def test_what_was_measured_becomes_points_the_better_first() -> None:
    rows = [
        row("tiny", 2, 30, accuracy=Accuracy(pictures=9, ap=0.1)),
        row("small", 2, 60, accuracy=Accuracy(pictures=9, ap=0.2)),
        row("large", 2, 80),
        row("large", 4, 100),
        row("large", 4, 20, delegate="edgetpu"),
        row("broken", 4, 10, failed="no"),
    ]
    points = operating_points(rows, "large", 4, "xnnpack")
    assert [(point.variant, point.threads, point.cost) for point in points] == [
        ("large", 4, 1.0),
        ("large", 2, 0.8),
        ("small", 2, 0.6),
        ("tiny", 2, 0.3),
    ]
    assert points[0].capacity_fps == 20.0
    assert [point.variant for point in operating_points(rows, "large", 4, "xnnpack", ["tiny"])] == [
        "large",
        "large",
        "tiny",
    ]


def test_what_was_not_measured_leaves_the_point_that_runs() -> None:
    assert operating_points([row("large", 2, 80)], "other", 1, "xnnpack") == assumed("other", 1, "xnnpack")


# ---- all of it

SETTINGS = Settings(temperature=75.0, memory=256 * 2**20)
NOON, NIGHT = 12 * 60, 23 * 60


class Rig:
    """Steps, once a second."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.state: State = budgeting.begin()
        self.settings = settings
        self.now = 0.0

    def step(self, celsius: float | None, minute: int = NOON, seconds: int = 1, **more: object) -> list[Action]:
        found: list[Action] = []
        for _ in range(seconds):
            self.now += 1
            seen = {} if celsius is None else {"cpu-thermal": celsius + 0.2 * (self.now % 2)}
            readings = Readings(
                at_ns=int(self.now * 1e9),
                temperatures=seen,
                counted=("cpu-thermal",),
                memory=Memory(used_bytes=100 * 2**20, processes={"hub": 2**24}),
                **more,  # type: ignore[arg-type]
            )
            cameras = [FRONT, BACK]
            self.state, actions = budgeting.step(self.state, self.settings, cameras, POINTS, readings, minute, self.now)
            found += actions
        return found


def limits_of(actions: list[Action]) -> Limits:
    return [action for action in actions if isinstance(action, Limits)][-1]


def test_cool_it_says_once_that_nothing_is_limited() -> None:
    found = Rig().step(45.0, seconds=30)
    assert [type(action) for action in found] == [Limits]
    assert all(limit.max_fps is None and not limit.holds for limit in limits_of(found).cameras)


def test_without_a_profile_what_a_frame_takes_is_measured_and_other_programs_are_told_in_frames() -> None:
    """The point that runs has no capacity then: what nobody measured must not count as endless."""

    def after(own: float | None, foreign: float | None) -> float:
        state, rates = budgeting.begin(), [0.0]
        cameras = [msgspec.structs.replace(camera, measured_fps=10.0) for camera in (FRONT, BACK)]
        for second in range(1, 60):
            cores = (own, foreign if second > 50 else 0.0)
            readings = Readings(
                at_ns=second * 10**9,
                temperatures={"cpu-thermal": 74.7 + 0.2 * (second % 2)},
                counted=("cpu-thermal",),
                own_cores=cores[0],
                foreign_cores=cores[1],
            )
            points = assumed("int8-300", 4, "xnnpack")
            state, _ = budgeting.step(state, SETTINGS, cameras, points, readings, NOON, float(second))
            assert state.heat is not None
            rates.append(state.heat.rate)
            assert math.isfinite(state.heat.load)
        return rates[-1] / rates[49]

    assert after(2.0, 1.5) < 0.85
    assert after(2.0, 0.0) > 0.95
    assert after(None, None) > 0.95
    assert after(0.0, 1.5) > 0.95, "it does not work now: what a frame takes is not known"


def test_a_hot_board_without_a_profile_is_capped() -> None:
    state, found = budgeting.begin(), []
    points = assumed("int8-300", 4, "xnnpack")
    for second in range(1, 5):
        readings = Readings(
            at_ns=second * 10**9, temperatures={"cpu-thermal": 85.0}, counted=("cpu-thermal",), foreign_cores=1.0
        )
        state, actions = budgeting.step(state, SETTINGS, [FRONT, BACK], points, readings, NOON, float(second))
        found += actions
    limits = limits_of(found)
    assert all(limit.max_fps is not None or limit.holds for limit in limits.cameras), limits
    assert limits.degraded


def test_hot_it_caps_then_takes_a_lighter_point_then_holds_cameras() -> None:
    rig = Rig()
    found = rig.step(76.0, seconds=3)
    assert all(limit.max_fps is not None for limit in limits_of(found).cameras)
    found = rig.step(95.0, seconds=60)
    assert [action.point.variant for action in found if isinstance(action, UsePoint)][-1] == "small"
    last = limits_of(found)
    assert all(limit.holds == ("governor",) and limit.max_fps is None for limit in last.cameras)
    assert last.degraded.startswith("paused")
    told = summary(rig.state, SETTINGS)
    assert told.degraded.startswith("paused")
    assert told.moves["step_down"] >= 3
    assert told.moves["rate_cut"] >= 1


def test_quiet_hours_are_a_hold_and_a_cap_like_others_and_are_undone() -> None:
    quiet = Quiet(start=22 * 60, end=7 * 60, max_fps=5.0)
    rig = Rig(Settings(temperature=75.0, memory=None, quiet=quiet))
    rig.step(45.0, seconds=5)
    found = rig.step(45.0, NIGHT, seconds=5)
    assert next(action.kind for action in found if isinstance(action, Move)) == "quiet_begins"
    assert {limit.max_fps for limit in limits_of(found).cameras} == {5.0}
    found = rig.step(45.0, NOON, seconds=40)
    assert "quiet_ends" in [action.kind for action in found if isinstance(action, Move)]
    assert {limit.max_fps for limit in limits_of(found).cameras} == {None}


def test_quiet_hours_may_pause() -> None:
    quiet = Quiet(start=22 * 60, end=7 * 60, pause=True)
    rig = Rig(Settings(temperature=75.0, memory=None, quiet=quiet))
    found = rig.step(45.0, NIGHT, seconds=2)
    assert all("schedule" in limit.holds for limit in limits_of(found).cameras)
    assert limits_of(found).degraded == "paused: quiet hours until 07:00"


def test_quiet_hours_have_a_temperature_of_their_own() -> None:
    quiet = Quiet(start=22 * 60, end=7 * 60, temperature=55.0)
    rig = Rig(Settings(temperature=75.0, memory=None, quiet=quiet))
    rig.step(60.0, seconds=60)
    assert not [action for action in rig.step(60.0, seconds=40) if isinstance(action, Move)]
    found = rig.step(60.0, NIGHT, seconds=3)
    assert any(isinstance(action, Move) and "budget 55 °C" in action.reason for action in found)


def test_the_same_readings_again_are_none() -> None:
    rig = Rig()
    rig.step(60.0, seconds=60)
    readings = Readings(at_ns=int(rig.now * 1e9), temperatures={"cpu-thermal": 60.0}, counted=("cpu-thermal",))
    told: list[str] = []
    for _ in range(20):
        rig.now += 1
        rig.state, actions = budgeting.step(rig.state, SETTINGS, [FRONT], POINTS, readings, NOON, rig.now)
        told += [action.kind for action in actions if isinstance(action, Move)]
    assert "sensor_lost" in told


def test_a_board_without_sensors_is_not_limited_by_one() -> None:
    state = budgeting.begin()
    for second in range(1, 60):
        readings = Readings(at_ns=second * 10**9)
        state, actions = budgeting.step(state, SETTINGS, [FRONT], POINTS, readings, NOON, float(second))
        assert not [action for action in actions if isinstance(action, Move)]
    assert state.limits is not None
    assert state.limits.cameras[0].max_fps is None


@pytest.mark.parametrize("celsius", [None, 45.0])
def test_a_camera_that_opens_is_no_reason_for_a_cap(celsius: float | None) -> None:
    """More is wanted than a second ago: what was not limited is not limited now."""
    state = budgeting.begin()
    known = [Camera(name=f"c{at}", wanted_fps=15.0) for at in range(4)]
    for second in range(1, 40):
        seen = {} if celsius is None else {"cpu-thermal": celsius + 0.2 * (second % 2)}
        readings = Readings(at_ns=second * 10**9, temperatures=seen, counted=tuple(seen))
        there = known[: 1 + second // 8]
        state, actions = budgeting.step(state, SETTINGS, there, POINTS[:1], readings, NOON, float(second))
        assert not [action for action in actions if isinstance(action, Move)], second
        assert state.limits is not None
        assert [limit.max_fps for limit in state.limits.cameras] == [None] * len(there)


def test_a_camera_that_opens_on_a_hot_board_gets_what_there_is() -> None:
    state = budgeting.begin()
    for second in range(1, 120):
        readings = Readings(
            at_ns=second * 10**9, temperatures={"cpu-thermal": 77.0 + 0.2 * (second % 2)}, counted=("cpu-thermal",)
        )
        there = [FRONT] if second < 60 else [FRONT, BACK]
        state, _ = budgeting.step(state, SETTINGS, there, POINTS[:1], readings, NOON, float(second))
        assert state.limits is not None
        if second > 3:
            caps = [limit.max_fps for limit in state.limits.cameras if not limit.holds]
            assert None not in caps, second
            assert sum(cap or 0 for cap in caps) <= 15.0


def test_the_lesser_temperature_holds_in_quiet_hours_with_both_reasons() -> None:
    usual = Budgets(temperature=75.0, memory=2**28, temperature_why="budget.temperature is set")
    quiet = Quiet(start=22 * 60, end=7 * 60, temperature=60.0)
    held = schedule.in_force(usual, quiet)
    assert held.temperature == 60.0 and held.memory == 2**28
    assert held.temperature_why == "quiet hours until 07:00; else 75 °C: budget.temperature is set"
    assert schedule.in_force(usual, None) is usual
    assert schedule.in_force(usual, msgspec.structs.replace(quiet, temperature=80.0)) is usual


def test_what_is_learned_is_told_for_a_frame_of_the_point_in_force() -> None:
    rig = Rig()
    rig.step(60.0, seconds=30)
    belief = rig.state.heat.belief if rig.state.heat is not None else None
    warming = summary(rig.state, SETTINGS).warming
    assert warming is not None and belief is not None
    assert (warming.die_seconds, warming.board_seconds) == (belief.die_s, belief.board_s)
    assert warming.die_celsius_per_fps + warming.board_celsius_per_fps == pytest.approx(belief.gain)
    assert warming_of(belief, 0.4).celsius_per_fps_deviation == pytest.approx(0.4 * warming.celsius_per_fps_deviation)
    assert not warming.sure
