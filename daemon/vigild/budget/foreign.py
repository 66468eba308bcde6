"""What other programs take of the processor, as far as it has to be counted on. Pure.

    foreign = follow(foreign, now_taken, full_load, seconds, now)
    foreign.load                       # reference frames a second

Their heat reaches the die with ours, and the kernel tells of their work before the sensor tells of the heat: a core
that another program takes warms the die of the simulated bare Pi 5 by 1 °C in the first second and 4 °C in ten. So what
jumps up is believed at once. What falls, and what changes a little, is followed slowly. A program that works every few
seconds is taken for what of its work reaches the die, at the most: the rate must not dance to it.
"""

from __future__ import annotations

import math

import msgspec

from vigild.budget.observer import JUMP_S

JUMP = 0.1
"""Part of all the work from which more is believed at once."""
FOLLOW_S = 10.0
"""Time constant otherwise: the dwell before work is added again, about."""
AGAIN_S = 40.0
"""Two jumps within this are a program that comes and goes: for so long it is expected back."""
FORGOTTEN_S = 3 * AGAIN_S
"""Time constant with which the most that reached the die is forgotten, while more may come."""


class Foreign(msgspec.Struct, frozen=True):
    """What is counted on, and why."""

    load: float = 0.0
    lagged: float = 0.0
    """What was taken, as a die follows it: work that ends soon does not warm it in full."""
    most: float = 0.0
    """Of `lagged`, lately."""
    peak: float = 0.0
    """What was taken at the most, since it comes and goes."""
    jumped_at: float = -math.inf
    restless_until: float = -math.inf


def follow(foreign: Foreign, taken: float, full_load: float, seconds: float, now: float) -> Foreign:
    """One more look: `taken` in the `seconds` before `now`, in reference frames a second, as `full_load`."""
    lagged = taken + (foreign.lagged - taken) * math.exp(-seconds / JUMP_S)
    most = max(lagged, foreign.most * math.exp(-seconds / FORGOTTEN_S))
    restless = now < foreign.restless_until
    known = max(foreign.peak, foreign.load) if restless else foreign.load
    if taken - known > JUMP * full_load:
        again = now - foreign.jumped_at < AGAIN_S
        return Foreign(taken, lagged, most, taken, now, now + AGAIN_S if again else foreign.restless_until)
    if restless:
        back = taken >= foreign.peak - JUMP * full_load
        until = now + AGAIN_S if back else foreign.restless_until
        return Foreign(most, lagged, most, foreign.peak, foreign.jumped_at, until)
    load = taken + (foreign.load - taken) * math.exp(-seconds / FOLLOW_S)
    return Foreign(load, lagged, lagged, 0.0, foreign.jumped_at, foreign.restless_until)
