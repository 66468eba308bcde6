"""What was probably meant."""

from __future__ import annotations

import pytest

from vigild.closest import MAX_CHARACTERS, closest


@pytest.mark.parametrize(
    ("word", "meant"),
    [("persn", "person"), ("PERSON", "person"), ("traffic lihgt", "Traffic light"), ("zebra", None), ("", None)],
)
def test_the_nearest_as_it_is_written_there(word: str, meant: str | None) -> None:
    assert closest(word, ["person", "Traffic light", "car"]) == meant


def test_of_a_huge_word_the_beginning_is_compared() -> None:
    """All of it would be too unlike, and take forever."""
    assert closest("a" * MAX_CHARACTERS + "b" * 10**6, ["a" * MAX_CHARACTERS]) == "a" * MAX_CHARACTERS
