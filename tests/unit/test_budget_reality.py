"""Where what runs is not what cameras, profiles and points say: the budgets believe what they see."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from vigild.board.readings import Memory, Readings
from vigild.budget import budgeting, carried
from vigild.budget.actions import Action, CameraLimit, Limits, Move, UsePoint
from vigild.budget.budgeting import Settings
from vigild.budget.carried import Carried, Given
from vigild.budget.from_profile import assumed
from vigild.budget.operating_points import GIVE_UP, Camera, OperatingPoint
from vigild.budget.schedule import Quiet
from vigild.budget.summary import summary

NOON = 12 * 60
SETTINGS = Settings(temperature=75.0, memory=None)
UNMEASURED = assumed("int8-300", 4, "xnnpack")


@dataclass
class Plant:
    """A die on a board of 120 s, at 45 °C without work: what it carries, and what of it would be 75 °C."""

    wanted: float | None
    carries: float
    holds: float
    points: list[OperatingPoint] = field(default_factory=lambda: UNMEASURED)
    die_part: float = 0.4
    """Of the warming, within seconds:"""
    die_s: float = 6.0
    noise: float = 0.05
    given: float | None = None
    """What the camera gives, where that is told."""
    random: Random = field(default_factory=lambda: Random(3))
    state: budgeting.State = field(default_factory=budgeting.begin)
    now: float = 0.0
    die: float = 0.0
    board: float = 0.0
    ran: float = 0.0
    actions: list[tuple[float, Action]] = field(default_factory=list)
    celsius: list[float] = field(default_factory=list)
    fps: list[float] = field(default_factory=list)

    def run(self, seconds: int) -> Plant:
        for _ in range(seconds):
            self._second()
        return self

    def _second(self) -> None:
        cap = None
        if self.state.limits is not None:
            (limit,) = self.state.limits.cameras
            cap = 0.0 if limit.holds else limit.max_fps
        most = self.carries if self.given is None else min(self.carries, self.given)
        self.ran = most if cap is None else min(most, cap)
        gain = 30.0 / self.holds
        self.die += (self.ran * gain * self.die_part - self.die) / self.die_s
        self.board += (self.ran * gain * (1 - self.die_part) - self.board) / 120
        self.now += 1
        self.celsius.append(45 + self.die + self.board)
        self.fps.append(self.ran)
        readings = Readings(
            at_ns=round(self.now * 1e9),
            temperatures={"cpu": self.celsius[-1] + self.random.gauss(0, self.noise)},
            counted=("cpu",),
        )
        cameras = [Camera(name="front", wanted_fps=self.wanted, given_fps=self.given, measured_fps=self.ran)]
        self.state, found = budgeting.step(self.state, SETTINGS, cameras, self.points, readings, NOON, self.now)
        self.actions += [(self.now, action) for action in found]

    def moves(self, after: float = 0.0) -> list[Move]:
        return [action for at, action in self.actions if isinstance(action, Move) and at > after]

    @property
    def degraded(self) -> str:
        return self.state.limits.degraded if self.state.limits is not None else ""


def profiled(fps: float) -> list[OperatingPoint]:
    return [OperatingPoint(variant="int8-300", threads=4, delegate="xnnpack", capacity_fps=fps)]


@pytest.mark.parametrize(
    "plant",
    [
        Plant(wanted=None, carries=60, holds=45),
        Plant(wanted=None, carries=100, holds=60),
        Plant(wanted=30, carries=30, holds=24, points=profiled(18)),
        Plant(wanted=30, carries=22, holds=19, points=profiled(18)),
        Plant(wanted=25, carries=30, holds=26),
        Plant(wanted=30, carries=30, holds=20),
    ],
    ids=["a rate nobody said", "much faster than thought", "two detectors", "better than its profile",
         "a camera that gives more", "as was said"],
)  # fmt: skip
def test_more_than_was_thought_is_held_all_the_same(plant: Plant) -> None:
    plant.run(1200)
    assert max(plant.celsius[60:]) <= 76.0
    assert sum(plant.fps[600:]) / 600 >= 0.95 * plant.holds
    assert len(plant.moves(after=600)) <= 2 * 10
    assert plant.degraded


@pytest.mark.parametrize("die_s", [3.0, 6.0])
@pytest.mark.parametrize(("die_part", "holds"), [(0.5, 20), (0.9, 20), (0.95, 12)])
def test_a_die_that_answers_much_more_than_thought_is_learned_all_the_same(
    die_part: float, holds: float, die_s: float
) -> None:
    """22 to 71 °C within seconds at all the work, where 15 are taken for likely: a first such answer is no fan."""
    plant = Plant(wanted=30, carries=30, holds=holds, die_part=die_part, die_s=die_s, noise=0.1).run(1200)
    assert max(plant.celsius[60:]) <= 76.0
    assert sum(plant.fps[600:]) / 600 >= 0.95 * holds
    assert len(plant.moves(after=600)) <= 2 * 10


@pytest.mark.parametrize("holds", [15.0, 13.0])
def test_less_than_was_thought_is_nothing_given_up(holds: float) -> None:
    """A camera of 30 fps on a detector that carries 12: no work is lost, at any temperature below the budget."""
    plant = Plant(wanted=30, carries=12, holds=holds).run(900)
    assert max(plant.celsius) < 75
    assert set(plant.fps) == {12}
    assert not plant.moves()
    assert not plant.degraded


def test_begun_on_a_hot_board_it_ends_with_all_that_there_is() -> None:
    """It cuts at once, knowing nothing of what is carried; and once the cap no longer binds, that is all the work."""
    plant = Plant(wanted=30, carries=12, holds=13.5)
    plant.board = 29.0
    plant.run(900)
    assert any(move.kind == "rate_cut" for move in plant.moves())
    assert not plant.degraded
    assert plant.moves()[-1].kind == "rate_raised"
    assert plant.fps[-1] == 12


def test_a_camera_that_gives_little_at_night_is_not_let_loose_in_the_morning() -> None:
    """What it gives is known while it is capped, so its first bright minutes are no surprise."""
    plant = Plant(wanted=30, given=30, carries=30, holds=20).run(600)
    assert plant.degraded
    plant.given = 8.0
    plant.run(600)
    assert not plant.degraded, "all that comes is done"
    plant.given = 30.0
    before = len(plant.celsius)
    plant.run(900)
    assert max(plant.celsius[before:]) <= 76.0
    assert plant.degraded
    assert sum(plant.fps[-300:]) / 300 >= 0.95 * plant.holds


def test_one_camera_below_its_share_leaves_it_to_the_other() -> None:
    state, now, rise = budgeting.begin(), 0.0, 0.0
    done = []
    for _ in range(700):
        now += 1
        limits = {limit.camera: limit for limit in state.limits.cameras} if state.limits is not None else {}

        def taken(name: str, gives: float, limits: dict[str, CameraLimit] = limits) -> float:
            limit = limits.get(name)
            return gives if limit is None or limit.max_fps is None else min(gives, limit.max_fps)

        a, b = taken("a", 4.0), taken("b", 30.0)
        rise += (a + b - rise) / 6
        done.append(a + b)
        cameras = [
            Camera(name="a", wanted_fps=30.0, given_fps=4.0, measured_fps=a),
            Camera(name="b", wanted_fps=30.0, given_fps=30.0, measured_fps=b),
        ]
        readings = Readings(at_ns=round(now * 1e9), temperatures={"cpu": 55 + rise + 0.1 * (now % 2)}, counted=("cpu",))
        state, _ = budgeting.step(state, SETTINGS, cameras, UNMEASURED, readings, NOON, now)
    assert sum(done[-300:]) / 300 >= 0.95 * 20


def test_what_comes_and_goes_is_not_all_there_is() -> None:
    """A camera that is away, or dark, for a while: on a hot board it must not come back to no cap at all."""
    plant = Plant(wanted=30, carries=30, holds=20).run(900)
    assert plant.degraded
    plant.carries = 0.0
    plant.run(120)
    plant.carries = 30.0
    after = len(plant.celsius)
    plant.run(300)
    assert max(plant.celsius[after:]) <= 76.0


@pytest.mark.parametrize(
    ("seen", "offered", "known"),
    [
        ([12.0] * 4, 30.0, None),
        ([12.0] * 5, 30.0, 12.0),
        ([12.0] * 60, math.inf, 12.0),
        ([0.0] * 60, 30.0, None),
        ([12.0, 0.0] * 30, 30.0, None),
        ([12.0] * 60, 12.1, None),
        ([3.7] * 60, 4.0, None),
        ([12.0] * 60, 14.0, 12.0),
        ([8.0] * 5 + [20.0], 30.0, 8.0),
        ([8.0] * 5 + [20.0, 21.0], 30.0, 20.0),
        ([20.0] * 5 + [8.0] * 29, 30.0, 20.0),
        ([20.0] * 5 + [8.0] * 30, 30.0, 8.0),
        ([20.0] * 5 + [19.8] * 60, 30.0, 20.0),
    ],
)
def test_what_is_carried_is_what_was_seen_for_long_enough(
    seen: list[float], offered: float, known: float | None
) -> None:
    found = Carried(of="point")
    for fps in seen:
        found = carried.follow_carried(found, "point", math.inf, offered, fps, 1)
    assert found.fps == known
    assert carried.follow_carried(found, "another", math.inf, offered, 5.0, 1).fps is None


def test_more_than_a_profile_says_is_believed_soon() -> None:
    found = Carried()
    for _ in range(2):
        found = carried.follow_carried(found, "point", 18.0, 30.0, 22.0, 1)
    assert found.fps == 22.0


def test_what_a_source_gives_is_known_whatever_is_taken_of_it() -> None:
    seen = Given()
    for gives, known in (
        [(30.0, None)] * 4 + [(30.0, None)] * 30 + [(8.0, None)] * 29 + [(8.0, 8.0)] + [(0.0, 8.0)] * 60
    ):
        seen = carried.follow_given(seen, "front", 30.0, gives)
        assert seen.fps == known, (gives, known)
    for gives, known in [(30.0, 8.0), (30.0, 30.0)]:
        seen = carried.follow_given(seen, "front", 30.0, gives)
        assert seen.fps == known
    assert carried.follow_given(seen, "another", 25.0, 25.0).fps is None


# ---- sensors


class Rig:
    """A processor that would be 45 °C without work and holds 10 of 15 fps, a GPU that is 12 °C cooler, and what of them
    can be read."""

    def __init__(self) -> None:
        self.state = budgeting.begin()
        self.now = 0.0
        self.rise = 30.0
        self.room = 0.0
        self.moves: list[Move] = []

    def run(self, seconds: int, *sees: str, lost: tuple[str, ...] = (), gpu: float | None = None) -> None:
        for _ in range(seconds):
            self.now += 1
            self.rise += (3.0 * self.rate - self.rise) / 6
            celsius = {"cpu": 45 + self.room + self.rise, "gpu": gpu or 33 + self.room + self.rise}
            cameras = [Camera(name="front", wanted_fps=15.0, measured_fps=self.rate)]
            readings = Readings(
                at_ns=round(self.now * 1e9),
                temperatures={name: celsius[name] + 0.1 * (self.now % 2) for name in sees},
                counted=("cpu", "gpu"),
                lost=lost,
            )
            self.state, found = budgeting.step(self.state, SETTINGS, cameras, UNMEASURED, readings, NOON, self.now)
            self.moves += [action for action in found if isinstance(action, Move)]

    @property
    def rate(self) -> float:
        return self.state.heat.rate if self.state.heat is not None else 10.0


def held() -> Rig:
    """At the budget, with a part of the work."""
    rig = Rig()
    rig.run(300, "cpu", "gpu")
    assert rig.rate == pytest.approx(10.0, rel=0.05)
    rig.moves.clear()
    return rig


def test_the_next_warmest_says_nothing_of_the_one_that_is_lost() -> None:
    rig = held()
    rate = rig.rate
    rig.run(2, "gpu")
    rig.run(120, "gpu", lost=("cpu",))
    assert 0.8 * rate < rig.rate < rate
    assert [move.kind for move in rig.moves] == ["sensor_lost", "rate_cut"]
    assert rig.state.limits is not None and "cpu cannot be read" in rig.state.limits.degraded
    rig.room = -20.0
    rig.run(120, "cpu", "gpu")
    assert "sensor_back" in [move.kind for move in rig.moves]
    assert rig.rate == 15.0


def test_a_reading_that_is_missing_once_is_no_reason_for_more() -> None:
    rig = held()
    rate = rig.rate
    for _ in range(20):
        rig.run(1, "gpu")
        rig.run(1, "cpu", "gpu")
        assert rig.rate <= rate * 1.05
    assert not [move for move in rig.moves if move.kind.startswith("sensor")]


def test_one_that_sleeps_lets_the_others_decide() -> None:
    """The GPU of a Jetson that has nothing to do answers EAGAIN: it is not among the lost."""
    rig = held()
    rig.run(120, "gpu")
    assert rig.rate > 12.0
    assert not [move for move in rig.moves if move.kind.startswith("sensor")]


def test_while_one_is_lost_another_is_heard_that_is_over_the_budget() -> None:
    rig = held()
    rig.run(2, "gpu")
    rig.run(30, "gpu", lost=("cpu",))
    blind = rig.rate
    rig.run(30, "gpu", lost=("cpu",), gpu=79.0)
    assert rig.rate < blind
    rig.run(120, "gpu", lost=("cpu",), gpu=62.0)
    assert rig.rate <= blind


def test_one_that_did_not_decide_is_told_when_it_is_lost() -> None:
    rig = held()
    rig.run(20, "cpu", lost=("gpu",))
    rig.run(5, "cpu", "gpu")
    told = [(move.kind, move.reason) for move in rig.moves if move.kind.startswith("sensor")]
    assert told[0] == ("sensor_lost", "gpu cannot be read any more; cpu can, and decides alone")
    assert [kind for kind, _ in told] == ["sensor_lost", "sensor_back"]


# ---- the point that runs


LARGE = OperatingPoint(variant="large", threads=4, capacity_fps=18.0, memory_bytes=60 * 2**20)
HUGE = OperatingPoint(variant="huge", threads=4, cost=4.0, capacity_fps=4.0, memory_bytes=120 * 2**20)
SMALL = OperatingPoint(variant="small", threads=4, cost=0.4, capacity_fps=40.0, memory_bytes=40 * 2**20)


def test_a_point_that_was_refused_is_asked_for_again_and_ever_less_often() -> None:
    state, asked = budgeting.begin(), []
    limits_of_it = msgspec.structs.replace(SETTINGS, give_up=("variant",))
    for second in range(1, 1800):
        # Large runs, whatever is asked for.
        camera = Camera(name="front", wanted_fps=15.0, measured_fps=15.0)
        readings = Readings(at_ns=second * 10**9, temperatures={"cpu": 79.0 + 0.1 * (second % 2)}, counted=("cpu",))
        state, found = budgeting.step(
            state, limits_of_it, [camera], [LARGE, SMALL], readings, NOON, float(second), running=LARGE
        )
        asked += [second for action in found if isinstance(action, UsePoint)]
    gaps = [later - before for before, later in itertools.pairwise(asked)]
    assert gaps == [10, 20, 40, 80, 160, 320, 640]


def test_for_memory_a_variant_gives_way_to_one_that_takes_less_and_that_is_told() -> None:
    state, found = budgeting.begin(), []
    limits_of_it = Settings(temperature=None, memory=100 * 2**20)

    def run(seconds: range, used: int) -> None:
        nonlocal state
        for second in seconds:
            readings = Readings(
                at_ns=second * 10**9,
                memory=Memory(used_bytes=used * 2**20, processes={"hub": 2**24, "detector": 2**25}),
            )
            camera = Camera(name="front", wanted_fps=15.0, measured_fps=15.0)
            state, actions = budgeting.step(
                state, limits_of_it, [camera], [LARGE, HUGE, SMALL], readings, NOON, float(second)
            )
            found.extend(actions)

    run(range(1, 200), 99)
    (use,) = [action for action in found if isinstance(action, UsePoint)]
    assert use.point == SMALL, "huge takes more"
    assert not use.beside, "both would not fit"
    (move,) = [action for action in found if isinstance(action, Move) and action.kind == "step_down"]
    assert move.reason == "large on 4 threads becomes small on 4 threads: memory 99 MiB, budget 100 MiB"
    limits = [action for action in found if isinstance(action, Limits)][-1]
    assert limits.cameras[0].max_fps is None
    assert summary(state, limits_of_it).degraded == (
        "15.0 of 15.0 fps, small on 4 threads instead of large on 4 threads: the memory budget leaves no room for more"
    )
    found.clear()
    run(range(200, 1400), 40)
    assert [action.point for action in found if isinstance(action, UsePoint)] == [LARGE]
    assert [action.kind for action in found if isinstance(action, Move)] == ["step_up"]
    assert not summary(state, limits_of_it).degraded


def test_where_the_wanted_variant_takes_least_nothing_heavier_comes() -> None:
    state = budgeting.begin()
    limits_of_it = Settings(temperature=None, memory=100 * 2**20)
    for second in range(1, 400):
        memory = Memory(used_bytes=99 * 2**20, processes={"hub": 2**24, "detector": 2**25})
        camera = Camera(name="front", wanted_fps=15.0, measured_fps=15.0)
        points = [msgspec.structs.replace(SMALL, cost=1.0), HUGE, LARGE]
        readings = Readings(at_ns=second * 10**9, memory=memory)
        state, found = budgeting.step(state, limits_of_it, [camera], points, readings, NOON, float(second))
        assert not [action for action in found if isinstance(action, UsePoint)]
    assert state.memory.lighter == 0


# ---- whatever comes and goes

POINTS = [
    msgspec.structs.replace(LARGE, cpu_s=0.1),
    OperatingPoint(variant="large", threads=2, cost=0.86, capacity_fps=10.5, memory_bytes=60 * 2**20),
    SMALL,
]
NAMES = ("a", "b", "c")
moments = st.fixed_dictionaries(
    {
        "seconds": st.integers(1, 20),
        "celsius": st.dictionaries(
            st.sampled_from(["cpu", "gpu"]), st.one_of(st.floats(20, 110), st.floats(72, 78), st.just(math.nan))
        ),
        "lost": st.lists(st.sampled_from(["cpu", "gpu"]), unique=True),
        "cameras": st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        "give_up": st.permutations(GIVE_UP[:-1]).map(lambda order: (*order, "pause")),
        "carries": st.floats(0, 60),
        "runs": st.sampled_from([None, *POINTS]),
        "memory": st.integers(20, 140),
        "minute": st.sampled_from([NOON, 23 * 60]),
        "flags": st.sampled_from([(), (), ("under_voltage",)]),
    }
)


# Not shrunk: each try is half an hour of board time.
@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(moments, max_size=12), st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
def test_whatever_comes_and_goes_in_the_end_all_is_done_again(run: list[dict[str, Any]], last: list[str]) -> None:
    """Cameras, sensors, orders, models and what is carried: limits are only ever of what there is, and once it is cool
    nothing is given up any more."""
    state, now, running = budgeting.begin(), 0.0, POINTS[0]
    good = {"seconds": 2400, "celsius": {"cpu": 40.0, "gpu": 38.0}, "lost": [], "cameras": last, "give_up": GIVE_UP,
            "carries": 15.0, "runs": None, "memory": 20, "minute": NOON, "flags": ()}  # fmt: skip
    for moment in [*run, good]:
        for second in range(moment["seconds"]):
            now += 1
            if moment is good and second and state.limits is not None and not told_of(state):
                break
            limits = {limit.camera: limit for limit in state.limits.cameras} if state.limits is not None else {}
            share = moment["carries"] / len(moment["cameras"])
            cameras = []
            for name in moment["cameras"]:
                limit = limits.get(name)
                allowed = math.inf if limit is None or limit.max_fps is None else limit.max_fps
                fps = 0.0 if limit is not None and limit.holds else min(share, allowed)
                cameras.append(Camera(name=name, priority=1 + NAMES.index(name), wanted_fps=15.0, measured_fps=fps))
            readings = Readings(
                at_ns=round(now * 1e9),
                temperatures={name: celsius + 0.2 * (now % 2) for name, celsius in moment["celsius"].items()},
                counted=("cpu", "gpu"),
                lost=tuple(moment["lost"]),
                flags=moment["flags"],
                own_cores=1.0,
                foreign_cores=0.5,
                memory=Memory(used_bytes=moment["memory"] * 2**20, processes={"hub": 2**24, "detector": 2**25}),
            )
            limited = Settings(
                temperature=75.0, memory=100 * 2**20, give_up=moment["give_up"],
                quiet=Quiet(start=22 * 60, end=7 * 60, max_fps=5.0),
            )  # fmt: skip
            state, actions = budgeting.step(
                state, limited, cameras, POINTS, readings, moment["minute"], now, moment["runs"] or running
            )
            for action in actions:
                if isinstance(action, UsePoint):
                    running = action.point
                elif isinstance(action, Limits):
                    assert {limit.camera for limit in action.cameras} == set(moment["cameras"])
                    caps = [limit.max_fps for limit in action.cameras if limit.max_fps is not None]
                    assert all(math.isfinite(cap) and cap > 0 for cap in caps)
    assert state.limits is not None and not told_of(state)
    assert all(limit.max_fps is None and not limit.holds for limit in state.limits.cameras)
    assert running.settings == POINTS[0].settings


def told_of(state: budgeting.State) -> str:
    return summary(state, SETTINGS).degraded
