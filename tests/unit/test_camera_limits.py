"""Holds and caps of one camera: which frames may go, under a clock of the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.camera.limits import Limits

SECOND = 1_000_000_000


def run(limits: Limits, fps: float, seconds: float, start_ns: int = 0) -> list[int]:
    """The frames that go, by their times, of a source that gives `fps` frames a second."""
    gone = []
    for n in range(round(seconds * fps)):
        now_ns = start_ns + round(n * SECOND / fps)
        if not limits.held and limits.due(now_ns, SECOND / fps):
            limits.passed(now_ns, SECOND / fps)
            gone.append(now_ns)
    return gone


def test_without_limits_all_frames_go() -> None:
    assert len(run(Limits(), 30, 10)) == 300


@pytest.mark.parametrize(("fps", "cap"), [(30, 10), (30, 7), (30, 29), (100, 0.5), (25, 25), (25, 60)])
def test_the_rate_is_kept_on_average(fps: float, cap: float) -> None:
    limits = Limits()
    limits.cap("hub", cap)
    assert len(run(limits, fps, 20)) == pytest.approx(20 * min(fps, cap), abs=1)


def test_the_lowest_cap_wins_and_each_is_undone_by_whom_set_it() -> None:
    limits = Limits()
    limits.cap("hub", 10)
    limits.cap("config", 5)
    assert limits.interval_ns == SECOND / 5
    limits.cap("config", 20)
    assert limits.interval_ns == SECOND / 10
    limits.cap("hub", 0)
    assert limits.interval_ns == SECOND / 20
    limits.cap("config", 0)
    assert limits.interval_ns == 0
    assert limits.due_in_s(0) == 0


def test_a_higher_cap_does_not_wait_for_the_lower_ones_turn() -> None:
    limits = Limits()
    limits.cap("hub", 0.01)
    assert run(limits, 10, 1) == [0]
    limits.cap("hub", 5)
    assert limits.due_in_s(SECOND) <= 0
    assert len(run(limits, 10, 2, start_ns=SECOND)) == pytest.approx(10, abs=1)


def test_a_lower_cap_counts_from_the_last_frame() -> None:
    limits = Limits()
    limits.passed(SECOND, 0.0)
    limits.cap("hub", 0.5)
    assert limits.due_in_s(SECOND) == 2.0


def test_the_first_frame_goes_at_once_however_young_the_clock() -> None:
    limits = Limits()
    limits.cap("hub", 0.001)
    assert limits.due(0, 0.0)


def test_time_on_hold_is_not_caught_up_with() -> None:
    limits = Limits()
    limits.cap("hub", 10)
    run(limits, 100, 1)
    limits.hold(["governor"])
    assert run(limits, 100, 5, start_ns=SECOND) == []
    limits.hold([])
    assert len(run(limits, 100, 1, start_ns=6 * SECOND)) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("holds", "cause"),
    [
        ([], None),
        (["client"], "paused"),
        (["governor"], "held_governor"),
        (["schedule"], "held_schedule"),
        (["gate"], "held_gate"),
        (["governor", "client"], "paused"),
        (["schedule", "governor"], "held_governor"),
    ],
)
def test_the_cause_of_a_hold(holds: list[str], cause: str | None) -> None:
    limits = Limits()
    limits.hold(holds)
    assert limits.held == bool(holds)
    assert limits.hold_cause == cause


@given(
    caps=st.lists(st.sampled_from([0.0, 0.5, 3.0, 10.0, 100.0]), min_size=1, max_size=20),
    jitter=st.lists(st.integers(1, 200), min_size=20, max_size=200),
)
def test_never_more_than_the_highest_cap_so_far_allows(caps: list[float], jitter: list[int]) -> None:
    """Whatever the order of caps and the jitter of frames: n frames take at least n - 2 of the shortest interval."""
    limits = Limits()
    now_ns = 0
    gone: list[int] = []
    highest = max(cap or 1000.0 for cap in caps)
    for n, milliseconds in enumerate(jitter):
        if n % 10 == 0:
            limits.cap("hub", caps[n // 10 % len(caps)])
        now_ns += milliseconds * 1_000_000
        if limits.due(now_ns, 0.0):
            limits.passed(now_ns, 0.0)
            gone.append(now_ns)
    if len(gone) > 2:
        assert gone[-1] - gone[0] >= (len(gone) - 2) * SECOND / highest - 1000
