"""What is made of detections before clients see them: the order of frames, the filter, the chain."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vigild.ipc.messages import RawDetection, Result
from vigild.minscores import MinScores
from vigild.perception.chain import Chain
from vigild.perception.filter import Filter
from vigild.perception.observation import Observation, observed
from vigild.perception.order import WAIT_S, Order

WHOLE = (0.0, 0.0, 1.0, 1.0)


def detection(label: str, score: float) -> RawDetection:
    return RawDetection(label, 0, score, WHOLE)


def result(frame: int, after: int = 0, detections: list[RawDetection] | None = None) -> Result:
    return Result(
        link=1, camera="front", frame=frame, after=after, captured_ns=0, wall_ns=0, width=640, height=480, decode_ns=0,
        convert_ns=0, wait_ns=0, copy_ns=0, invoke_ns=0, post_ns=0, detections=detections or [],
    )  # fmt: skip


def seen(*detections: RawDetection, truncated: bool = False) -> Observation:
    best_first = sorted(detections, key=lambda d: -d.score)
    given = result(1, detections=best_first)
    given.truncated = truncated
    return observed(given)


# ---- the filter


def kept(filter_: Filter, observation: Observation) -> tuple[list[str], bool]:
    _, left = filter_(None, observation, 0)
    return [d.label for d in left.detections], left.truncated


def test_below_the_threshold_nothing_is_reported() -> None:
    filter_ = Filter(scores=MinScores(configured=0.5), max_results=20)
    assert kept(filter_, seen(detection("cat", 0.5), detection("dog", 0.49))) == (["cat"], False)


def test_beyond_the_limit_the_rest_is_cut_and_that_is_said() -> None:
    filter_ = Filter(scores=MinScores(configured=0.5), max_results=2)
    three = seen(detection("a", 0.9), detection("b", 0.8), detection("c", 0.7))
    assert kept(filter_, three) == (["a", "b"], True)
    assert kept(filter_, seen(detection("a", 0.9), detection("b", 0.8), detection("c", 0.3))) == (["a", "b"], False)


def test_labels_that_are_not_wanted_take_no_place() -> None:
    both = seen(detection("cat", 0.9), detection("dog", 0.8))
    assert kept(Filter(scores=MinScores(configured=0.5), max_results=1, allowed=["dog"]), both) == (["dog"], False)
    assert kept(Filter(scores=MinScores(configured=0.5), max_results=1, denied=["cat"]), both) == (["dog"], False)


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    filter_ = Filter(scores=MinScores(own={"person": 0.3, "cat": 0.8}), max_results=20)
    found = seen(detection("person", 0.35), detection("cat", 0.7), detection("dog", 0.6), detection("bird", 0.35))
    assert kept(filter_, found) == (["dog", "person"], False)


def test_what_the_detector_cut_off_matters_only_if_all_it_passed_is_reported() -> None:
    filter_ = Filter(scores=MinScores(configured=0.5), max_results=20)
    assert kept(filter_, seen(detection("a", 0.9), truncated=True)) == (["a"], True)
    assert kept(filter_, seen(detection("a", 0.9), detection("b", 0.1), truncated=True)) == (["a"], False)


# ---- the chain


class Count:
    """A step with a memory: how many observations it has had."""

    name = "count"

    def __init__(self, more: int = 1) -> None:
        self._more = more

    def begin(self) -> int:
        return 0

    def __call__(self, state: Any, observation: Observation, now_ns: int) -> tuple[int, Observation]:
        state += self._more
        return state, Observation(**{**_fields(observation), "frame": state})


def _fields(observation: Observation) -> dict[str, Any]:
    return {name: getattr(observation, name) for name in observation.__struct_fields__}


def test_a_step_remembers_and_its_successor_goes_on_with_it() -> None:
    chain = Chain([Filter(scores=MinScores(configured=0.5), max_results=20), Count()])
    assert [chain.observe(seen(), 0).frame for _ in range(3)] == [1, 2, 3]
    chain.change([Count(10)])
    assert chain.observe(seen(), 0).frame == 13


# ---- the order

BOTH = ("detector", "detector.2")


def frames(results: list[Result]) -> list[int]:
    return [result.frame for result in results]


def test_one_detector_never_waits() -> None:
    order = Order()
    assert frames(order.arrived(result(5, after=4), "detector", ["detector"], 0)) == [5]


def test_a_later_frame_waits_for_the_earlier_one() -> None:
    order = Order()
    assert frames(order.arrived(result(1, after=0), "detector", BOTH, 0)) == [1]
    assert frames(order.arrived(result(3, after=2), "detector.2", BOTH, 0)) == []
    assert frames(order.arrived(result(2, after=1), "detector", BOTH, 0)) == [2, 3]


def test_an_earlier_frame_that_was_superseded_is_not_waited_for() -> None:
    order = Order()
    order.arrived(result(1), "detector", BOTH, 0)
    assert frames(order.arrived(result(3, after=2), "detector.2", BOTH, 0)) == []
    # The other one skipped frame 2 for frame 4.
    assert frames(order.arrived(result(4, after=3), "detector", BOTH, 0)) == [3, 4]


def test_a_detector_that_dies_is_not_waited_for() -> None:
    order = Order()
    order.arrived(result(1), "detector", BOTH, 0)
    order.arrived(result(3, after=2), "detector.2", BOTH, 0)
    assert frames(order.changed(["detector.2"])) == [3]


def test_nothing_waits_for_ever() -> None:
    order = Order()
    order.arrived(result(1), "detector", BOTH, 0)
    order.arrived(result(3, after=2), "detector.2", BOTH, 0)
    assert frames(order.overdue(int(WAIT_S * 1e9))) == []
    assert frames(order.overdue(int(WAIT_S * 1e9) + 1)) == [3]
    assert frames(order.arrived(result(2, after=1), "detector", BOTH, 0)) == [], "too late: 3 was told"
    assert order.late == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans()), max_size=80), st.data())
def test_results_leave_in_the_order_of_their_frames(plan: list[tuple[bool, int, bool]], data: st.DataObject) -> None:
    """Whichever detector is how late, whatever is skipped, killed or slow: numbers only rise, and all come out."""
    order = Order()
    pending: dict[str, list[Result]] = {name: [] for name in BOTH}
    told: list[int] = []
    frame = now = 0
    for second, gap, superseded in plan:
        name = BOTH[second]
        before, frame = frame, frame + 1 + gap
        if superseded and pending[name]:
            pending[name].pop()
        pending[name].append(result(frame, after=before))
        now += 10_000_000
        busy = data.draw(st.sampled_from(BOTH))
        if pending[busy] and data.draw(st.booleans()):
            told += frames(order.arrived(pending[busy].pop(0), busy, BOTH, now))
        if data.draw(st.integers(0, 20)) == 0:
            pending[busy] = []
            told += frames(order.changed([name for name in BOTH if name != busy]))
    for name in BOTH:
        for late in pending[name]:
            told += frames(order.arrived(late, name, BOTH, now))
    told += frames(order.all())
    assert told == sorted(set(told))
    assert len(order) == 0
