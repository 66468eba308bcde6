"""Which sensor decides, of several: the warmest, and a lost one goes on deciding by not being there. Pure.

    deciding, seen, moves = decide(deciding, readings, budget, now)
    seen.sensor, seen.celsius            # None: the sensor that decides cannot be read, or there is none

Another sensor says nothing of how warm the lost one's place is: the next warmest, ten degrees cooler, would be a reason
for all the work there is. It is heard again once it is over the budget itself.
"""

from __future__ import annotations

import math

import msgspec

from vigild.board.readings import LOST_S, Hottest, Readings
from vigild.budget.actions import Move

GAP_S = LOST_S + 1.0
"""So long a reading may be missing until it is known whether the sensor is lost or only asleep, and one period more."""


class Deciding(msgspec.Struct, frozen=True):
    """What is remembered of the sensors."""

    sensor: str = ""
    """The one that was the warmest; empty: there was none yet."""
    missed_at: float = math.inf
    """Since when it cannot be read."""
    lost: tuple[str, ...] = ()
    """Others that were told as lost."""


def decide(
    deciding: Deciding, readings: Readings, budget: float | None, now: float
) -> tuple[Deciding, Hottest | None, tuple[Move, ...]]:
    """One reading. `budget`: °C; None: there is none. Of what comes back the sensor is another than `Deciding.sensor`
    where it stands in for that one."""
    hottest, sensor, missed_at = readings.hottest, deciding.sensor, math.inf
    if sensor in readings.counted and sensor not in readings.temperatures:
        missed_at = min(deciding.missed_at, now)
        if sensor in readings.lost or now - missed_at < GAP_S:
            heard = hottest is not None and budget is not None and hottest.celsius > budget
            hottest = hottest if heard else None
        else:
            missed_at = math.inf  # it sleeps
    if hottest is not None and math.isinf(missed_at):
        sensor = hottest.sensor
    lost = tuple(name for name in readings.lost if name != sensor)
    rest = f"; {sensor} can, and decides alone" if sensor in readings.temperatures else ""
    moves = [
        Move(kind="sensor_lost", reason=f"{name} cannot be read any more{rest}")
        for name in lost
        if name not in deciding.lost and sensor
    ]
    moves += [
        Move(kind="sensor_back", reason=f"{name} can be read again: {readings.temperatures[name]:.1f} °C")
        for name in deciding.lost
        if name in readings.temperatures
    ]
    return Deciding(sensor=sensor, missed_at=missed_at, lost=lost), hottest, tuple(moves)
