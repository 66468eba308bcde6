"""What there is to tell of the budgets now: for health, status and `vigild sensors --model`. Pure.

told = summary(state, settings, cameras, reduced)
told.degraded                  # "11.2 of 15.0 fps: cpu-thermal 74.1 °C, +0.21 °C/s, budget 75 °C"
told.board                     # "11.1 ± 0.4 fps of int8-300 on 4 threads; with a fan that took 20 °C off: 18.0"
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from vigild.budget import schedule, thermal_model
from vigild.budget.budgeting import Settings, State
from vigild.budget.operating_points import Camera


class Warming(msgspec.Struct, frozen=True, kw_only=True):
    """How the board warms, as far as it is learned: a thermal resistance and two time constants. Without a wattmeter
    the resistance is known in °C for a frame a second (of the point in force), not in K/W."""

    rest_celsius: float
    """°C that the sensor would show without this work."""
    die_celsius_per_fps: float
    die_seconds: float
    """Time constant of what comes within seconds."""
    board_celsius_per_fps: float
    board_seconds: float
    """Time constant of what comes within minutes."""
    celsius_per_fps_deviation: float
    """Standard deviation of the two gains' sum."""
    sure: bool
    """False: a careful guess as yet."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What budgets give up, how often they moved, and how the board warms."""

    degraded: str
    """What is given up and why; empty while nothing is."""
    point: str
    moves: Mapping[str, int]
    reduced: bool = False
    """A lighter model serves than is wanted, or one with fewer threads."""
    board: str = ""
    """What this board could hold for ever, in words; empty while nothing is known."""
    warming: Warming | None = None
    """None while nothing is known."""


def summary(state: State, settings: Settings, cameras: Sequence[Camera] = (), reduced: bool = False) -> Summary:
    """What there is to tell, now. `cameras`: with all that is wanted; `reduced`: see `Summary`."""
    point = str(state.point) if state.point is not None else ""
    degraded = _given_up(state, settings, cameras, reduced)
    told = Summary(degraded=degraded, point=point, moves=state.counts, reduced=reduced)
    belief = state.heat.belief if state.heat is not None else None
    if belief is None or settings.temperature is None or state.point is None:
        return told
    foreign = state.heat.foreign.load if state.heat is not None else 0.0
    full = state.plan.ladder.rungs[0].full_fps if state.plan is not None else state.point.capacity_fps
    board = thermal_model.describe(belief, settings.temperature, state.point.cost, point, full, foreign)
    return msgspec.structs.replace(told, board=board, warming=warming(belief, state.point.cost))


def warming(belief: thermal_model.Belief, cost: float = 1.0) -> Warming:
    """`cost`: of a frame of the point that is told of, in reference frames."""
    return Warming(
        rest_celsius=belief.rest,
        die_celsius_per_fps=belief.die_gain * cost,
        die_seconds=belief.die_s,
        board_celsius_per_fps=belief.board_gain * cost,
        board_seconds=belief.board_s,
        celsius_per_fps_deviation=math.hypot(belief.die_deviation, belief.board_deviation) * cost,
        sure=belief.sure,
    )


def _given_up(state: State, settings: Settings, cameras: Sequence[Camera], reduced: bool) -> str:
    """What the governor gives up, and what it does not know of: quiet hours' cap."""
    parts = [state.limits.degraded] if state.limits is not None and state.limits.degraded else []
    quiet = settings.quiet if state.quiet else None
    if quiet is not None and quiet.max_fps is not None and not quiet.pause:
        capped = any(camera.wanted_fps is None or camera.wanted_fps > quiet.max_fps for camera in cameras)
        if capped:
            parts.append(f"at most {quiet.max_fps:g} fps a camera: {schedule.until(quiet)}")
    if reduced and not parts:
        parts.append("a lighter model than is wanted, until that one is loaded")
    return "; ".join(parts)
