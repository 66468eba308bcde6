"""How much work there really is: what sources give, and what the detectors carry. Pure.

    given = follow_given(given, "front", said=25.0, gives=30.0)       # one camera, once a second
    carried = follow_carried(carried, of, thought=18.0, offered=30.0, measured=12.0, cameras=1)
    given.fps, carried.fps              # None: not known

A source may give more or less than it says, or say nothing; a detector may carry more than was measured of it once, two
of them less than twice as much. What is taken for all of the work decides what heat is foretold, from when on something
is given up, and when all is back: so it is what was seen, as soon as it was.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import msgspec

LOOKS = 30
"""Seconds that are looked back over: a camera that is dark or away for a moment is not all there is."""
FIRST_LOOKS = 5
"""The same while nothing is known yet."""
MORE_LOOKS = 2
"""In a row with more than was known: that is believed sooner, because it heats."""
STEADY = 0.5
"""With less than this part of the most in between, something came or went: that says nothing of how much there is."""
SHORT, SHORT_FPS = 0.07, 0.4
"""Part of what is offered, and frames a second of each camera, by which less was inferred than was offered, where it is
the detectors that do not carry more: a count over three seconds may be a frame short."""
CHANGE = 0.02
"""Part by which it must differ: a window's edge is worth nothing."""


class Given(msgspec.Struct, frozen=True):
    """Frames a second of a source, whatever is taken of them."""

    of: Hashable = None
    fps: float | None = None
    seen: tuple[float, ...] = ()


class Carried(msgspec.Struct, frozen=True):
    """Frames a second of all cameras together that the detectors carry at one operating point."""

    of: Hashable = None
    """The point that it was measured of."""
    fps: float | None = None
    seen: tuple[float, ...] = ()
    """Lately, the oldest first, as long as it was less than was offered."""
    more: tuple[float, ...] = ()
    """The last looks."""


def follow_given(given: Given, of: Hashable, said: float | None, gives: float) -> Given:
    """One more second. `of`: what source it is; `said`: what it says of itself; `gives`: what came of late."""
    if of != given.of:
        given = Given(of=of)
    seen = (*given.seen, gives)[-LOOKS:]
    known = given.fps if given.fps is not None else said
    fps = _more(known, seen[-MORE_LOOKS:])
    if fps is None:
        fps = _steady(given.fps, said, seen)
    return Given(of=of, fps=fps if fps is not None else given.fps, seen=seen)


def follow_carried(
    carried: Carried, of: Hashable, thought: float, offered: float, measured: float, cameras: int
) -> Carried:
    """One more second. `of`: the point; `thought`: what it carries as far as was known before, inf: nothing was;
    `offered`: what cameras give and caps let through, inf where as much comes as is taken; `measured`: what was
    inferred."""
    if of != carried.of:
        carried = Carried(of=of)
    more = (*carried.more, measured)[-MORE_LOOKS:]
    short = math.isinf(offered) or offered - measured > SHORT * offered + SHORT_FPS * cameras
    seen = (*carried.seen, measured)[-LOOKS:] if short else ()
    known = carried.fps if carried.fps is not None else None if math.isinf(thought) else thought
    fps = _more(known, more)
    if fps is None:
        fps = _steady(carried.fps, known, seen)
    return Carried(of=of, fps=fps if fps is not None else carried.fps, seen=seen, more=more)


def _more(known: float | None, lately: Sequence[float]) -> float | None:
    """More than was known, that came in each of the last looks."""
    least = min(lately)
    return least if known is not None and len(lately) == MORE_LOOKS and least > known * (1 + CHANGE) else None


def _steady(fps: float | None, known: float | None, seen: Sequence[float]) -> float | None:
    """Less than was known, or the first that is, if it was so for long enough."""
    if len(seen) < (FIRST_LOOKS if fps is None else LOOKS) or min(seen) <= STEADY * max(seen):
        return None
    most = max(seen)
    return most if known is None or abs(most - known) > CHANGE * known else None
