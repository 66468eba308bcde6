"""Whether two builds see the same."""

from __future__ import annotations

import pytest

from vigild.minscores import MinScores
from vigild.tune.agreement import Found, compare, tally

HERE, NEAR, FAR = (0.1, 0.1, 0.5, 0.5), (0.12, 0.1, 0.52, 0.5), (0.6, 0.6, 0.9, 0.9)


def test_the_same_is_the_same() -> None:
    seen = [[Found("cat", 0.9, HERE), Found("dog", 0.6, FAR)], []]
    assert compare(seen, seen, MinScores()) == (1.0, 0.0)


def test_both_directions_count() -> None:
    mine = [[Found("cat", 0.9, HERE)]]
    more = [[Found("cat", 0.7, NEAR), Found("dog", 0.6, FAR)]]
    share, error = compare(mine, more, MinScores())
    assert share == pytest.approx(2 / 3)
    assert error == pytest.approx(0.2)
    assert compare(more, mine, MinScores()).share == pytest.approx(2 / 3)


def test_another_label_or_place_is_no_match() -> None:
    assert compare([[Found("cat", 0.9, HERE)]], [[Found("dog", 0.9, HERE)]], MinScores()).share == 0
    assert compare([[Found("cat", 0.9, HERE)]], [[Found("cat", 0.9, FAR)]], MinScores()).share == 0


def test_a_score_just_below_the_threshold_is_no_miss_and_far_below_is_one() -> None:
    assert compare([[Found("cat", 0.51, HERE)]], [[Found("cat", 0.49, HERE)]], MinScores()).share == 1
    assert compare([[Found("cat", 0.51, HERE)]], [[Found("cat", 0.3, HERE)]], MinScores()).share == 0


def test_nothing_seen_says_nothing() -> None:
    assert compare([[], []], [[], []], MinScores()) == (None, None)


def test_one_detection_matches_one_object() -> None:
    truth = [Found("star", 1.0, HERE), Found("star", 1.0, FAR)]
    twice = [Found("star", 0.9, HERE), Found("star", 0.8, NEAR), Found("star", 0.2, FAR)]
    assert tally(truth, twice, MinScores()) == (1, 1, 1)
