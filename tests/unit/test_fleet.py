"""Days of faults in milliseconds: crash loops, hangs, takeovers, starts that fail, clocks that jump."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fleetkit import EAGAIN, EMFILE, ENOMEM, START_NS, World
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from boardkit import flip, raspberry_pi_4, write
from vigild.board.budgets import Budgets
from vigild.board.readings import Readings
from vigild.budget import budgeting, thermal_model
from vigild.budget.actions import CameraLimit, Limits, Move, Recycle, UsePoint
from vigild.budget.operating_points import OperatingPoint
from vigild.config.schema import BudgetConfig, ModelConfig, QuietConfig
from vigild.fleet.slot import SlotState
from vigild.fleet.takeover import NotReplaced
from vigild.hub import answers, budget_keeper, main
from vigild.hub.budget_keeper import BudgetKeeper
from vigild.hub.progress import progress
from vigild.ipc import messages as ipc
from vigild.ipc.progress import Stage
from vigild.stdio import Terminal
from vigild.wire import messages as wire


def serving(**config: Any) -> World:
    """A world in which everything works, one result of each camera told."""
    world = World(**config)
    world.hub.start()
    world.run(0.5)
    for name in world.hub.fleet.cameras:
        world.gives(name)
    return world


# ---- a detector


def test_a_slot_goes_from_starting_to_serving() -> None:
    world = World()
    world.behave = False
    world.hub.start()
    slot = world.hub.fleet.detectors.slots[0]
    assert slot.state is SlotState.STARTING
    world.works(world.camera())
    world.works(world.detector())
    assert slot.state is SlotState.READY
    world.gives()
    assert slot.state is SlotState.SERVING
    assert world.results() == [1] and world.status() == "ok"


def test_nobody_waits_for_results_of_a_detector_that_still_loads() -> None:
    """Of a camera that opens late the daemon is ready before: systemd's watchdog would end it for a slow start."""
    world = World()
    world.behave = False
    world.hub.start()
    world.works(world.camera())
    told = progress(world.hub.state())
    assert (told.idle, told.repair) == (None, "no detector yet")
    world.works(world.detector())
    assert progress(world.hub.state()).repair is None


def test_a_killed_detector_is_back_at_once_and_clients_are_told() -> None:
    world = serving()
    world.detector().dies(-signal.SIGABRT)
    assert world.status() == "degraded"
    world.run(0.2)
    assert len(world.detectors()) == 1
    world.gives()
    assert world.status() == "ok"
    assert [event.reason for event in world.told("worker_died")] == [
        "detector killed by SIGABRT while waiting for work; restarted, 1 of 5 in the last minute"
    ]
    assert [event.reason for event in world.told("worker_back")] == ["detector works again"]


def test_a_crash_loop_backs_off_and_ends_on_the_plainest_rung() -> None:
    world = serving()
    world.behave = False
    starts: list[float] = []
    seen = {worker.pid for worker in world.starter.workers}

    def each() -> None:
        for worker in world.detectors():
            if worker.pid not in seen:
                seen.add(worker.pid)
                starts.append((world.clock.ns - START_NS) / 1e9)
                worker.dies(-signal.SIGSEGV)

    world.detector().dies(-signal.SIGSEGV)
    world.run(3 * 3600, each)
    gaps = [b - a for a, b in pairwise(starts)]
    assert max(gaps) <= 30.2, "never given up, at most 30 s apart"
    assert sum(gap > 29 for gap in gaps) > 250, "hours long"
    assert world.hub.fleet.detectors.slots[0].rung == "none"
    assert world.ended is None


def test_a_hang_in_invoke_is_killed_and_the_deadline_doubles() -> None:
    world = serving()
    waited: list[float] = []
    for _ in range(3):
        detector = world.detector()
        detector.at(Stage.INVOKE)
        begun = world.clock.ns
        while detector.alive:
            world.run(0.1)
        waited.append((world.clock.ns - begun) / 1e9)
        world.run(5)
    assert 1.0 <= waited[0] <= 1.3 and 2.0 <= waited[1] <= 2.3 and 4.0 <= waited[2] <= 4.3


def test_a_model_that_never_loaded_ends_the_daemon_with_its_reason() -> None:
    world = World()
    world.behave = False
    world.hub.start()
    world.detector().says(ipc.ModelRefused(code="missing", message="There is no file /m.tflite."))
    world.detector().dies(3)
    assert world.ended == (1, "")
    assert [event.reason for event in world.told("model_unusable")] == ["There is no file /m.tflite."]


def test_a_model_that_loaded_once_is_waited_for() -> None:
    world = serving()
    world.behave = False
    world.detector().dies(-signal.SIGKILL)
    for _ in range(50):
        world.run(40)
        for detector in world.detectors():
            detector.says(ipc.ModelRefused(code="missing", message="There is no file /m.tflite."))
            detector.dies(3)
    assert world.ended is None
    world.behave = True
    world.run(40)
    world.gives()
    assert world.status() == "ok"


def test_a_degraded_camera_says_why_also_where_no_budget_is_the_cause() -> None:
    world = serving()
    slot = world.hub.fleet.detectors.slots[0]
    slot.ladder.lost(0.0)
    camera = world.hub.state().camera("front")
    assert (camera.status, camera.reason) == ("degraded", f"detector is on delegate {slot.rung}, not on the best one")
    world = serving(camera={"front": {"source": "/dev/video0", "fps": 10}})
    for _ in range(10):
        world.run(0.5)
        world.gives()
    camera = world.hub.state().camera("front")
    assert camera.status == "degraded" and camera.reason.endswith(" of 10.0 fps are inferred")


def test_kills_from_outside_do_not_cost_the_delegate() -> None:
    world = serving()
    for _ in range(200):
        world.detector().dies(-signal.SIGKILL)
        world.run(1.0)
        world.gives()
    assert world.hub.fleet.detectors.slots[0].rung == "xnnpack"
    assert world.status() == "ok"


# ---- starts that fail


@pytest.mark.parametrize("number", [EMFILE, EAGAIN, ENOMEM])
@pytest.mark.parametrize("what", ["detector", "camera.front", "ring"])
def test_what_cannot_be_started_is_started_as_soon_as_it_can(what: str, number: int) -> None:
    world = World()
    world.starter.refuses = lambda asked: number if asked == what else None
    world.hub.start()
    world.run(120)
    assert world.ended is None
    assert not world.results()
    reasons = [e.reason or "" for kind in ("worker_died", "no_ring") for e in world.told(kind)]
    assert reasons and all("Too many" in r or "temporarily" in r or "allocate" in r for r in reasons)
    world.starter.refuses = lambda asked: None
    world.run(31)
    world.gives()
    assert world.results() == [1] and world.status() == "ok"


def test_a_replacement_that_cannot_be_started_is_refused_in_words() -> None:
    world = serving()
    world.starter.refuses = lambda asked: EAGAIN if asked == "detector" else None
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite"), outcome.append)
    world.run(1)
    assert isinstance(outcome[0], NotReplaced) and "cannot be started" in str(outcome[0])
    world.gives()
    assert world.status() == "ok"


@pytest.mark.parametrize("error", [MemoryError(), subprocess.SubprocessError("no"), ValueError("odd")])
@pytest.mark.parametrize("what", ["detector", "camera.front"])
def test_whatever_a_start_raises_is_a_start_that_failed(what: str, error: Exception) -> None:
    world = World()
    start, failing = world.starter.start, [True]

    def refusing(name: str, *args: Any) -> Any:
        if failing and name == what:
            raise error
        return start(name, *args)

    world.starter.start = refusing  # type: ignore[method-assign]
    world.hub.start()
    world.run(10)
    reasons = [event.reason or "" for event in world.told("worker_died")]
    assert len(reasons) > 3 and all("cannot be started" in reason for reason in reasons)
    assert len(reasons) < 20, "it is not tried in each tick"
    failing.clear()
    world.run(31)
    world.gives()
    assert world.results() == [1] and world.status() == "ok"


class Once:
    """Raises the first time, then does what it replaces."""

    def __init__(self, real: Any) -> None:
        self.real, self.raised = real, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.raised:
            self.raised = True
            raise RuntimeError("a fault of ours")
        return self.real(*args, **kwargs)


@pytest.mark.parametrize("what", ["disconnect", "drop", "died"])
@pytest.mark.parametrize("victim", ["detector", "camera"])
def test_a_fault_while_an_end_is_taken_in_strands_nobody(what: str, victim: str) -> None:
    world = serving()
    fleet = world.hub.fleet
    slot = fleet.detectors.slots[0]
    supervised: Any = slot if victim == "detector" else fleet.workers["camera.front"]
    worker = world.detector() if victim == "detector" else world.camera()
    patched: Any = {"disconnect": fleet, "drop": fleet._rings, "died": supervised.restarts}[what]
    once = Once(getattr(patched, what))
    setattr(patched, what, once)
    with contextlib.suppress(RuntimeError):
        worker.dies(-signal.SIGABRT)
    world.run(2)
    world.gives()
    assert world.status() == "ok"
    assert not once.raised or world.told("worker_died")
    # And they are connected again: those that run now, not those that were.
    link = world.detector().last(ipc.AttachDetector)
    assert link is not None and link.link == world.camera().last(ipc.AttachCamera).link


def test_a_replacement_whose_end_is_not_taken_in_comes_to_an_end_all_the_same() -> None:
    world = serving()
    outcome: list[Any] = []
    world.behave = False
    world.hub.fleet.replace(ModelConfig(path="/other.tflite"), outcome.append)
    candidate = world.detectors()[-1]
    world.hub.fleet.disconnect = Once(world.hub.fleet.disconnect)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        candidate.dies(-signal.SIGSEGV)
    world.behave = True
    world.run(60)
    assert outcome and not world.hub.fleet.detectors.takeovers, "who asked is told, and may ask for another"
    seen = len(world.results())
    world.gives()
    assert len(world.results()) == seen + 1


def test_an_end_that_was_not_told_is_noticed() -> None:
    world = serving()
    for worker in (world.detector(), world.camera()):
        worker.exit_status = 1
    world.run(2)
    world.gives()
    assert world.status() == "ok"


# ---- takeovers


def test_a_replacement_takes_over_with_its_first_result() -> None:
    world = serving()
    old = world.detector()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite", name="other"), outcome.append)
    world.run(0.3)
    new = world.detectors()[1]
    world.gives(detector=old)
    assert outcome == []
    world.gives(detector=new)
    assert outcome[0].name == "other"
    world.run(0.2)
    assert world.detectors() == [new]
    world.gives()
    assert world.results() == [1, 2, 3, 4], "no result was lost"
    assert len(world.told("model")) == 2


def test_a_replacement_without_a_camera_takes_over_after_a_while() -> None:
    world = serving()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite"), outcome.append)
    world.run(5)
    assert isinstance(outcome[0], ipc.ModelReady) and len(world.detectors()) == 1


def test_a_second_replacement_is_told_to_wait_and_a_refused_one_changes_nothing() -> None:
    world = serving()
    world.behave = False
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite"), outcome.append)
    world.hub.fleet.replace(ModelConfig(path="/third.tflite"), outcome.append)
    assert outcome[0].code == "busy"
    candidate = world.detectors()[1]
    candidate.says(ipc.ModelRefused(code="classifier", message="It classifies."))
    candidate.dies(3)
    assert (outcome[1].code, str(outcome[1])) == ("classifier", "It classifies.")
    world.gives()
    assert world.status() == "ok"


def test_both_fail_at_once_and_the_one_in_service_comes_back() -> None:
    world = serving()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite"), outcome.append)
    world.run(0.3)
    for detector in world.detectors():
        detector.dies(-signal.SIGABRT)
    world.run(3)
    world.gives()
    assert world.status() == "ok"


def test_where_both_demand_the_edge_tpu_the_old_one_goes_first() -> None:
    world = serving(model={"delegate": "edgetpu"})
    old = world.detector()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite", delegate="edgetpu"), outcome.append)
    assert world.detectors() == [old]
    world.run(0.5)
    assert len(world.detectors()) == 1 and world.detector() is not old
    world.gives()
    assert isinstance(outcome[0], ipc.ModelReady)
    assert not world.told("worker_died"), "nothing failed"


def test_a_hand_over_that_fails_brings_the_old_one_back() -> None:
    world = serving(model={"delegate": "edgetpu"})
    old = world.detector()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite", delegate="edgetpu"), outcome.append)
    world.behave = False
    world.run(0.5)
    candidate = world.detector()
    candidate.says(ipc.ModelRefused(code="classifier", message="It classifies."))
    candidate.dies(3)
    assert str(outcome[0]) == "It classifies."
    world.behave = True
    world.run(0.5)
    assert world.detector() is not old and world.detector().last(ipc.LoadModel).config.path == "/m.tflite"
    world.gives()
    assert world.status() == "ok"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("deaths", [0, 2])
def test_without_room_for_both_no_old_one_is_there_while_the_new_one_loads(count: int, deaths: int) -> None:
    """Nor one that was killed for want of memory and is about to be started again."""
    world = World(camera={"front": {"source": "/dev/video0"}}, model={"detectors": count})
    world.hub.start()
    world.run(10)
    for _ in range(deaths):
        world.detectors()[-1].dies(-9)
        world.run(0.05)
    world.hub.fleet.replace(
        msgspec.structs.replace(world.hub.config.model, variant="lighter"), lambda _: None, beside=False
    )
    seen = set()
    for _ in range(20):
        world.run(0.1)
        loaded = [detector.last(ipc.LoadModel).config.variant for detector in world.detectors()]
        assert len(set(loaded)) <= 1, loaded
        seen.update(loaded)
    assert "lighter" in seen


def test_the_rung_above_is_tried_beside_the_one_in_service() -> None:
    world = serving()
    for _ in range(5):
        world.detector().dies(-signal.SIGABRT)
        world.run(1)
    slot = world.hub.fleet.detectors.slots[0]
    assert slot.ladder.rung == "none"
    world.gives()
    assert world.status() == "degraded"
    while len(world.detectors()) < 2:
        world.run(0.5)
    world.run(0.5)
    candidate = world.detectors()[1]
    assert candidate.last(ipc.LoadModel).delegate == "xnnpack"
    world.gives(detector=candidate)
    assert world.status() == "ok"
    assert any("takes over" in (event.reason or "") for event in world.told("delegate"))


# ---- two detectors


def test_two_detectors_share_a_camera_and_results_leave_in_order() -> None:
    world = World(model={"detectors": 2})
    world.hub.start()
    world.run(0.5)
    first, second = world.detectors()
    groups = {message.group for message in world.camera().sent if isinstance(message, ipc.AttachCamera)}
    assert len(groups) == 1, "one group: each frame goes into one of them"
    world.gives(detector=first)
    world._frame["front"] += 1  # frame 2 is with the first, and slow
    world.gives(detector=second)
    assert world.results() == [1]
    world._frame["front"] = 1
    world.gives(detector=first)
    assert world.results() == [1, 2, 3]


def test_one_of_two_killed_degrades_and_stops_no_camera() -> None:
    world = World(model={"detectors": 2})
    world.hub.start()
    world.run(0.5)
    world.gives()
    assert world.status() == "ok"
    world.detectors()[0].dies(-signal.SIGKILL)
    world.gives()
    assert world.status() == "degraded"
    assert world.results() == [1, 2]
    world.run(0.3)
    assert len(world.detectors()) == 2
    world.gives(detector=world.detectors()[1])
    world.run(2)
    assert world.results() == [1, 2, 3]
    names = [worker.name for worker in world.hub.state().workers if worker.kind == "detector"]
    assert names == ["detector", "detector.2"]


def test_the_number_of_detectors_changes_while_running() -> None:
    world = serving()
    world.hub.fleet.set_model(ModelConfig(path="/m.tflite", detectors=3))
    world.run(0.5)
    assert len(world.detectors()) == 3
    world.hub.fleet.set_model(ModelConfig(path="/m.tflite", detectors=1))
    world.run(1.5)
    assert len(world.detectors()) == 1
    world.gives()
    assert world.results() == [1, 2]


def test_all_of_several_are_replaced() -> None:
    world = World(model={"detectors": 2})
    world.hub.start()
    world.run(0.5)
    world.gives()
    outcome: list[Any] = []
    world.hub.fleet.replace(ModelConfig(path="/other.tflite", detectors=2), outcome.append)
    world.run(0.3)
    world.gives(detector=world.detectors()[2])
    world.run(2)
    assert [w.last(ipc.LoadModel).config.path for w in world.detectors()] == ["/other.tflite"] * 2
    assert {m.group for d in world.detectors() for m in world.camera().sent[-2:] if isinstance(m, ipc.AttachCamera)}
    world.gives()
    assert world.status() == "ok"


def test_a_source_read_frame_by_frame_goes_on_with_the_other_detector() -> None:
    world = World(model={"detectors": 2}, camera={"film": {"source": "/film.mp4", "pace": "every"}})
    world.hub.start()
    world.run(0.5)
    fed = [w for w in world.detectors() if w.last(ipc.AttachDetector) is not None]
    assert len(fed) == 1, "one at a time keeps the order"
    fed[0].dies(-signal.SIGKILL)
    other = next(w for w in world.detectors() if w is not fed[0])
    assert other.last(ipc.AttachDetector) is not None


# ---- cameras


def test_a_shared_worker_tells_its_fault_and_its_end_of_all_its_cameras() -> None:
    shared = {"source": "/dev/video0", "isolation": "shared"}
    world = serving(camera={"a": shared, "b": shared})
    world.camera("a").dies(-signal.SIGSEGV)
    world.run(1)
    assert [event.camera for event in world.told("worker_died")] == ["a", "b"]
    assert [event.camera for event in world.told("worker_back")] == ["a", "b"]


def test_a_camera_worker_that_hangs_is_killed_and_its_camera_says_why() -> None:
    world = serving()
    world.camera().at(Stage.GRAB, lane=1)
    world.run(1.9)
    assert any("no answer" in (e.reason or "") or "hung" in (e.reason or "") for e in world.told("worker_died"))
    world.run(1)
    world.gives()
    assert world.status() == "ok"


def test_holds_are_undone_only_by_who_set_them() -> None:
    world = serving()
    fleet = world.hub.fleet
    held = fleet.cameras["front"].limits.held("client", "asked").held("governor", "too hot")
    fleet.limit("front", held, "too hot")
    assert world.status() == "paused"
    assert world.camera().last(ipc.SetLimits).holds == ["client", "governor"]
    fleet.limit("front", fleet.cameras["front"].limits.released("client"), "asked")
    assert world.status() == "paused"
    assert "too hot" in world.hub.state().camera("front").reason
    fleet.limit("front", fleet.cameras["front"].limits.released("governor"), "cool again")
    world.gives()
    assert world.status() == "ok"
    assert [event.kind for event in world.messages if isinstance(event, wire.Event) and event.camera == "front"][
        -3:
    ] == ["paused", "limits", "resumed"]


def test_the_lowest_cap_wins_and_is_kept_over_a_restart_of_the_worker() -> None:
    world = serving()
    fleet = world.hub.fleet
    fleet.limit("front", fleet.cameras["front"].limits.capped("governor", 4).capped("schedule", 6), "hot")
    assert world.camera().last(ipc.SetLimits).max_fps == 4
    point = answers.health(world.hub.state(), []).operating_point
    assert point is not None and point.fps_cap == 4
    world.camera().dies(-signal.SIGKILL)
    world.run(1)
    assert world.camera().last(ipc.SetLimits).max_fps == 4
    fleet.limit("front", fleet.cameras["front"].limits.capped("governor", None), "cool")
    assert world.camera().last(ipc.SetLimits).max_fps == 6


def test_the_end_of_all_sources_ends_the_daemon_with_what_was_lost() -> None:
    world = serving(exit_at_end=True)
    world.camera().says(ipc.CameraEnded(camera="front", frames=1))
    assert world.ended == (0, "")
    world = serving(exit_at_end=True)
    world.camera().says(ipc.CameraEnded(camera="front", frames=1, lost=3))
    status, why = world.ended
    assert status == 1 and why.startswith("camera front: ") and "3 of its pictures could not be read" in why


def test_budgets_decide_on_each_reading_and_after_a_while_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[float] = []
    glanced: list[float] = []
    monkeypatch.setattr(budgeting, "step", lambda state, *more, running: (decided.append(more[-1]), (state, ()))[1])
    monkeypatch.setattr(budgeting, "glance", lambda state, *more: (glanced.append(more[-1]), (state, ()))[1])
    hub, budgets = World().hub, Budgets(temperature=75.0, memory=2**28)
    keeper, readings = hub.keeper, Readings(at_ns=0)
    for tenth in range(61):
        now_ns = tenth * 10**8
        if tenth in (10, 20, 24):  # the last one for memory's sake; then the sensors fail
            readings = Readings(at_ns=now_ns)
        elif tenth == 13:
            readings = msgspec.structs.replace(readings, foreign_cores_lately=1.0)
        keeper.tick(now_ns, 0, hub.config, budgets, readings)
    assert decided == pytest.approx([0.0, 1.0, 2.0, 2.4, 3.9, 5.4])
    assert glanced == pytest.approx([0.0, 1.0, 1.3, 2.0, 2.4])


def test_a_point_of_the_budgets_that_is_refused_is_not_started_later() -> None:
    world = serving()
    keeper, config = world.hub.keeper, world.hub.config
    world.behave = False
    keeper._carry_out(UsePoint(point=OperatingPoint(variant="lighter", threads=2)), config)
    assert keeper.operating(config.model).variant == "lighter"
    candidate = world.detectors()[-1]
    candidate.says(ipc.ModelRefused(code="missing", message="There is no such variant."))
    candidate.dies(3)
    assert keeper.operating(config.model) == config.model
    assert "was refused, what runs stays" in (world.told("budget_refused")[0].reason or "")


LADDER = [
    OperatingPoint(variant="int8", threads=1, delegate="xnnpack", capacity_fps=18.0, memory_bytes=60 * 2**20),
    OperatingPoint(
        variant="lighter", threads=1, delegate="xnnpack", cost=0.4, capacity_fps=24.0, memory_bytes=40 * 2**20
    ),
]


class Warm:
    """A world whose detector may change to a lighter model, and whose temperature the test says."""

    def __init__(self, **budget: Any) -> None:
        self.world = serving(budget=BudgetConfig(**budget))
        self.world.hub.keeper._points = LADDER

    def run(self, celsius: float, seconds: int) -> None:
        world = self.world
        for _ in range(seconds):
            now_ns = world.clock.now_ns()
            seen = {"cpu-thermal": celsius + 0.1 * (now_ns // 10**9 % 2)}
            readings = Readings(at_ns=now_ns, temperatures=seen, counted=("cpu-thermal",))
            world.hub.read(readings, Budgets(temperature=75.0, memory=2**30))
            world.run(1.0, self._give)

    def _give(self) -> None:
        for detector in self.world.detectors():
            if detector.last(ipc.AttachDetector) is not None and detector.pid in self.world._seen:
                self.world.gives(detector=detector)


def test_a_lighter_model_at_full_rate_is_degraded_from_its_first_frame_to_its_last() -> None:
    warm = Warm(give_up=["variant"], dwell=0.0)
    world = warm.world
    warm.run(45.0, 40)
    assert world.status() == "ok" and not world.hub.state().camera("front").reason
    warm.run(90.0, 10)
    camera = world.hub.state().camera("front")
    assert camera.status == "degraded"
    assert "lighter on 1 thread instead of int8 on 1 thread: cpu-thermal " in camera.reason, camera.reason
    assert camera.reason == world.hub.state().budget.degraded, "no cap is told that takes nothing"
    warm.run(40.0, 120)
    assert world.status() == "ok" and not world.hub.state().budget.degraded
    frames = [(m.variant, m.status) for m in world.messages if isinstance(m, wire.Detections)]
    assert set(frames) == {("int8", "ok"), ("lighter", "degraded")}
    assert len(world.told("camera_back")) == 1, "opened once, at the start"


def test_a_capped_camera_says_what_is_given_up_and_why() -> None:
    warm = Warm(give_up=["fps"])
    warm.run(45.0, 3)
    warm.run(77.0, 5)
    camera = warm.world.hub.state().camera("front")
    assert camera.status == "degraded"
    assert camera.reason.startswith("capped at ") and " of 10.0 fps: cpu-thermal " in camera.reason, camera.reason


def test_quiet_hours_that_cap_are_told_as_given_up(utc: None) -> None:
    warm = Warm(quiet=QuietConfig(hours="22:00-07:00", max_fps=2))
    warm.run(45.0, 3)
    state = warm.world.hub.state()
    assert state.budget.degraded == "at most 2 fps a camera: quiet hours until 07:00"
    assert state.camera("front").status == "degraded" and state.budget.degraded in state.camera("front").reason


def test_memory_that_leaves_a_lighter_model_only_is_told_as_given_up() -> None:
    warm = Warm()
    warm.run(45.0, 2)
    keeper = warm.world.hub.keeper
    keeper._state = msgspec.structs.replace(
        keeper._state, memory=msgspec.structs.replace(keeper._state.memory, lighter=1, lighter_at=1e9)
    )
    warm.run(45.0, 5)
    camera = warm.world.hub.state().camera("front")
    assert camera.status == "degraded" and "instead of int8 on 1 thread: the memory budget" in camera.reason


def test_limits_are_told_with_the_reason_of_their_own_round() -> None:
    world = serving()
    keeper, config = world.hub.keeper, world.hub.config

    def limited(max_fps: float | None) -> Limits:
        return Limits(cameras=(CameraLimit(camera="front", max_fps=max_fps),))

    keeper._act([Move(kind="rate_cut", reason="it was hot"), limited(5.0)], config)
    assert world.told("limits")[-1].reason == "it was hot"
    keeper._act([limited(None)], config)
    assert world.told("limits")[-1].reason == "full work again"


@pytest.mark.parametrize(("learned", "counted", "told"), [(True, (), 1), (True, ("cpu",), 0), (False, (), 0)])
def test_a_board_that_had_a_sensor_and_has_none_says_so_once(
    learned: bool, counted: tuple[str, ...], told: int
) -> None:
    world = serving()
    kept = thermal_model.begin("int8", 10.0, 50.0) if learned else None
    keeper = BudgetKeeper(world.hub.fleet, world.hub.happened, kept)
    for second in range(60):
        readings = Readings(at_ns=second * 10**9, counted=counted)
        keeper.tick(second * 10**9, 0, world.hub.config, Budgets(temperature=75.0, memory=2**28), readings)
        assert second > 9 or not world.told("sensor_missing"), "a driver may come late"
    assert len(world.told("sensor_missing")) == told
    assert all("75 °C" in (event.reason or "") for event in world.told("sensor_missing"))


def test_what_is_learned_is_of_one_model() -> None:
    world = serving()
    ready = world.hub.fleet.detectors.model
    assert ready is not None
    other = msgspec.structs.replace(ready, name="other")
    units = [budgeting.unit(budget_keeper._points(one, world.hub.config)[0]) for one in (ready, other)]
    assert units == ["model int8, 1 threads, xnnpack", "other int8, 1 threads, xnnpack"]


def test_a_detector_that_leaks_is_followed_by_another_without_a_gap_where_both_have_room() -> None:
    world = serving()
    keeper, config, leaking = world.hub.keeper, world.hub.config, world.detector()
    keeper._carry_out(Recycle(worker="detector", reason="it leaks", overlap=True), config)
    assert leaking.alive and len(world.detectors()) == 2
    world.run(0.1)
    world.gives(detector=world.detectors()[-1])
    world.run(2.0)
    assert not leaking.alive and len(world.detectors()) == 1
    assert not world.told("worker_died")
    world.gives()
    assert world.status() == "ok" and keeper.operating(config.model) == config.model


@pytest.mark.parametrize("overlap", [True, False])
def test_a_detector_that_leaks_is_ended_where_nothing_can_follow_it_beside_it(overlap: bool) -> None:
    world = serving()
    leaking = world.detector()
    world.behave = False
    world.hub.keeper._carry_out(Recycle(worker="detector", reason="it leaks", overlap=overlap), world.hub.config)
    if overlap:
        candidate = world.detectors()[-1]
        candidate.says(ipc.ModelRefused(code="missing", message="The file has gone."))
        candidate.dies(3)
    assert leaking.killed_because == "it leaks"


# ---- time


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The wall clock of the test begins at 22:30."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield patch
    time.tzset()


def test_another_time_zone_holds_from_the_next_minute_on(utc: pytest.MonkeyPatch) -> None:
    world = serving(budget=BudgetConfig(quiet=QuietConfig(hours="22:00-07:00", temperature=60.0)))
    usual = Budgets(temperature=75.0, memory=2**28, temperature_why="it is set")
    quiet = world.hub.in_force(usual)
    assert quiet.temperature == 60.0
    assert quiet.temperature_why == "quiet hours until 07:00; else 75 °C: it is set"
    utc.setenv("TZ", "EAST-09")
    world.run(61)
    assert world.hub.in_force(usual) == usual


def test_quiet_hours_quicken_the_reader_near_their_own_temperature(utc: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    write(root / "proc/stat", "cpu  100 0 0 0 0 0 0 0 0 0\n")
    flip(root / "sys/class/thermal/thermal_zone0/temp", "57000\n")
    world = serving(budget=BudgetConfig(temperature=75.0, quiet=QuietConfig(hours="22:00-07:00", temperature=60.0)))
    daemon = main._Daemon(world.config, lambda: world.config, None, root, False, False, Terminal(False, False))
    daemon._hub = world.hub
    world.messages.clear()
    for _ in range(12):
        daemon._read(world.clock.now_ns())
        world.run(0.25)
    assert world.hub.readings.foreign_cores_lately is not None
    told = [m for m in world.messages if isinstance(m, wire.Health)][-1]
    assert told.temperature_budget == 60.0 and told.budget is not None
    assert told.budget.temperature_why.startswith("quiet hours until 07:00; else 75 °C")


def test_a_jump_of_the_wall_clock_moves_nothing() -> None:
    world = serving()
    world.clock.wall_offset_ns -= 10 * 365 * 86400 * 10**9
    world.run(5, world.gives)
    assert world.status() == "ok" and not world.told("worker_died")


def test_a_hub_that_was_stopped_blames_nobody() -> None:
    world = serving()
    world.run(1, world.gives)
    world.clock.ns += 30 * 10**9
    world.hub.tick(world.clock.ns)
    world.run(3, world.gives)
    assert not world.told("worker_died") and world.status() == "ok"


def test_silence_is_told() -> None:
    world = serving()
    world.messages.clear()
    world.run(20)
    beats = [m for m in world.messages if isinstance(m, wire.Heartbeat)]
    assert len(beats) >= 10 and beats[-1].status == "stale"


def test_a_frame_that_was_looked_at_is_not_called_unseen_because_opened_is_read_later() -> None:
    """Two sockets: the first result of a source may be read before its worker's word that it is open."""
    world = serving()

    def told() -> list[str]:
        return [m.status for m in world.messages if isinstance(m, wire.Detections)]

    world.camera().says(ipc.CameraLost(camera="front", reason="unplugged"))
    world.gives()
    assert told()[-1] == "no_frame", "it was taken before the camera went"
    world.run(0.1)
    assert world.status() == "no_frame"
    world.gives()
    assert (told()[-1], world.status()) == ("ok", "ok")
    world.camera().says(ipc.CameraLost(camera="front", reason="unplugged again"))
    assert world.status() == "no_frame"


# ---- everything at once


class Faults(RuleBasedStateMachine):
    """Whatever fails in whatever order: when it is over, detections come again."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            model={"detectors": 2},
            camera={"a": {"source": "/dev/video0"}, "b": {"source": "/dev/video1", "isolation": "shared"}},
        )
        self.world.hub.start()
        self.world.run(0.5)
        self.outcomes: list[Any] = []
        self.ticked = True
        """Since the number of detectors was last changed."""

    @rule(seconds=st.floats(0.05, 40))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)
        self.ticked = True

    @rule(index=st.integers(0, 5), status=st.sampled_from([-6, -9, -11, -15, 0, 1, 3]))
    def a_worker_dies(self, index: int, status: int) -> None:
        alive = [w for w in self.world.starter.workers if w.alive]
        if alive:
            alive[index % len(alive)].dies(status)
            self.ticked = False  # a replacement may have ended with it: the number is seen to at the next tick

    @rule(index=st.integers(0, 3), stage=st.sampled_from([Stage.INVOKE, Stage.LOAD, Stage.COPY, Stage.GRAB]))
    def a_worker_hangs(self, index: int, stage: Stage) -> None:
        alive = [w for w in self.world.starter.workers if w.alive]
        if alive:
            alive[index % len(alive)].at(stage)

    @rule(what=st.sampled_from(["detector", "camera.a", "cameras", "ring", ""]), number=st.sampled_from([EMFILE, 11]))
    def starting_fails_from_now_on(self, what: str, number: int) -> None:
        self.world.starter.refuses = lambda asked: number if asked == what else None

    @rule()
    def results_come(self) -> None:
        for detector in self.world.detectors():
            if detector.last(ipc.AttachDetector) is not None and detector.pid in self.world._seen:
                self.world.gives("a", detector)

    @rule()
    def another_model_is_asked_for(self) -> None:
        self.world.hub.fleet.replace(ModelConfig(path="/other.tflite", detectors=2), self.outcomes.append)

    @rule(count=st.integers(1, 3))
    def another_number_of_detectors(self, count: int) -> None:
        config = self.world.hub.fleet.detectors.config
        self.ticked = False
        self.world.hub.fleet.set_model(ModelConfig(path=config.path, detectors=count))

    @rule(who=st.sampled_from(["client", "governor"]), held=st.booleans())
    def somebody_holds(self, who: Any, held: bool) -> None:
        limits = self.world.hub.fleet.cameras["a"].limits
        self.world.hub.fleet.limit("a", limits.held(who, "why") if held else limits.released(who), "why")

    @precondition(lambda self: self.world.ended is None)
    @rule()
    def all_is_well_again(self) -> None:
        world = self.world
        world.starter.refuses = lambda asked: None
        for worker in world.starter.workers:
            if worker.alive and worker.stages[0][0] is not Stage.WAIT:
                worker.dies(-9)
        world.run(65)
        self.ticked = True
        for who in ("client", "governor"):
            world.hub.fleet.limit("a", world.hub.fleet.cameras["a"].limits.released(who), "")  # type: ignore[arg-type]
        before = len(world.results("a"))
        for detector in world.detectors():
            world.gives("a", detector)
        world.run(2)
        assert len(world.results("a")) > before

    @invariant()
    def the_house_stands(self) -> None:
        world = self.world
        assert world.ended is None
        detectors = world.hub.fleet.detectors
        assert len(detectors.slots) == detectors.config.detectors or detectors.takeovers or not self.ticked
        # One process a slot, a candidate or one that is leaving: none is forgotten.
        held = [s.process for s in detectors.slots] + [t.candidate.process for t in detectors.takeovers]
        held += [slot.process for slot in detectors._leaving]
        assert {w.pid for w in world.detectors()} <= {p.pid for p in held if p is not None}
        frames = world.results("a")
        assert frames == sorted(set(frames))
        assert world.hub.state().faults == 0


Faults.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestFaults = Faults.TestCase
