"""What happens in the daemon, as values. Made where it happens, and nowhere else.

    event = CameraLost(camera="front", reason="unplugged")

The log, the wire, the counters and State are functions of these (`hub.telling`, `hub.hub`): who notices
something says so once, here, and knows nobody who listens. Reasons are sentences for people, without a
full stop.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from vigild.fleet.limits import Limits
from vigild.ipc.messages import ModelReady, Result, Snapshot


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events."""


# ---- detectors


class SlotStarted(Event, frozen=True, kw_only=True):
    """A detector worker was started, or could be started again."""

    slot: str
    rung: str


class SlotReady(Event, frozen=True, kw_only=True):
    """Its model passed the dry run."""

    slot: str
    ready: ModelReady
    serves: bool
    """False: it runs beside those in service, and has to prove itself first."""


class ResultArrived(Event, frozen=True, kw_only=True):
    """One inferred frame of a detector in service."""

    slot: str
    result: Result
    arrived_ns: int


class SlotFailed(Event, frozen=True, kw_only=True):
    """A detector in service ended, or could not be started; it is started again after `delay_s`."""

    slot: str
    reason: str
    """With what is done about it: "detector killed by SIGABRT in invoke(); restarted, 1 of 5 in the last minute"."""
    delay_s: float


class SlotBack(Event, frozen=True, kw_only=True):
    """Its first result after a failure."""

    slot: str


class DelegateChanged(Event, frozen=True, kw_only=True):
    """Another rung of the delegate ladder from now on."""

    slot: str
    reason: str


class TrialFailed(Event, frozen=True, kw_only=True):
    """The rung above was tried beside the one in service, and still fails."""

    slot: str
    rung: str
    reason: str


class ModelTaken(Event, frozen=True, kw_only=True):
    """This model serves from now on."""

    ready: ModelReady


class ModelUnusable(Event, frozen=True, kw_only=True):
    """There is no detector, and there will be none with this configuration."""

    reason: str


# ---- cameras


class CameraWorkerFailed(Event, frozen=True, kw_only=True):
    """The process of these cameras ended, or could not be started; it is started again after `delay_s`."""

    worker: str
    cameras: list[str]
    reason: str
    delay_s: float


class CameraWorkerBack(Event, frozen=True, kw_only=True):
    """One of its cameras delivers again; told of all of them, as the failure was."""

    worker: str
    cameras: list[str]


class CameraOpened(Event, frozen=True, kw_only=True):
    camera: str
    detail: str


class CameraLost(Event, frozen=True, kw_only=True):
    camera: str
    reason: str


class CameraEnded(Event, frozen=True, kw_only=True):
    """The source came to its end; every result of it was told before."""

    camera: str
    reason: str
    lost: int = 0
    """Pictures of the source that could not be read."""


class CameraAdded(Event, frozen=True, kw_only=True):
    camera: str
    source: str


class CameraRemoved(Event, frozen=True, kw_only=True):
    camera: str


class LimitsChanged(Event, frozen=True, kw_only=True):
    """A camera's holds or caps are others now."""

    camera: str
    before: Limits
    limits: Limits
    reason: str


class SnapshotTaken(Event, frozen=True, kw_only=True):
    """The answer to a TakeSnapshot. Whoever listens closes `memfd`."""

    snapshot: Snapshot
    memfd: int | None


# ---- the daemon itself


class BudgetMoved(Event, frozen=True, kw_only=True):
    """A budget gave something up, or gave it back."""

    move: str
    """What kind of move, for counting (`budget.actions.MoveKind`)."""
    reason: str


class FaultOfOurs(Event, frozen=True, kw_only=True):
    """An exception that nobody expected. What it belonged to goes on, or is started again."""

    where: str
    error: str


class Reloaded(Event, frozen=True, kw_only=True):
    done: str


class ReloadRefused(Event, frozen=True, kw_only=True):
    reason: str


class Noticed(Event, frozen=True, kw_only=True):
    """Something an operator should know that is none of the above: a file that changed, a socket made again."""

    kind: str
    """The word for programs."""
    reason: str
    camera: str | None = None


class Stopping(Event, frozen=True, kw_only=True):
    reason: str = "the daemon stops"


Emit = Callable[[Event], None]
