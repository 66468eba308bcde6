"""How much work there really is: what was inferred while nothing held it back. Pure.

    carried = follow(carried, of, measured, granted)
    carried.fps                         # None: not known yet, or other work by now

A source may give more or less than it says, or say nothing; a detector may carry more than was measured of it once, two
of them less than twice as much. What is taken for all of the work decides what heat is foretold, from when on something
is given up, and when all is back: so it is what was seen, as soon as it was.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

LOOKS = 30
"""Seconds that are looked back over: a camera that is dark or away for a moment is not all there is."""
FIRST_LOOKS = 5
"""The same while nothing is known yet."""
MORE_LOOKS = 3
"""In a row with more than was known: that is believed sooner, because it heats."""
STEADY = 0.5
"""With less than this part of the most in between, something came or went: that says nothing of how much there is."""
BINDS = 0.93
"""Of what is granted, from which on it is the grant that holds it back."""
CHANGE = 0.02
"""Part by which less must be less: a window's edge is worth nothing."""


class Carried(msgspec.Struct, frozen=True):
    """Of all cameras together, at one operating point."""

    of: Hashable = None
    """What it was measured of."""
    fps: float | None = None
    seen: tuple[float, ...] = ()
    """Frames a second lately, the oldest first, since no less was granted."""
    granted: float | None = None


def follow(carried: Carried, of: Hashable, measured: float, granted: float | None) -> Carried:
    """One more second. `of`: what work it is (cameras, what they want, the point): of another one nothing is known.
    `measured`: inferred of late, frames a second. `granted`: so many were allowed; None: all that come."""
    if of != carried.of:
        return Carried(of=of, granted=granted)
    more = carried.granted is not None and (granted is None or granted > carried.granted)
    seen = () if more else (*carried.seen, measured)[-LOOKS:]
    fps = carried.fps
    lately = seen[-MORE_LOOKS:]
    if granted is None and len(lately) == MORE_LOOKS and fps is not None and min(lately) > fps:
        fps = min(lately)
    elif len(seen) >= (FIRST_LOOKS if fps is None else LOOKS) and min(seen) > STEADY * max(seen):
        most = max(seen)
        free = granted is None or most < BINDS * granted
        if free and (fps is None or most < fps * (1 - CHANGE)):
            fps = most
    return Carried(of=of, fps=fps, seen=seen, granted=granted)
