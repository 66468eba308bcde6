"""What was probably meant."""

from __future__ import annotations

import pytest

from vigild.closest import closest


@pytest.mark.parametrize(
    ("word", "meant"),
    [("persn", "person"), ("PERSON", "person"), ("traffic lihgt", "Traffic light"), ("zebra", None), ("", None)],
)
def test_the_nearest_as_it_is_written_there(word: str, meant: str | None) -> None:
    assert closest(word, ["person", "Traffic light", "car"]) == meant


def test_a_huge_word_costs_no_more_than_a_long_one() -> None:
    assert closest("x" * 10**6, ["person"]) is None
