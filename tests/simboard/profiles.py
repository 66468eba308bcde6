"""The boards, fixed before the governor was: published plateaus, and what had to be assumed to meet them.

Nobody publishes thermal resistances or time constants of these boards. What there is:

PI4_BARE    27.3 °C room, thermocouple on the package, four-core sysbench: 54.7 °C idle, 65.8 °C under load; the
            on-board reading reaches about 80 °C (pi-plates.com). Hence R_board and R_die for the assumed watts.
PI4_CASE    Flirc metal case: a plateau of about 70 °C, and more than 10 min to cool back (djstein.com). The room
            (25 °C) and the watts are assumed.
PI5_BARE    22 °C room, four-core stress-ng: 80 °C within a few minutes (pidiylab.com). That it would end at 95 °C
            without its firmware, and the watts, are assumed.
PI5_FAN     the same with the fan of its device tree: trips at 50 / 60 / 67.5 / 75 °C, 5 °C hysteresis, PWM 75 / 125 /
            175 / 250 (raspberrypi/linux, bcm2712-rpi-5-b.dts). What each does to R_board is assumed.

Assumed throughout: watts of the boards, the die's heat capacity (3 to 6 s), the split of the idle watts, the lag of
the sensors. The sensor's step of 0.487 °C is that of a Pi 4's readings. Costs and rates of the operating points: 60 ms
with 3 threads on a Pi 4 against 180 with one, and about half on a Pi 5 (Frigate issue 322 and ultralytics PR 25564, for
other models of that size), with what more threads waste assumed.
"""

from __future__ import annotations

from simboard.board import Physics
from vigild.budget.operating_points import OperatingPoint


def _points(speed: float) -> tuple[OperatingPoint, ...]:
    """`speed`: times a Pi 4. The lighter variants cost what their pixels do."""

    def point(variant: str, threads: int, cost: float, fps: float) -> OperatingPoint:
        return OperatingPoint(variant=variant, threads=threads, delegate="xnnpack", cost=cost, capacity_fps=fps * speed)

    return (
        point("int8-300", 4, 1.0, 18.0),
        point("int8-300", 2, 0.86, 10.5),
        point("int8-256", 4, 0.73, 24.0),
        point("int8-256", 2, 0.63, 14.4),
        point("int8-192", 2, 0.36, 25.0),
    )


PI4_BARE = Physics(
    name="Pi 4, bare",
    idle_watts=4.55, work_watts=1.85, chip_idle_watts=2.65,
    r_board=6.02, c_board=50.0, r_die=3.16, c_die=1.3,
    cores=4, cpu_s=4 / 18.0, points=_points(1.0),
)  # fmt: skip

PI4_CASE = Physics(
    name="Pi 4, metal case",
    idle_watts=4.55, work_watts=1.85, chip_idle_watts=2.65,
    r_board=5.95, c_board=130.0, r_die=1.5, c_die=2.6,
    cores=4, cpu_s=4 / 18.0, points=_points(1.0),
)  # fmt: skip

PI5_BARE = Physics(
    name="Pi 5, bare",
    idle_watts=3.5, work_watts=5.5, chip_idle_watts=2.0,
    r_board=5.5, c_board=47.0, r_die=3.13, c_die=1.2,
    cores=4, cpu_s=4 / 40.0, points=_points(40.0 / 18.0), sensor_step=0.55,
)  # fmt: skip

PI5_FAN = Physics(
    name="Pi 5, fan",
    idle_watts=3.5, work_watts=5.5, chip_idle_watts=2.0,
    r_board=5.5, c_board=60.0, r_die=2.0, c_die=1.8,
    cores=4, cpu_s=4 / 40.0, points=_points(40.0 / 18.0), sensor_step=0.55,
    budget=77.5, fan=((50.0, 4.2), (60.0, 3.4), (67.5, 2.9), (75.0, 2.4)),
)  # fmt: skip

SMALL = Physics(
    name="small",
    idle_watts=3.0, work_watts=6.0, chip_idle_watts=1.5,
    r_board=6.0, c_board=1.7, r_die=2.0, c_die=1.25,
    cores=2, cpu_s=1 / 20,
    points=(
        OperatingPoint(variant="int8-256", threads=2, delegate="xnnpack", capacity_fps=200.0),
        OperatingPoint(variant="int8-192", threads=1, delegate="xnnpack", cost=0.4, capacity_fps=300.0),
    ),
    lag_s=0.5, sensor_step=0.1, noise=0.1, budget=60.0,
)  # fmt: skip
"""No board that there is: it takes 10 s where others take minutes, for a test of the running daemon has to wait for it.
The governor counts in real seconds, so it is the board that has to be quick, not its clock. The die takes some seconds
as others do."""

PROFILES = {"pi4": PI4_BARE, "pi4-case": PI4_CASE, "pi5": PI5_BARE, "pi5-fan": PI5_FAN}


def idle_rise(physics: Physics) -> float:
    """°C of the idle die above the room, with the fan at its highest."""
    r_board = physics.fan[-1][1] if physics.fan else physics.r_board
    return physics.idle_watts * r_board + physics.chip_idle_watts * physics.r_die
