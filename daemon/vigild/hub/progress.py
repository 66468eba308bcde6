"""What systemd is told of the State: whether the daemon does what it is for, and a line of figures. Pure."""

from __future__ import annotations

from vigild.hub.state import CameraState, State
from vigild.hub.systemd import Figures, Progress


def progress(state: State) -> Progress:
    """Whether results come, and if none can, why: in the words that clients are told."""
    working = [camera for camera in state.cameras if not _idle(camera)]
    idle = None
    if not working:
        idle = "; ".join(f"{camera.name}: {_idle(camera)}" for camera in state.cameras) or "no camera"
    repair = None
    if working and not state.expected_to_work:
        reasons = [worker.reason for worker in state.workers if worker.kind == "detector" and worker.reason]
        repair = reasons[0] if reasons else "no detector yet"
    rates = [camera.wanted_fps for camera in working]
    return Progress(
        results=state.results, idle=idle, repair=repair, period_s=1 / max(rates) if rates and all(rates) else 0.0
    )


def figures(state: State) -> Figures:
    """What the status line is made of."""
    model, hottest = state.model, state.readings.hottest
    return Figures(
        cameras={camera.name: camera.inferred_fps if not _idle(camera) else camera.status for camera in state.cameras},
        celsius=hottest.celsius if hottest is not None else None,
        used_bytes=state.readings.memory.used_bytes,
        budget_bytes=state.budgets.memory,
        operating_point=f"{model.name} {model.variant} on {model.delegate}" if model else "",
    )


def _idle(camera: CameraState) -> str:
    """Why this camera gives nothing that could be inferred; empty when it does."""
    return camera.reason or camera.status if camera.status in ("paused", "no_frame") else ""
