"""The slope of a soak and its interval: what grows is seen, what wavers is not."""

from __future__ import annotations

import random

import pytest

from soak.trend import trend


def test_a_straight_line_is_known_exactly() -> None:
    slope = trend([(float(x), 3.0 + 2.0 * x) for x in range(50)])
    assert slope.per_unit == pytest.approx(2.0)
    assert slope.low == pytest.approx(2.0)
    assert slope.high == pytest.approx(2.0)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(200):
        slope = trend([(float(x), 0.5 * x + chance.gauss(0, 10)) for x in range(100)])
        held += slope.low <= 0.5 <= slope.high
    assert 175 <= held <= 200


def test_what_depends_on_what_was_before_makes_it_wider() -> None:
    chance = random.Random(3)
    independent = [chance.gauss(0, 1) for _ in range(400)]
    following = [0.0]
    for step in independent[1:]:
        following.append(0.9 * following[-1] + step)
    # The same spread of values, and yet less is known of the slope.
    scale = (sum(y * y for y in independent) / sum(y * y for y in following)) ** 0.5
    wide = trend([(float(x), y * scale) for x, y in enumerate(following)])
    narrow = trend([(float(x), y) for x, y in enumerate(independent)])
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("samples", [[(0.0, 1.0), (1.0, 2.0)], [(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]])
def test_too_little_to_say_anything_is_refused(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="a slope needs"):
        trend(samples)
