"""What the budgets ask of the daemon, as values. Whoever owns cameras, slots and workers carries them out.

for action in actions:
    match action:
        case Limits(): ...      # per camera: the cap and the holds; the whole picture, every time it changes
        case UsePoint(): ...    # run the detectors like this from now on (a takeover)
        case Trim(): ...        # give back what can be done without
        case Recycle(): ...     # start this worker anew
        case Move(): ...        # tell people: event, log, health, counter
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vigild.budget.operating_points import OperatingPoint

Holder = Literal["governor", "schedule"]

MoveKind = Literal[
    "rate_cut",
    "rate_raised",
    "step_down",
    "step_up",
    "sensor_lost",
    "sensor_back",
    "not_held",
    "held_again",
    "memory_trim",
    "memory_recycle",
    "quiet_begins",
    "quiet_ends",
]
"""What moves are counted by."""


class Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One thing to do."""


class CameraLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera may do, as far as budgets are concerned. Others' holds and caps stay as they are."""

    camera: str
    max_fps: float | None = None
    """None: no cap."""
    holds: tuple[Holder, ...] = ()
    """Empty: it runs, as far as budgets are concerned."""


class Limits(Action, frozen=True, kw_only=True):
    """Of every camera: replaces what an earlier one said."""

    cameras: tuple[CameraLimit, ...]
    degraded: str = ""
    """What is given up and why, as a clause; empty while nothing is."""


class UsePoint(Action, frozen=True, kw_only=True):
    """The operating point that is wanted from now on: a takeover."""

    point: OperatingPoint
    beside: bool = True
    """There is room for it beside the one that runs. False: that one is ended first."""


class Trim(Action, frozen=True, kw_only=True):
    """Empty caches, keep queues short and let the allocator give back what it holds; `on` False: as usual again."""

    on: bool = True


class Recycle(Action, frozen=True, kw_only=True):
    """End this worker and start it anew, its clients connected: it holds memory that it should not."""

    worker: str
    """Its name as the memory readings have it."""
    reason: str
    overlap: bool = False
    """There is room for its successor beside it: the one may take over from the other. False: end it first."""


class Move(Action, frozen=True, kw_only=True):
    """Something that people are told: one event, one line of the log, one count."""

    kind: MoveKind
    reason: str
    """ "from 15.0 to 11.2 fps: cpu-thermal 74.1 °C, +0.21 °C/s, budget 75 °C" """
