"""What the governor is told, what it remembers and what it answers, as values; see `governor`."""

from __future__ import annotations

import math

import msgspec

from vigild.budget.actions import Move
from vigild.budget.ceiling import Ceiling
from vigild.budget.foreign import Foreign
from vigild.budget.observer import Observer
from vigild.budget.operating_points import Ladder, OperatingPoint, Rung
from vigild.budget.sensing import Sensing
from vigild.budget.thermal_model import Belief, ThermalModel


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be held, and with what."""

    ladder: Ladder
    celsius: float | None = None
    """The budget; None: there is no temperature to hold."""
    hysteresis: float = 5.0
    dwell: float = 10.0
    most_fps: float | None = None
    """A cap for all cameras together (quiet hours); None: none."""
    wanted: Rung | None = None
    """All that is wanted, where that is not on the ladder; and"""
    because: str = ""
    """why it is not."""
    refit: str = ""
    """Why this ladder is another than before."""


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and what really ran."""

    celsius: float | None
    """The hottest sensor that the budget is about; None: it gave nothing this time."""
    sensor: str = "temperature"
    stand_in: tuple[str, float] | None = None
    """Another sensor and its °C, over the budget while the one that decides cannot be read."""
    flags: frozenset[str] = frozenset()
    """What limits the board right now: "under_voltage", "throttled", ...; see `ceiling`."""
    measured_fps: float | None = None
    """Inferences a second of all cameras; None: not known, so that what was asked is taken for it."""
    cost: float | None = None
    """Of a frame at the point that really ran; None: it is the one that was asked for."""
    foreign: float = 0.0
    """What other programs ask of the processor, as the reference frames a second that would keep it as busy."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything it remembers."""

    unit: str
    rung: int = 0
    at: Rung | None = None
    """The rung itself: another ladder may have it in another place. None: before the first step."""
    load: float = 0.0
    """Reference frames a second that are granted; from the first step on all of them."""
    rate: float = 0.0
    """Frames a second that this is on the rung."""
    limited: bool = False
    """Less than all that was wanted. What is not stays so when more is wanted: a camera that opens is no reason for a
    cap; what the temperature has to say to it is said in the same step."""
    stepped_at: float = -math.inf
    acted_at: float = -math.inf
    observer: Observer | None = None
    ran_most: float = 0.0
    """The load that really ran at the most, lately."""
    quick_load: float = 0.0
    """The load as the die's temperature follows it, that of other programs included."""
    foreign: Foreign = Foreign()
    sensing: Sensing = Sensing()
    stood_in: bool = False
    """Since the sensor was lost another one has been over the budget."""
    safe_load: float = 0.0
    model: ThermalModel | None = None
    belief: Belief | None = None
    ceiling: Ceiling = Ceiling()
    climbed_at: float = -math.inf
    climb_wait: float = 0.0
    climb_after: float = -math.inf
    threads_at: float = -math.inf
    """When the rung was last changed within its stage."""
    pressed: int = 0
    """Steps in a row in which even the floor of the stage was too much."""
    held: bool = True
    """False: too hot although nothing is left that may be given up."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be in force after this step."""

    point: OperatingPoint
    cameras: tuple[str, ...]
    """Those that run."""
    rate: float
    """Frames a second of all of them together."""
    limited: bool
    """False: the rate is all that is wanted, and no cap is needed."""
    moves: tuple[Move, ...] = ()
    degraded: str = ""
    """What is given up and why; empty while nothing is."""
