"""Two thermal nodes: the die (seconds) on the board with its heat sink (minutes) in the room.

    C_board dT_board/dt = P - (T_board - T_room) / R_board
    C_die   dT_die/dt   = P_chip - (T_die - T_board) / R_die

Watts, kelvins, seconds, joules. Integrated exactly for constant power over a step of the die.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, replace

from vigild.budget.operating_points import OperatingPoint

MEASURED_S = 2.0
"""Over which the daemon counts its frames."""
FIRMWARE_SOFT, FIRMWARE_HARD = 80.0, 85.0
"""°C between which a Pi's firmware slows the ARM cores progressively (raspberrypi/documentation,
frequency-management.adoc)."""


@dataclass(frozen=True)
class Physics:
    """One board. `profiles` says where the numbers are from."""

    name: str
    idle_watts: float
    """All of it, without this work."""
    work_watts: float
    """What all cores busy add."""
    chip_idle_watts: float
    """Of idle_watts, what leaves through the die."""
    r_board: float
    c_board: float
    r_die: float
    c_die: float
    cores: float
    cpu_s: float
    """CPU seconds that a frame of the first operating point takes."""
    points: tuple[OperatingPoint, ...]
    slowest: float = 0.4
    """Clock at FIRMWARE_HARD, part of the highest."""
    fan: tuple[tuple[float, float], ...] = ()
    """(trip °C, r_board from there on); the first trip's 5 °C hysteresis is every trip's."""
    lag_s: float = 1.0
    """Of the sensor."""
    sensor_step: float = 0.487
    noise: float = 0.25
    budget: float = 75.0
    """°C, as the daemon would choose it: 5 below the firmware's 80, or between that and a fan's highest trip."""

    def varied(self, resistance: float = 1.0, capacity: float = 1.0, lag: float = 1.0) -> Physics:
        """A board that is not what it was thought to be."""
        return replace(
            self,
            r_board=self.r_board * resistance,
            r_die=self.r_die * resistance,
            fan=tuple((trip, r * resistance) for trip, r in self.fan),
            c_board=self.c_board * capacity,
            c_die=self.c_die * capacity,
            lag_s=self.lag_s * lag,
        )


class Board:
    """One board at work. All that is random comes from `seed`."""

    STEP_S = 0.5

    def __init__(self, physics: Physics, room: float, seed: int = 1, *, firmware: bool = True) -> None:
        self.physics = physics
        self.room = room
        self.firmware = firmware
        self.fan_works = True
        self.sensor_works = True
        self.sensor_sticks = False
        self.under_voltage_above = math.inf
        """Watts from which the supply gives in."""
        self.foreign_cores = 0.0
        """What other programs keep busy all the time."""
        self.bursts: tuple[float, float, float] = (0.0, 1.0, 10.0)
        """And now and then: (cores, for so many seconds, of every so many)."""
        self.foreign_s = 0.0
        """CPU seconds that they have taken so far."""
        self.frames = 0.0
        """Inferred so far."""
        self.seconds = 0.0
        self.fan_level = 0
        self.board = room + physics.idle_watts * self.r_board
        self.die = self.board + physics.chip_idle_watts * physics.r_die
        self.seen = self.die
        self.watts = physics.idle_watts
        self.rate = 0.0
        """Frames a second that were really inferred in the last step."""
        self.clock = 1.0
        self._random = random.Random(seed)
        self._counted: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        """(seconds, frames) of the last MEASURED_S."""
        self._stuck: float | None = None

    @property
    def r_board(self) -> float:
        if not self.physics.fan or not self.fan_works or self.fan_level == 0:
            return self.physics.r_board
        return self.physics.fan[self.fan_level - 1][1]

    @property
    def foreign_now(self) -> float:
        """Cores that other programs keep busy at this moment."""
        cores, on_s, every_s = self.bursts
        return self.foreign_cores + (cores if self.seconds % every_s < on_s else 0.0)

    def foreign_ahead(self, seconds: float) -> float:
        """CPU seconds that other programs take in the next so many."""
        cores, on_s, every_s = self.bursts

        def burst_s(until: float) -> float:
            return until // every_s * on_s + min(until % every_s, on_s)

        return self.foreign_cores * seconds + cores * (burst_s(self.seconds + seconds) - burst_s(self.seconds))

    def step(self, point: OperatingPoint, rate: float, seconds: float = STEP_S) -> None:
        """So many seconds, STEP_S at the most, with the detector asked for `rate` frames a second of `point`."""
        physics = self.physics
        span = FIRMWARE_HARD - FIRMWARE_SOFT
        over = min(max((self.die - FIRMWARE_SOFT) / span, 0.0), 1.0) if self.firmware else 0.0
        self.clock = 1.0 - (1.0 - physics.slowest) * over
        self.rate = min(rate, point.capacity_fps * self.clock)
        busy = min(self.rate * point.cost * physics.cpu_s / self.clock, physics.cores)
        foreign_s = self.foreign_ahead(seconds)
        # At a lower clock the voltage is lower too: a busy core takes about the square of the clock.
        watts_a_core = physics.work_watts / physics.cores
        work = watts_a_core * (busy * self.clock**2 + foreign_s / seconds)
        self.watts = physics.idle_watts + work
        self._fan()
        self._settle(work, seconds)
        self.frames += self.rate * seconds
        self.foreign_s += foreign_s
        self.seconds += seconds
        self._counted.append((self.seconds, self.frames))
        while self.seconds - self._counted[1][0] > MEASURED_S - 1e-6:
            self._counted.popleft()
        lag = math.exp(-seconds / max(physics.lag_s, 1e-3))
        self.seen = self.die + (self.seen - self.die) * lag

    def _settle(self, work: float, seconds: float) -> None:
        physics, r_board = self.physics, self.r_board
        board_end = self.room + (physics.idle_watts + work) * r_board
        self.board = board_end + (self.board - board_end) * math.exp(-seconds / (r_board * physics.c_board))
        die_end = self.board + (physics.chip_idle_watts + work) * physics.r_die
        self.die = die_end + (self.die - die_end) * math.exp(-seconds / (physics.r_die * physics.c_die))

    def _fan(self) -> None:
        trips = [trip for trip, _ in self.physics.fan]
        while self.fan_level < len(trips) and self.die >= trips[self.fan_level]:
            self.fan_level += 1
        while self.fan_level > 0 and self.die < trips[self.fan_level - 1] - 5.0:
            self.fan_level -= 1

    def read(self) -> float | None:
        """What the sensor answers; None: nothing."""
        if not self.sensor_works:
            return None
        if self.sensor_sticks:
            if self._stuck is None:
                self._stuck = self._quantised()
            return self._stuck
        self._stuck = None
        return self._quantised()

    def _quantised(self) -> float:
        step = self.physics.sensor_step
        return round((self.seen + self._random.gauss(0.0, self.physics.noise)) / step) * step

    def flags(self) -> frozenset[str]:
        """What the firmware says limits the board."""
        found = set()
        if self.watts > self.under_voltage_above:
            found.add("under_voltage")
        if self.clock < 1.0:
            found.add("throttled")
        return frozenset(found)

    def measured_fps(self) -> float:
        """As the daemon counts it: over MEASURED_S."""
        at, frames = self._counted[0]
        return (self.frames - frames) / (self.seconds - at) if self.seconds > at else 0.0

    def watts_of(self, point: OperatingPoint, rate: float) -> float:
        """What the board takes at the full clock."""
        physics = self.physics
        busy = min(min(rate, point.capacity_fps) * point.cost * physics.cpu_s, physics.cores)
        return physics.idle_watts + physics.work_watts * (busy + self.foreign_now) / physics.cores

    def peak_if_kept(self, point: OperatingPoint, rate: float) -> float:
        """The highest die temperature if `rate` ran for ever from now on, in this room, without the firmware's help."""
        physics = self.physics
        work = self.watts_of(point, rate) - physics.idle_watts
        drop = (physics.chip_idle_watts + work) * physics.r_die
        return max(self.board, self.room + (physics.idle_watts + work) * self.r_board) + drop
