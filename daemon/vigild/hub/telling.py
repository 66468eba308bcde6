"""What is made of an event: lines of the log, and what clients are told. Functions of the event alone.

for logger, level, text in log_lines(event): ...
for message in wire_events(event, wall_ns): ...
"""

from __future__ import annotations

import logging

from vigild.fleet import events
from vigild.hub import answers
from vigild.ipc.messages import ModelReady
from vigild.wire import messages as wire

Line = tuple[str, int, str]
"""(which part of the daemon speaks, level as in `logging`, text)"""


def log_lines(event: events.Event) -> list[Line]:
    """What the log says of it."""
    match event:
        case events.SlotReady(ready=ready):
            return _ready_lines(ready)
        case events.SlotStarted(rung=rung):
            return [("detector", logging.INFO, f"trying delegate {rung} again")]
        case events.TrialFailed(rung=rung, reason=reason):
            return [("detector", logging.INFO, f"delegate {rung} still fails: {reason}")]
        case events.DelegateChanged(reason=reason):
            return [("detector", logging.INFO, f"delegate: {reason}")]
        case events.SlotFailed(slot=slot, reason=reason):
            return [(slot, logging.ERROR, reason.removeprefix(f"{slot} "))]
        case events.CameraWorkerFailed(worker=worker, reason=reason):
            return [(worker, logging.ERROR, reason.removeprefix(f"{worker} "))]
        case events.ModelUnusable(reason=reason):
            return [("hub", logging.ERROR, reason)]
        case events.BudgetMoved(reason=reason):
            return [("budget", logging.WARNING, reason)]
        case events.Noticed(reason=reason, camera=camera):
            return [("hub", logging.WARNING, f"camera {camera}: {reason}" if camera else reason)]
        case _:
            return []


def _ready_lines(ready: ModelReady) -> list[Line]:
    threads = f"{ready.threads} thread{'' if ready.threads == 1 else 's'}"
    said = (
        f"model {ready.name} ({ready.variant}) on {ready.runtime} {ready.runtime_version}, delegate {ready.delegate} "
        f"({ready.delegate_nodes} of {ready.total_nodes} nodes), {threads}; loaded in {ready.load_ms:.0f} ms"
    )
    return [
        ("detector", logging.INFO, said),
        *(("detector", logging.DEBUG, note) for note in ready.notes),
        *(("detector", logging.WARNING, warning) for warning in ready.warnings),
    ]


def wire_events(event: events.Event, wall_ns: int) -> list[wire.Event]:
    """What clients are told of it, in protocol 1."""
    time = wire.wall_time(wall_ns)

    def told(kind: str, reason: str, camera: str | None = None) -> list[wire.Event]:
        return [wire.Event(kind=kind, camera=camera, reason=reason, time=time)]

    match event:
        case events.SlotFailed(reason=reason):
            return told("worker_died", reason)
        case events.SlotBack(slot=slot):
            return told("worker_back", f"{slot} works again")
        case events.DelegateChanged(reason=reason):
            return told("delegate", reason)
        case events.ModelTaken(ready=ready):
            return [wire.Event(kind="model", time=time, model=answers.model_info(ready))]
        case events.ModelUnusable(reason=reason):
            return told("model_unusable", reason)
        case events.CameraWorkerFailed(cameras=cameras, reason=reason):
            return [message for camera in cameras for message in told("worker_died", reason, camera)]
        case events.CameraWorkerBack(worker=worker, cameras=cameras):
            return [message for camera in cameras for message in told("worker_back", f"{worker} works again", camera)]
        case events.CameraOpened(camera=camera, detail=detail):
            return told("camera_back", detail, camera)
        case events.CameraLost(camera=camera, reason=reason):
            return told("camera_lost", reason, camera)
        case events.CameraEnded(camera=camera, reason=reason):
            return told("ended", reason, camera)
        case events.CameraAdded(camera=camera, source=source):
            return told("camera_added", source, camera)
        case events.CameraRemoved(camera=camera):
            return told("camera_removed", "no longer in the configuration", camera)
        case events.LimitsChanged():
            return _limits(event, time)
        case events.BudgetMoved(reason=reason):
            return told("budget", reason)
        case events.Reloaded(done=done):
            return told("reload", done)
        case events.ReloadRefused(reason=reason):
            return told("reload_failed", reason)
        case events.Noticed(kind=kind, reason=reason, camera=camera):
            return told(kind, reason, camera)
        case events.FaultOfOurs(where=where, error=error):
            return told("fault", f"a fault of the daemon's own in {where}: {error}")
        case events.Stopping(reason=reason):
            return told("stopping", reason)
        case _:
            return []


def _limits(event: events.LimitsChanged, time: str) -> list[wire.Event]:
    """Paused and resumed are words of their own; other moves are "limits"."""
    before, after = event.before, event.limits
    if before.runs and not after.runs:
        kind = "paused"
    elif after.runs and not before.runs:
        kind = "resumed"
    else:
        kind = "limits"
    return [wire.Event(kind=kind, camera=event.camera, reason=event.reason, time=time)]
