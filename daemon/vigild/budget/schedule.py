"""Hours with limits of their own: a fan that may not run at night, a shop that is closed.

    quiet = Quiet(start=22 * 60, end=7 * 60, temperature=60.0)
    active(quiet, minute_of_day=23 * 60)      # True
    in_force(budgets, quiet)                  # budgets, with these 60 °C where they are the lower ones

The one part of the budgets that goes by the clock on the wall: whoever calls gives the minute of the day. Pure.
"""

from __future__ import annotations

import re
from typing import Protocol

import msgspec

from vigild.board.budgets import Budgets

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)

DAY_MINUTES = 24 * 60


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """What holds from `start` to `end`, minutes of the day; an end before the start is on the next day."""

    start: int
    end: int
    temperature: float | None = None
    """°C; None: the usual budget."""
    max_fps: float | None = None
    """Of each camera; None: no cap."""
    pause: bool = False
    """Nothing is detected at all."""


class Configured(Protocol):
    """`config.budget.quiet`: None is what is not set."""

    @property
    def hours(self) -> str: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def max_fps(self) -> float | None: ...
    @property
    def pause(self) -> bool: ...


def of(configured: Configured) -> Quiet | None:
    """The hours that are configured; None: there are none."""
    if not configured.hours:
        return None
    start, end = hours(configured.hours)
    return Quiet(
        start=start, end=end, temperature=configured.temperature, max_fps=configured.max_fps, pause=configured.pause
    )


def hours(text: str) -> tuple[int, int]:
    """(start, end) of "22:00-07:00", minutes of the day. Raises ValueError."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f'found {text!r}, expected two times of the day, such as "22:00-07:00"')
    start_h, start_m, end_h, end_m = map(int, match.groups())
    start, end = 60 * start_h + start_m, 60 * end_h + end_m
    if start == end:
        raise ValueError(f"found {text!r}, expected two different times; for the whole day use the usual budget")
    return start, end


def active(quiet: Quiet | None, minute_of_day: int) -> bool:
    """Whether it holds at this minute."""
    if quiet is None:
        return False
    since = (minute_of_day - quiet.start) % DAY_MINUTES
    return since < (quiet.end - quiet.start) % DAY_MINUTES


def in_force(budgets: Budgets, quiet: Quiet | None) -> Budgets:
    """The budgets of now: in quiet hours (None: there are none now) their temperature, where it is the lower one."""
    if quiet is None or quiet.temperature is None or quiet.temperature >= budgets.temperature:
        return budgets
    why = f"{until(quiet)}; else {budgets.temperature:g} °C: {budgets.temperature_why}"
    return msgspec.structs.replace(budgets, temperature=quiet.temperature, temperature_why=why)


def until(quiet: Quiet) -> str:
    """ "quiet hours until 07:00" """
    return f"quiet hours until {told(quiet.end)}"


def told(minute: int) -> str:
    """ "07:00" """
    return f"{minute // 60:02d}:{minute % 60:02d}"
