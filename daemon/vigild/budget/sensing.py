"""Whether a reading can be believed: gone, stuck, or a jump that no board makes.

    sensing, moves = judge(sensing, celsius, "cpu-thermal", quick_load, gain, now)
    sensing.celsius, sensing.fresh, sensing.lost

Failing is to the safe side: what cannot be believed is not a low temperature. Pure.
"""

from __future__ import annotations

import math

import msgspec

from vigild.budget.actions import Move

LOST_S = 4.0
"""Without a reading for so long, the sensor is lost; single ones are missed by healthy sensors (EAGAIN)."""
SANE_CELSIUS = (-40.0, 150.0)
"""Outside of this a sensor is off or lying."""
JUMP_CELSIUS = 20.0
"""In one period no die does this downwards. Believed when it stays for JUMP_READINGS."""
JUMP_READINGS = 3
STUCK_S = 60.0
"""A reading that is the same for so long to the last bit,"""
STUCK_CELSIUS = 4.0
"""while the load has changed by so many °C, is stuck."""


class Sensing(msgspec.Struct, frozen=True):
    """Of one sensor."""

    celsius: float | None = None
    """The last that was believed."""
    fresh: bool = False
    """Whether that is of this step."""
    seen_at: float = math.nan
    """When it was believed last; NaN before the first step."""
    lost: bool = False
    odd: int = 0
    """Jumps in a row."""
    same_since: float = math.nan
    same_gain: float = 0.0
    """What was known of the board when the reading became the same: from then on a stuck sensor teaches nonsense."""
    least_load: float = 0.0
    most_load: float = 0.0
    """Of the load while the reading was the same."""


def judge(
    old: Sensing, celsius: float | None, sensor: str, quick_load: float, gain: float, now: float
) -> tuple[Sensing, tuple[Move, ...]]:
    """One more reading. `quick_load`, `gain`: the load as the die follows it, and °C per unit of it."""
    if celsius is not None and not SANE_CELSIUS[0] <= celsius <= SANE_CELSIUS[1]:
        celsius = None
    seen_at = now if math.isnan(old.seen_at) else old.seen_at
    odd = 0
    if celsius is not None and old.celsius is not None and not old.lost and abs(celsius - old.celsius) > JUMP_CELSIUS:
        odd = old.odd + 1
        if odd < JUMP_READINGS:
            celsius = None
    same = celsius is None or celsius == old.celsius
    same_since = old.same_since if same and not math.isnan(old.same_since) else now
    least = min(old.least_load, quick_load) if same else quick_load
    most = max(old.most_load, quick_load) if same else quick_load
    same_gain = old.same_gain if same and not math.isnan(old.same_since) else gain
    stuck = same and now - same_since >= STUCK_S and (most - least) * same_gain >= STUCK_CELSIUS
    if celsius is not None and not stuck:
        moves = (Move(kind="sensor_back", reason=f"{sensor} can be read again: {celsius:.1f} °C"),) if old.lost else ()
        return Sensing(celsius, True, now, False, 0, same_since, same_gain, least, most), moves
    lost = old.lost or stuck or now - seen_at >= LOST_S
    moves = ()
    if lost and not old.lost:
        what = f"shows {celsius:.1f} °C whatever the load" if celsius is not None else "cannot be read"
        moves = (Move(kind="sensor_lost", reason=f"{sensor} {what}: from now on the last safe load, less a tenth"),)
    return Sensing(old.celsius, False, seen_at, lost, odd, same_since, same_gain, least, most), moves
