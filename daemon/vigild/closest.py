"""The known word most like one that nobody knows: for `did you mean ...?`."""

from __future__ import annotations

from collections.abc import Iterable

MAX_CHARACTERS = 64
"""Of a word that is looked for: the time of a comparison grows with its square."""

CUTOFF = 0.6
"""What difflib takes by itself: six tenths of the letters in the same order."""


def closest(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> str | None:
    """One of `known`, as it is written there, or None; upper and lower case are the same."""
    # Imported when somebody has mistyped something: most daemons never need it.
    import difflib

    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(word[:MAX_CHARACTERS].casefold(), folded, 1, cutoff)
    return folded[near[0]] if near else None
