"""In which order settings are measured, what is given up after one round, and how long it still takes.

    for candidate in order(candidates, round_number, SEED): ...
    dropped = hopeless({key: p50_ms, ...})            # key: why
    left_s = estimate(...)

Each round measures every setting once, shortly, in a new order: a board that gets warm or busy slows all
of them alike, and no setting is always measured behind the same other one. One process runs at a
time, so that the memory of one suffices. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

SEED = 20
"""Of the orders; any number, always the same, so that a run can be repeated."""

HOPELESS = 8.0
"""p50 by the best p50 on the same delegate: nobody will use such a setting, and judging it would take long."""

START_S = 2.0
"""A process with NumPy and a runtime, before one was seen."""

Key = tuple[str, str, int]
"""Variant, delegate, threads."""
T = TypeVar("T")


def order(items: Sequence[T], round_: int, seed: int = SEED) -> list[T]:
    """The items as round `round_` (from 1) takes them."""
    return random.Random(f"{seed}/{round_}").sample(list(items), len(items))


def hopeless(p50_ms: Mapping[Key, float]) -> dict[Key, str]:
    """Of what one round gave: what is not worth another one, and why.

    Each delegate by itself: where an Edge TPU is the fastest, the best one without it must be known too.
    """
    given_up = {}
    for delegate in dict.fromkeys(delegate for _, delegate, _ in p50_ms):
        on_it = {key: value for key, value in p50_ms.items() if key[1] == delegate}
        best = min(on_it.values())
        for key, value in on_it.items():
            if value > HOPELESS * best:
                times = f"{value / best:.0f} times slower than the fastest on {delegate}"
                given_up[key] = f"given up after one round: {times}"
    return given_up


class Job(NamedTuple):
    """Something that is still to be done."""

    kind: str
    """ "timing" or "accuracy" """
    key: Key
    guess_s: float
    """How long it takes, if nothing like it was done yet."""


def estimate(left: Iterable[Job], spent: Iterable[tuple[str, Key, float]]) -> float:
    """Seconds that `left` will take. `spent`: what was done, (kind, key, seconds).

    A setting takes what it took before; one that was not tried, the mean of its kind.
    """
    by_key: dict[tuple[str, Key], float] = {}
    by_kind: dict[str, list[float]] = {}
    for kind, key, seconds in spent:
        by_key[kind, key] = seconds
        by_kind.setdefault(kind, []).append(seconds)
    total = 0.0
    for job in left:
        known = by_kind.get(job.kind)
        mean = sum(known) / len(known) if known else job.guess_s
        total += by_key.get((job.kind, job.key), mean)
    return total
