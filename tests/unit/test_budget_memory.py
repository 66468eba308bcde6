"""Memory: leaks are ended before the budget, for every budget and slope, and nothing healthy is ended."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simboard.leaks import MIB, Leak, run
from vigild.board.readings import Memory, MemoryEvents, Readings
from vigild.budget import budgeting, memory_governor
from vigild.budget.actions import Action, Move, Recycle, Trim
from vigild.budget.budgeting import Settings
from vigild.budget.memory_governor import Sources, Usage
from vigild.budget.operating_points import Camera

HOUR = 3600.0


def daemon(leak_mib_s: float, leaks_from: float = 60.0) -> list[Leak]:
    return [Leak("detector", 70 * MIB, leak_mib_s * MIB, leaks_from), Leak("front", 25 * MIB)]


@pytest.mark.parametrize("budget", [160, 256, 512])
@pytest.mark.parametrize("leak", [0.05, 0.5, 2.0, 5.0])
def test_a_leak_never_reaches_the_budget(leak: float, budget: int) -> None:
    trace = run(daemon(leak), budget * MIB, HOUR)
    assert trace.peak <= budget * MIB
    assert {name for _, name in trace.recycled} <= {"detector"}


def test_without_the_governor_the_same_leak_does() -> None:
    assert run(daemon(0.5), 256 * MIB, HOUR, governed=False).peak > 256 * MIB


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.02, 5.0),
    st.integers(160, 600),
    st.floats(20.0, 600.0),
    st.sampled_from(["detector", "front"]),
    st.booleans(),
)
def test_whoever_leaks_whenever_it_begins(leak: float, budget: int, begins: float, who: str, overlap: bool) -> None:
    sizes = {"detector": 70 * MIB, "front": 25 * MIB}
    workers = [Leak(name, size, leak * MIB if name == who else 0.0, begins) for name, size in sizes.items()]
    trace = run(workers, budget * MIB, 1200, overlap=overlap)
    assert trace.peak <= budget * MIB
    assert {name for _, name in trace.recycled} <= {who}


def test_a_healthy_daemon_is_left_alone_however_long_it_loads() -> None:
    trace = run([Leak("detector", 120 * MIB), Leak("front", 25 * MIB)], 256 * MIB, HOUR)
    assert not trace.recycled
    assert not trace.moves


def test_a_peak_that_is_given_back_trims_and_ends_nobody() -> None:
    workers = [Leak("detector", 70 * MIB, spikes=((600, 610, 30 * MIB),)), Leak("front", 25 * MIB)]
    trace = run(workers, 165 * MIB, HOUR)
    assert not trace.recycled
    assert [on for _, on in trace.trims] == [True, False]


def test_a_leak_is_ended_while_there_is_room_for_a_successor() -> None:
    trace = run(daemon(0.1), 256 * MIB, 2 * HOUR)
    assert trace.recycled
    assert trace.peak < 256 * MIB - 60 * MIB


def follow(usages: list[Usage], budget: int, variants: int = 1, every: float = 1.0) -> list[Action]:
    state, found = memory_governor.State(), []
    for at, usage in enumerate(usages):
        state, actions = memory_governor.step(state, usage, budget, at * every, variants)
        found += actions
    return found


def test_too_small_a_budget_is_said_once_and_a_lighter_variant_is_asked_for() -> None:
    usage = Usage(used_bytes=115 * MIB, workers={"detector": 70 * MIB})
    state, found = memory_governor.State(), []
    for second in range(200):
        state, actions = memory_governor.step(state, usage, 100 * MIB, float(second), 3)
        found += actions
    assert [action.kind for action in found if isinstance(action, Move)] == ["memory_trim", "not_held"]
    assert 1 <= state.lighter <= 2
    for second in range(200, 6000):
        calm = Usage(used_bytes=50 * MIB, workers={"detector": 40 * MIB})
        state, _ = memory_governor.step(state, calm, 100 * MIB, float(second), 3)
    assert state.lighter == 0


@pytest.mark.parametrize("extra", [{"high_events": 3}, {"stall_percent": 25.0}, {"max_events": 1}, {"woken": True}])
def test_the_kernels_word_counts_whatever_the_bytes_say(extra: dict[str, float]) -> None:
    calm = {"high_events": 0, "max_events": 0}
    quiet = Usage(used_bytes=50 * MIB, workers={"detector": 30 * MIB}, **calm)
    pressed = Usage(used_bytes=50 * MIB, workers={"detector": 30 * MIB}, **{**calm, **extra})  # type: ignore[arg-type]
    found = follow([quiet, quiet, pressed], 256 * MIB)
    assert isinstance(found[0], Trim)
    assert isinstance(found[1], Move)


def test_a_recycle_says_who_grew_and_how_much() -> None:
    usages = [Usage(used_bytes=(100 + 2 * at) * MIB, workers={"detector": (70 + 2 * at) * MIB}) for at in range(80)]
    recycled = [action for action in follow(usages, 200 * MIB) if isinstance(action, Recycle)]
    assert recycled[0].worker == "detector"
    assert "detector has grown from" in recycled[0].reason
    assert "budget 200 MiB" in recycled[0].reason


# ---- what is healthy and yet larger than it was


class Fleet:
    """Workers that hold what they are said to, `age` seconds after their process began; recycled, they begin anew."""

    def __init__(self, budget: int, **workers: Callable[[float, float], float]) -> None:
        """`workers`: MiB from (age, the time)."""
        self.budget = budget * MIB
        self.workers = workers
        self.state = memory_governor.State()
        self.born = dict.fromkeys(workers, 0.0)
        self.pids = {name: at for at, name in enumerate(workers)}
        self.sources: dict[str, Sources] = {}
        self.recycled: list[tuple[float, str]] = []
        self.moves: list[Move] = []
        self.peak = 0
        self.now = 0.0

    def anew(self, name: str) -> None:
        self.born[name] = self.now
        self.pids[name] += len(self.pids)

    def run(self, seconds: float, **extra: int) -> None:
        until = self.now + seconds
        while self.now < until:
            held = {name: int(of(self.now - self.born[name], self.now) * MIB) for name, of in self.workers.items()}
            used = 18 * MIB + sum(held.values())
            self.peak = max(self.peak, used)
            usage = Usage(used_bytes=used, workers=held, pids=dict(self.pids), sources=self.sources, **extra)
            self.state, actions = memory_governor.step(self.state, usage, self.budget, self.now)
            for action in actions:
                if isinstance(action, Recycle):
                    self.recycled.append((self.now, action.worker))
                    self.anew(action.worker)
                elif isinstance(action, Move):
                    self.moves.append(action)
            self.now += 1.0


def loads(size: float, seconds: float = 3.0) -> Callable[[float, float], float]:
    return lambda age, _: size * (0.4 + 0.6 * min(age / seconds, 1.0))


def test_a_camera_whose_source_comes_late_is_no_leak() -> None:
    opened = 600.0
    fleet = Fleet(128, detector=loads(52), front=lambda age, now: 30 if now < opened else 30 + 25 * min(age, 1.0))
    fleet.run(opened)
    fleet.sources = {"front": {"front": (1280, 720)}}
    fleet.run(HOUR)
    assert fleet.recycled == []


@pytest.mark.parametrize("seconds", [1, 6, 12])
def test_nor_is_one_whose_source_was_away_or_that_a_client_had_paused(seconds: int) -> None:
    """Meanwhile it holds less; what it takes again then is no growth."""
    back = 900.0

    def front(age: float, now: float) -> float:
        return 55 if now < 300 else 35 if now < back else 35 + 20 * min((now - back) / seconds, 1.0)

    fleet = Fleet(128, detector=loads(52), front=front)
    for second, cameras in ((20, ["front"]), (300, ["front"]), (int(back), []), (3600, ["front"])):
        fleet.sources = {"front": dict.fromkeys(cameras, (1280, 720))}
        fleet.run(second - fleet.now)
    assert fleet.recycled == []


def test_nor_does_trimming_make_one_smaller_for_good() -> None:
    """What it can do without for a while it takes again, and so does its successor."""
    fleet = Fleet(128, detector=loads(52), front=lambda age, now: 40 if 200 < now < 400 else 55 * min(age / 8, 1.0))
    fleet.run(HOUR)
    assert len(fleet.recycled) <= 1


def test_nor_is_a_heavier_model_that_takes_over() -> None:
    fleet = Fleet(102, detector=lambda age, now: 50 if now < 300 else 80 - 20 * max(0.0, 1 - age / 4))
    fleet.run(300)
    fleet.anew("detector")
    fleet.run(HOUR)
    assert fleet.recycled == []


def test_a_worker_that_comes_back_to_what_it_held_has_that_size() -> None:
    """Whatever it was that nobody told. It is started anew, which frees nothing, once."""
    fleet = Fleet(128, detector=loads(52), front=lambda age, now: 30 if now < 100 else 30 + 25 * min(age / 3, 1.0))
    fleet.run(HOUR)
    assert len(fleet.recycled) <= 1
    assert [move.kind for move in fleet.moves] == ["memory_trim", "memory_recycle"]


@pytest.mark.parametrize("budget", [136, 140, 150])
@pytest.mark.parametrize("seconds", [3, 6, 8, 12, 20])
def test_one_that_loads_slowly_comes_a_little_further_each_time(seconds: int, budget: int) -> None:
    """Half loaded it looks like a leak; where its predecessor was recycled it is looked less far ahead."""

    def front(age: float, now: float) -> float:
        return 30 if now < 100 else 30 + 25 * min(age / seconds, (now - 100) / seconds, 1.0)

    fleet = Fleet(budget, detector=loads(52), front=front)
    fleet.run(HOUR)
    assert len(fleet.recycled) <= 3 and fleet.peak <= fleet.budget


def test_where_nothing_would_be_freed_that_is_said() -> None:
    fleet = Fleet(120, detector=loads(52), front=lambda age, now: 30 if now < 100 else 30 + 25 * min(age / 3, 1.0))
    fleet.run(HOUR)
    assert len(fleet.recycled) == 1
    assert fleet.moves[-1].kind == "not_held"
    assert fleet.moves[-1].reason.startswith("to start a worker anew would free nothing (front comes back to 55 MiB)")


@pytest.mark.parametrize("seed", range(20))
def test_one_whose_memory_is_restless_is_not_started_anew_again_and_again(seed: int) -> None:
    chance = random.Random(seed)

    def front(age: float, now: float) -> float:
        return (30 if now < 100 else 30 + 25 * min(age / 3, 1.0)) + chance.uniform(-1, 1)

    for budget in (120, 128):
        fleet = Fleet(budget, detector=loads(52), front=front)
        fleet.run(HOUR)
        assert len(fleet.recycled) <= 4


def test_one_that_fills_its_caches_and_rests_below_the_budget_is_let_be() -> None:
    fleet = Fleet(128, detector=loads(40), front=lambda age, _: 50 + 16 * min(age / 90, 1.0))
    fleet.run(HOUR)
    assert len(fleet.recycled) <= 1 and fleet.peak <= fleet.budget


def test_nor_is_a_camera_whose_frames_become_larger() -> None:
    """Configured so, or a stream that changes: slowly enough to look like a leak, and nearly all that there is."""
    fleet = Fleet(128, detector=loads(48), front=lambda age, now: 30 + 31 * max(0.0, min((now - 600) / 12, 1.0)))
    for second, size in ((600, (640, 480)), (3600, (1920, 1080))):
        fleet.sources = {"front": {"front": size}}
        fleet.run(second - fleet.now)
    assert fleet.recycled == []
    fleet.sources = {}
    untold = Fleet(128, detector=loads(48), front=lambda age, now: 30 + 31 * max(0.0, min((now - 600) / 12, 1.0)))
    untold.run(HOUR)
    assert untold.recycled, "what the size is told for"


def test_a_leak_with_each_reopened_source_is_one() -> None:
    """Only the first time that a process opens a source it may grow for it."""
    fleet = Fleet(128, detector=loads(40), front=lambda age, _: 30 + age / 20)
    for at in range(720):
        fleet.sources = {"front": dict.fromkeys([["front"], [], ["back"]][at % 3], (1280, 720))}
        fleet.run(5)
    assert {name for _, name in fleet.recycled} == {"front"} and fleet.peak <= fleet.budget


# ---- the whole board


def left(mib: int, psi: float | None = None, grown: int = 0) -> Usage:
    return Usage(
        used_bytes=(120 + grown) * MIB, workers={"detector": (60 + grown) * MIB}, pids={"detector": 7},
        available_bytes=mib * MIB, total_bytes=906 * MIB, stall_percent=psi,
    )  # fmt: skip


def test_without_psi_what_the_board_has_left_decides() -> None:
    found = follow([left(400)] * 60 + [left(34)] * 600, 226 * MIB, variants=2)
    assert [action.on for action in found if isinstance(action, Trim)] == [True]
    moves = [action for action in found if isinstance(action, Move)]
    assert [move.kind for move in moves] == ["memory_trim"], "what others take is no reason to end a healthy worker"
    assert "the board has 34 MiB left of 906" in moves[0].reason


def test_a_lighter_variant_is_asked_for_where_trimming_did_not_help() -> None:
    for mib, psi, lighter in ((34, None, 1), (80, None, 0), (34, 0.0, 0)):
        state = memory_governor.State()
        for at in range(120):
            state, _ = memory_governor.step(state, left(400 if at < 60 else mib, psi), 226 * MIB, float(at), 2)
        assert (state.trimmed, state.lighter) == (True, lighter)


def test_a_worker_that_grew_is_ended_when_the_board_has_nothing_left_and_that_once() -> None:
    fleet = Fleet(226, detector=lambda age, now: 60 if age < 60 or now > 90 else 80)
    fleet.run(80, available_bytes=400 * MIB, total_bytes=906 * MIB)
    fleet.run(HOUR, available_bytes=34 * MIB, total_bytes=906 * MIB)
    assert fleet.recycled == [(80.0, "detector")]
    assert "the board has 34 MiB left of 906" in fleet.moves[-1].reason


def test_a_successor_that_takes_long_is_waited_for_and_others_are_ended_meanwhile() -> None:
    """There is room for both, but the board has nothing left; then a camera leaks."""
    found = []
    state = memory_governor.State()
    for at in range(160):
        held = {"detector": (70 if at < 60 else 100) * MIB, "front": (25 + 5 * max(at - 120, 0)) * MIB}
        usage = Usage(
            used_bytes=sum(held.values()), workers=held, pids={"detector": 1, "front": 2},
            available_bytes=(400 if at < 80 else 34) * MIB, total_bytes=906 * MIB,
        )  # fmt: skip
        state, actions = memory_governor.step(state, usage, 300 * MIB, float(at))
        found += [(at, action.worker, action.overlap) for action in actions if isinstance(action, Recycle)]
    assert found[0] == (80, "detector", True)
    assert found[1][1] == "front" and found[1][0] <= 125
    assert [worker for _, worker, _ in found].count("detector") == 1


def test_with_psi_little_that_is_left_is_no_shortage_and_caches_are_given_back_at_the_last() -> None:
    assert not follow([left(80, 0.0)] * 100, 226 * MIB)
    assert isinstance(follow([left(40, 0.0)] * 100, 226 * MIB)[0], Trim)


def test_a_large_board_is_not_short_with_400_mib_left() -> None:
    usage = Usage(used_bytes=MIB, workers={}, available_bytes=400 * MIB, total_bytes=7900 * MIB)
    assert not follow([usage] * 100, 226 * MIB)


def test_what_is_left_goes_to_and_fro_and_trimming_does_not() -> None:
    usages = [left(85 if at // 30 % 2 else 100) for at in range(3600)]
    assert len([action for action in follow(usages, 226 * MIB) if isinstance(action, Trim)]) == 1


# ---- what the readings say


def read(at: int, held: dict[str, int], used: int, events: MemoryEvents | None) -> Readings:
    pids = {name: number for number, name in enumerate(held)}
    return Readings(at_ns=at, memory=Memory(used_bytes=used, processes=held, pids=pids, events=events))


def settled(readings: list[Readings], cameras: tuple[Camera, ...] = ()) -> list[Action]:
    state, found = budgeting.begin(), []
    for at, reading in enumerate(readings):
        state, actions = budgeting.step(
            state, Settings(temperature=None, memory=256 * MIB), cameras, (), reading, 0, float(at)
        )
        found += actions
    return found


def test_counters_that_cannot_be_read_for_a_moment_do_not_count_from_nothing() -> None:
    """`vigild reload` of ExecReload= runs in the unit's own group, which then is not only the daemon's."""
    counted = MemoryEvents(high=3, max=3)
    readings = [
        read(at, {"detector": (60 if at < 30 else 70) * MIB}, 120 * MIB, None if at in (40, 41) else counted)
        for at in range(60)
    ]
    assert settled(readings) == []
    readings[50:] = [read(at, {"detector": 70 * MIB}, 120 * MIB, MemoryEvents(high=3, max=4)) for at in range(50, 60)]
    assert any(isinstance(action, Recycle) for action in settled(readings))


def test_another_source_of_the_sum_is_no_growth() -> None:
    readings = [
        read(at, {"hub": 20 * MIB, "detector": 70 * MIB}, (160 if at // 10 % 2 else 200) * MIB, None)
        for at in range(600)
    ]
    assert settled(readings) == []


def test_a_detector_that_is_not_in_service_yet_is_not_recycled() -> None:
    readings = [
        read(at, {"detector": 70 * MIB, "detector.next": (30 + 2 * at) * MIB}, (140 + 2 * at) * MIB, None)
        for at in range(60)
    ]
    assert [action.kind for action in settled(readings) if isinstance(action, Move)] == ["memory_trim", "not_held"]


@pytest.mark.parametrize("worker", ["camera.front", "cameras", "detector"])
def test_a_source_that_opens_for_the_first_time_is_known_from_the_cameras(worker: str) -> None:
    """A detector takes in its frames."""
    state = budgeting.begin()
    found: list[Action] = []
    for at in range(300):
        held = {worker: (30 if at < 200 else 55) * MIB}
        cameras = (Camera(name="front"),) if at >= 200 else ()
        state, actions = budgeting.step(
            state, Settings(temperature=None, memory=128 * MIB), cameras, (), read(at, held, 125 * MIB, None), 0,
            float(at),
        )  # fmt: skip
        found += actions
    assert not any(isinstance(action, Recycle) for action in found)
