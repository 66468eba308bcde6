"""What other programs take of the processor, as far as it has to be counted on. Pure.

    foreign = follow(foreign, now_taken, full_load, seconds, now)
    foreign = glance(foreign, now_taken, full_load, now)      # in between: only a jump is news
    foreign.load                       # reference frames a second

Their heat reaches the die with ours, and the kernel tells of their work before the sensor tells of the heat: a core
that another program takes warms the die of the simulated bare Pi 5 by 1 °C in the first second and 4 °C in ten. So what
jumps up is believed at once. What falls, and what changes a little, is followed slowly. A program that works every few
seconds, or every minute, is taken for what of its work reaches the die, at the most: the rate must not dance to it.
"""

from __future__ import annotations

import math

import msgspec

from vigild.budget.observer import JUMP_S

JUMP = 0.1
"""Part of all the work from which more is believed at once."""
SAME_S = 2.0
"""What rises so soon after a jump is the rest of it: the looks that showed it first had begun before it did. Two looks
of a second see all of it."""
FOLLOW_S = 10.0
"""Time constant otherwise: the dwell before work is added again, about."""
AGAIN_S = 100.0
"""Two jumps within this, and less between them, are a program that comes and goes. To follow one that comes less often
costs two changes a minute or fewer, about."""
EXPECTED_PART, LEAST_EXPECTED_S = 1.5, 40.0
"""It is expected back for so much of the time between the two, and for so long at least."""
LOOKS = 2.0
"""Glances of half a second in a look: what it shows may all have been in one of them."""
BACK_PART = 0.4
"""Of the way from the least to the most it is back: half may be in the look before or after, and some of it noise."""
LEAST_COMING = 0.5
"""Of a jump; what differs by less than this stays and does not come."""
FORGOTTEN = 3.0
"""The most that reached the die is forgotten with so many times that as its time constant, while more may come."""


class Foreign(msgspec.Struct, frozen=True):
    """What is counted on, and why."""

    load: float = 0.0
    lagged: float = 0.0
    """What was taken, as a die follows it: work that ends soon does not warm it in full."""
    most: float = 0.0
    """Of `lagged`, lately; and"""
    coming: float = 0.0
    before: float = 0.0
    """of the present coming, and of the one before, of what comes and goes: these are not forgotten until then."""
    peak: float = 0.0
    """What was taken at the most, since it comes and goes; and"""
    gust: float = 0.0
    """the same of glances, to which short work looks larger."""
    quiet: float = math.inf
    """What was taken at the least meanwhile."""
    there: bool = False
    """Nearer to the most than to the least, at the last look."""
    jumped_at: float = -math.inf
    jumped_to: float = 0.0
    expected_s: float = 0.0
    """For so long it is expected back."""
    restless_until: float = -math.inf


def follow(foreign: Foreign, taken: float, full_load: float, seconds: float, now: float) -> Foreign:
    """One more look: `taken` in the `seconds` before `now`, in reference frames a second, as `full_load`."""
    lagged = taken + (foreign.lagged - taken) * math.exp(-seconds / JUMP_S)
    most = max(lagged, foreign.most * math.exp(-seconds / (FORGOTTEN * max(foreign.expected_s, LEAST_EXPECTED_S))))
    foreign = msgspec.structs.replace(foreign, lagged=lagged, most=most)
    if _risen(foreign, taken, max(foreign.peak, foreign.gust), full_load, now):
        return msgspec.structs.replace(_jumped(foreign, taken, full_load, now), peak=max(foreign.peak, taken))
    if now < foreign.restless_until:
        peak, quiet = max(foreign.peak, taken), min(foreign.quiet, taken)
        comes = peak - quiet > LEAST_COMING * JUMP * full_load
        there = comes and taken >= quiet + BACK_PART * (peak - quiet)
        # One that stays does not come.
        came = there and not foreign.there
        before, coming = (foreign.coming, lagged) if came else (foreign.before, max(foreign.coming, lagged))
        until = now + foreign.expected_s if came else foreign.restless_until
        return msgspec.structs.replace(
            foreign, load=max(most, coming, before), coming=coming, before=before,
            peak=peak, quiet=quiet, there=there, restless_until=until,
        )  # fmt: skip
    load = taken + (foreign.load - taken) * math.exp(-seconds / FOLLOW_S)
    return msgspec.structs.replace(
        foreign, load=load, most=lagged, coming=0.0, before=0.0, peak=0.0, gust=0.0, quiet=math.inf, there=False
    )


def glance(foreign: Foreign, taken: float, full_load: float, now: float) -> Foreign:
    """A short look between two: `taken` of late. Unless it has jumped there is no news, and the same comes back."""
    if _risen(foreign, taken, max(LOOKS * foreign.peak, foreign.gust), full_load, now):
        return msgspec.structs.replace(_jumped(foreign, taken, full_load, now), gust=max(foreign.gust, taken))
    return foreign


def _risen(foreign: Foreign, taken: float, expected: float, full_load: float, now: float) -> bool:
    """By a jump, or the rest of one. `expected`: of what comes and goes."""
    known = max(foreign.load, expected) if now < foreign.restless_until else foreign.load
    return taken - known > (0.0 if now - foreign.jumped_at < SAME_S else JUMP * full_load)


def _jumped(foreign: Foreign, taken: float, full_load: float, now: float) -> Foreign:
    since = now - foreign.jumped_at
    if since < SAME_S:
        return msgspec.structs.replace(foreign, load=taken, jumped_to=taken)
    fallen = foreign.jumped_to - foreign.load > LEAST_COMING * JUMP * full_load
    foreign = msgspec.structs.replace(foreign, load=taken, jumped_at=now, jumped_to=taken)
    if since >= AGAIN_S or not fallen:
        return foreign
    expected = max(EXPECTED_PART * since, LEAST_EXPECTED_S)
    return msgspec.structs.replace(foreign, expected_s=expected, restless_until=now + expected)
