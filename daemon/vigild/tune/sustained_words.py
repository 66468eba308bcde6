"""What `vigild tune --sustained` says. Pure."""

from __future__ import annotations

from vigild.catalogue.profile import Sustained
from vigild.tune.bar import left
from vigild.tune.course import OVER_CELSIUS, Plan, Result, Seen, Step

FAN_CELSIUS = 20.0
"""What a fan may take off: its worth is told."""
SHORT_S = 600.0
"""Below it next to no board comes to stand still (tests/simboard)."""

_PHASES = {"rest": "at rest", "load": "under load", "cool": "cooling down", "done": "at the end"}


def begins(setting: str, plan: Plan) -> str:
    """The time estimate."""
    text = (
        f"{setting}: at rest ({_seconds(plan.rest_s)}), under load until the temperature stands still, and cooling "
        f"down; {left(plan.guess_s)}, at most {_seconds(plan.seconds)}. The load is taken back before "
        f"{plan.celsius:g} °C are passed."
    )
    if plan.seconds < SHORT_S:
        text += " In so short a time hardly any board comes to stand still."
    return text


def progress(step: Step, seen: Seen) -> str:
    """ "under load: 68.3 °C, +1.2 °C a minute, 21.4 frames/s; about 12 min left" """
    celsius = f"{seen.celsius:.1f} °C" if seen.celsius is not None else "cannot be read"
    parts = [celsius]
    if step.slope is not None:
        parts.append(f"{round(step.slope, 1) + 0.0:+.1f} °C a minute")  # no "-0.0"
    if step.phase == "load":
        parts.append(f"{seen.fps:.1f} frames/s")
    return f"{_PHASES[step.phase]}: {', '.join(parts)}; {left(step.left_s)} left"


def too_hot(sensor: str, celsius: float, budget: float) -> str:
    """A clause."""
    return (
        f"{sensor} is at {celsius:.1f} °C without any of this work, and the budget is {budget:g} °C: there is no room "
        "for a load; let the board cool down, or raise the budget (--budget temperature=...)"
    )


def failed(result: Result, budget: float, minutes: float, sensor: str) -> str:
    """Why no rate is told: a clause."""
    if result.ended == "hot":
        return f"no rate is told: {too_hot(sensor, result.rest_celsius, budget)}"
    if result.ended == "lost":
        return f"no rate is told: {sensor} cannot be read any more, so the load was stopped"
    if result.ended == "over":
        return (
            f"no rate is told: {sensor} went {OVER_CELSIUS:g} °C above the budget of {budget:g} °C although the load "
            "was taken back, so it was stopped: something else heats the board, or a fan has failed"
        )
    if result.fitted is None:
        return f"no rate is told: {minutes:g} min are too short to learn anything of a board"
    about = f"{result.load:.1f} ± {result.deviation:.1f} frames/s"
    if not result.plateau:
        return (
            f"no rate is told: the temperature did not come to stand still in {minutes:g} min. What was seen would "
            f"make it {about}; with more time it is known: --sustained {2 * minutes:g}"
        )
    return f"no rate is told: what was seen makes it {about}, which is not sure enough; is the room's air steady?"


def held(found: Sustained, setting: str) -> str:
    """The result in a sentence."""
    full = found.full_fps
    gain = (found.die_celsius + found.board_celsius) / full
    text = (
        f"{setting}: {_fps(min(found.fps, full))} ± {found.deviation_fps:.1f} frames/s for ever at {found.celsius:g} °C"
        if found.fps < full
        else f"{setting}: full speed, {_fps(full)} frames/s, for ever below {found.celsius:g} °C"
    )
    text += (
        f", in a room in which it is at {found.rest_celsius:.1f} °C without this work. Full speed adds "
        f"{found.die_celsius:.1f} °C within {_seconds(found.die_seconds)} and {found.board_celsius:.1f} °C within "
        f"{_seconds(found.board_seconds)}."
    )
    if found.fps < full:
        fan = min(found.fps + FAN_CELSIUS / gain, full)
        text += f" With a fan that took {FAN_CELSIUS:g} °C off: {_fps(fan)}."
    if found.flags:
        text += f" The board was limited meanwhile ({', '.join(found.flags).replace('_', ' ')}): see vigild doctor."
    return text


def _fps(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
