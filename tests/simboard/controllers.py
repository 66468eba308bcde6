"""Who decides: the governor, nobody, the firmware, a switch, a constant."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from vigild.board.pace import NEAR_CELSIUS
from vigild.budget import governor
from vigild.budget.operating_points import GIVE_UP, Camera, Ladder, OperatingPoint, build


class Sight(NamedTuple):
    """What a controller is shown once a second."""

    celsius: float | None
    flags: frozenset[str]
    measured_fps: float
    foreign: float = 0.0
    """What other programs keep busy, in frames a second of the first operating point."""


class Order(NamedTuple):
    """What it wants."""

    point: OperatingPoint
    rate: float


class Controller(Protocol):
    """`firmware`: whether the board's own throttle is there beside it."""

    name: str
    firmware: bool

    def step(self, sight: Sight, now: float) -> Order: ...

    def glance(self, foreign: float, now: float) -> Order:
        """Between two steps, `drive.GLANCE_S` apart. `foreign`: as in Sight, the lesser of the last two such spans."""
        ...


def ladder_of(points: tuple[OperatingPoint, ...], wanted: tuple[float, ...], min_fps: float = 1.0) -> Ladder:
    """Everything may be given up; the first camera is the most important."""
    cameras = [Camera(name=f"camera{at}", wanted_fps=fps, priority=len(wanted) - at) for at, fps in enumerate(wanted)]
    return build(points, cameras, GIVE_UP, min_fps)


class Governed:
    """vigild's."""

    name, firmware = "governor", True

    def __init__(
        self, points: tuple[OperatingPoint, ...], wanted: tuple[float, ...], budget: float, min_fps: float = 1.0
    ) -> None:
        self.plan = governor.Plan(ladder=ladder_of(points, wanted, min_fps), celsius=budget)
        self.state = governor.begin(str(points[0]))
        self.moves: list[tuple[float, str, str]] = []
        self._near = False
        """The daemon looks that often only near its budget."""
        self._order = Order(points[0], 0.0)

    def step(self, sight: Sight, now: float) -> Order:
        budget = self.plan.celsius
        self._near = sight.celsius is not None and budget is not None and sight.celsius >= budget - NEAR_CELSIUS
        heat = governor.Heat(
            celsius=sight.celsius,
            sensor="cpu-thermal",
            flags=sight.flags,
            measured_fps=sight.measured_fps,
            foreign=sight.foreign,
        )
        self.state, action = governor.step(self.state, self.plan, heat, now)
        return self._ordered(action, now)

    def glance(self, foreign: float, now: float) -> Order:
        if not self._near:
            return self._order
        heat = governor.Heat(celsius=None, sensor="cpu-thermal", foreign=foreign)
        self.state, action = governor.glance(self.state, self.plan, heat, now)
        return self._ordered(action, now)

    def _ordered(self, action: governor.Action, now: float) -> Order:
        self.moves += [(now, move.kind, move.reason) for move in action.moves]
        self._order = Order(action.point, action.rate)
        return self._order


class Constant:
    """One rate for ever."""

    def __init__(self, point: OperatingPoint, rate: float, *, firmware: bool, name: str = "constant") -> None:
        self.name, self.firmware, self._order = name, firmware, Order(point, rate)

    def step(self, sight: Sight, now: float) -> Order:
        return self._order

    def glance(self, foreign: float, now: float) -> Order:
        return self._order


class Switch:
    """Off at the budget, on again below it by the hysteresis."""

    name, firmware = "on/off switch", True

    def __init__(self, point: OperatingPoint, rate: float, budget: float, hysteresis: float = 5.0) -> None:
        self._point, self._rate, self._budget, self._hysteresis, self._on = point, rate, budget, hysteresis, True

    def step(self, sight: Sight, now: float) -> Order:
        if sight.celsius is not None:
            if sight.celsius >= self._budget:
                self._on = False
            elif sight.celsius <= self._budget - self._hysteresis:
                self._on = True
        return Order(self._point, self._rate if self._on else 0.0)

    def glance(self, foreign: float, now: float) -> Order:
        return Order(self._point, self._rate if self._on else 0.0)
