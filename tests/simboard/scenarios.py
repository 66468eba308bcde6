"""What happens to a board, as a list of moments: at so many seconds, this changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simboard.board import Board

Change = Callable[[Board], None]


@dataclass(frozen=True)
class Scenario:
    """`wanted_fps` of each camera; `changes`: (second, what)."""

    name: str
    seconds: float
    room: float
    changes: tuple[tuple[float, Change], ...] = ()
    wanted_fps: tuple[float, ...] = (30.0,)
    fan_works: bool = True
    noise: float | None = None
    sensor_step: float | None = None
    judge_work: bool = True
    """False: so little is left that a tenth of a degree decides."""
    supply: bool = False
    """It is about flags, after which the governor waits on purpose: the time back is shown, not judged."""
    sudden: bool = False
    """The changes may come at any moment of the second between two decisions: what comes of it is tried as well."""
    profiles: tuple[str, ...] = field(default=("pi4", "pi4-case", "pi5", "pi5-fan"))


def _set(name: str, value: object) -> Change:
    return lambda board: setattr(board, name, value)


def _room(celsius: float) -> Change:
    return _set("room", celsius)


def _rest_below_budget(celsius: float) -> Change:
    """A room in which the board, idle, comes to rest so far below its budget."""

    def change(board: Board) -> None:
        physics = board.physics
        rise = physics.idle_watts * physics.r_board + physics.chip_idle_watts * physics.r_die
        board.room = physics.budget - celsius - rise

    change.relative = True  # type: ignore[attr-defined]
    return change


BARE = ("pi4", "pi4-case", "pi5")

SCENARIOS = {
    "warm room": Scenario("warm room", 3600, 30.0),
    "hot room": Scenario("hot room", 3600, 34.0, wanted_fps=(15.0, 15.0)),
    "22 to 36 °C and back": Scenario(
        "22 to 36 °C and back", 7200, 22.0, ((1800, _room(36.0)), (4500, _room(15.0))), profiles=BARE
    ),
    "other program": Scenario(
        "other program", 5400, 26.0, ((1800, _set("foreign_cores", 0.25)), (3600, _set("foreign_cores", 0.0)))
    ),
    "a core goes": Scenario(
        "a core goes", 3600, 26.0, ((1800, _set("foreign_cores", 1.0)),), sudden=True, profiles=("pi5",)
    ),
    "program in bursts": Scenario(
        "program in bursts", 3600, 26.0, ((1800, _set("bursts", (0.5, 2.0, 15.0))),), profiles=BARE, judge_work=False
    ),
    "short bursts": Scenario(
        "short bursts", 3600, 26.0, ((1800, _set("bursts", (2.0, 0.2, 3.7))),), profiles=BARE, judge_work=False
    ),
    "a job each minute": Scenario(
        "a job each minute", 3600, 26.0, ((1800, _set("bursts", (1.0, 10.0, 60.0))),), profiles=("pi4", "pi5"),
        judge_work=False,
    ),
    "a short job each minute": Scenario(
        "a short job each minute", 3600, 26.0, ((1800, _set("bursts", (1.0, 2.0, 60.0))),), profiles=("pi4", "pi5"),
        judge_work=False,
    ),
    "hardly anything left": Scenario(
        "hardly anything left", 9000, 22.0,
        ((1800, _rest_below_budget(1.5)), (5400, _rest_below_budget(40.0))),
        wanted_fps=(15.0, 15.0), judge_work=False, profiles=BARE,
    ),
    "fan fails": Scenario(
        "fan fails", 7200, 30.0, ((1800, _set("fan_works", False)), (4500, _set("fan_works", True))),
        profiles=("pi5-fan",),
    ),
    "hot enclosure": Scenario("hot enclosure", 3600, 52.0, profiles=("pi5-fan",)),
    "sensor drops out": Scenario(
        "sensor drops out", 3600, 32.0,
        (
            (1500, _set("sensor_works", False)), (1503, _set("sensor_works", True)),
            (2000, _set("sensor_works", False)), (2240, _set("sensor_works", True)),
        ),
    ),
    "noisy, coarse sensor": Scenario("noisy, coarse sensor", 3600, 32.0, noise=0.6, sensor_step=1.0),
    "weak supply": Scenario(
        "weak supply", 3600, 20.0,
        ((600, _set("under_voltage_above", 5.5)), (1800, _set("under_voltage_above", 99.0))),
        supply=True, profiles=("pi4", "pi5"),
    ),
}  # fmt: skip
