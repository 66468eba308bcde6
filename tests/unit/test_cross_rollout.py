"""Waves: a canary first, and no further wave after too many failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cross.rollout import Rollout


def run(rollout: Rollout, bad: set[str]) -> list[list[str]]:
    waves = []
    while boards := rollout.next():
        waves.append(boards)
        rollout.done({board: board not in bad for board in boards})
    return waves


def test_one_board_first_then_waves():
    rollout = Rollout("abcdef", wave=3)
    assert run(rollout, set()) == [["a"], ["b", "c", "d"], ["e", "f"]]
    assert rollout.stopped == ""


def test_a_canary_that_fails_ends_it_whatever_else_may_fail():
    rollout = Rollout("abc", max_failed=5)
    assert run(rollout, {"a"}) == [["a"]]
    assert "canary" in rollout.stopped
    assert rollout.untouched == ["b", "c"]


def test_it_stops_after_the_wave_with_one_failure_too_many():
    rollout = Rollout("abcdefg", canary=0, wave=2, max_failed=1)
    assert run(rollout, {"a", "c"}) == [["a", "b"], ["c", "d"]]
    assert rollout.untouched == ["e", "f", "g"]
    assert "2 boards failed" in rollout.stopped


def test_one_board_alone_is_no_canary():
    assert run(Rollout("a"), {"a"}) == [["a"]]


def test_a_wave_is_finished_before_the_next():
    rollout = Rollout("abc", canary=0, wave=1)
    assert rollout.next() == ["a"]
    assert rollout.next() == []
    with pytest.raises(ValueError, match="were begun"):
        rollout.done({"b": True})


@given(st.integers(1, 30), st.integers(0, 3), st.integers(1, 6), st.integers(0, 4), st.sets(st.integers(0, 30)))
def test_every_board_is_done_at_most_once_and_failures_are_bounded(count, canary, wave, max_failed, bad):
    boards = [str(number) for number in range(count)]
    rollout = Rollout(boards, canary=canary, wave=wave, max_failed=max_failed)
    waves = run(rollout, {str(number) for number in bad})
    done = [board for each in waves for board in each]
    assert done + rollout.untouched == boards
    assert bool(rollout.untouched) <= bool(rollout.stopped)
    assert sum(not good for good in rollout.results.values()) <= max_failed + max(wave, canary)
