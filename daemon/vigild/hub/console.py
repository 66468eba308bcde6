"""What a person sees who runs the daemon in a terminal: what runs, how to watch, a line a second.

Everything else the daemon has to say is its log, on stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from vigild import terminal
from vigild.hub.state import CameraState, State
from vigild.terminal import STATUS_COLORS, Part, Screen
from vigild.wire.address import candidates

LINE_S = 1.0
MAX_LABELS = 4
HEAD_COLUMNS = 10
"""Of the introduction: a heading and the gap behind it."""
MIN_SEEN_COLUMNS = 24
"""Are kept for what a camera sees, on a narrow terminal: two labels and their scores."""
PATIENCE_S = 3.0
"""A camera that gives nothing for so long is introduced with the reason instead of its size."""


class Console:
    """Prints to stdout; a closed stdout ends the printing, not the daemon."""

    def __init__(self, state: Callable[[], State], socket_path: str, closed: Callable[[], object]) -> None:
        """`closed`: called once, when nothing can be printed any more."""
        self._closed = closed
        self._state = state
        self._socket = socket_path
        self._next_ns = 0
        self._introduced = False
        self._open = True

    def _print(self, text: str) -> None:
        if not self._open:
            return
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            self._open = False
            self._closed()

    def tick(self, now_ns: int) -> None:
        if not self._open or now_ns < self._next_ns:
            return
        state = self._state()
        if not self._introduced:
            if state.model is not None and (state.results or state.uptime_s > PATIENCE_S):
                self._introduced = True
                self._print(introduction(state, self._socket, Screen.of(sys.stdout)) + "\n")
            return
        self._next_ns = now_ns + int(LINE_S * 1e9)
        screen = Screen.of(sys.stdout)  # the window may have changed
        for camera in state.cameras:
            self._print(line(state, camera, screen))


def introduction(state: State, socket: str, screen: Screen = Screen()) -> str:  # noqa: B008 - a tuple
    """What runs, and how to watch it. `state.model` is not None."""
    model = state.model
    assert model is not None
    rows = [
        ("socket", socket),
        (
            "model",
            f"{model.name} ({model.spec.dtype} {model.spec.width}x{model.spec.height}, {len(model.labels)} labels)",
        ),
        (
            "runtime",
            f"{model.runtime} {model.runtime_version}, delegate {model.delegate} ({model.delegate_nodes} of "
            f"{model.total_nodes} nodes), {model.threads} thread{'s' * (model.threads != 1)}",
        ),
    ]
    for camera in state.cameras:
        size = f"{camera.size[0]}x{camera.size[1]}" if camera.size else camera.reason
        rows.append(("camera", f"{camera.name}: {camera.source} ({size})"))
    rows.append(("watch", _watch_command(socket)))
    rows.append(("", f'or: nc -U {socket}, then type {{"type":"watch"}}'))
    wrapped = (terminal.wrap(f"{key:>8}  {value}", screen.columns, HEAD_COLUMNS) for key, value in rows)
    return "\n".join(line for lines in wrapped for line in lines)


def line(state: State, camera: CameraState, screen: Screen = Screen()) -> str:  # noqa: B008 - a tuple
    """One camera, now, on one line of the screen: what matters less goes first where it is narrow."""
    latency_ms, invoke_ms = (state.latency.get(stage, (0.0, 0.0, 0.0))[0] for stage in ("total", "invoke"))
    hottest = state.readings.hottest
    width = max(terminal.width(camera.name) for camera in state.cameras)
    parts = [
        Part(time.strftime("%H:%M:%S"), 4),
        Part(terminal.pad(camera.name, width)),
        Part(screen.paint(f"{camera.status:8}", STATUS_COLORS.get(camera.status, terminal.RED))),
        Part(f"{camera.inferred_fps:5.1f} fps", 1),
        Part(f"{latency_ms:5.1f} ms", 2),
        Part(f"(invoke {invoke_ms:.1f})", 5),
        Part(f"{hottest.celsius:.0f} °C" if hottest is not None else "no sensor", 3 if hottest is not None else 6),
        Part(f"{state.readings.memory.used_bytes / 2**20:.0f} MiB", 3),
    ]
    # What it sees, or why it does not, comes last and takes what is left: figures go until enough of it shows.
    told = _told(state, camera)
    if screen.columns is None:
        return terminal.one_line([*parts, Part(told)], None)
    room = min(terminal.width(told), screen.columns // 2 if _why(state, camera) else MIN_SEEN_COLUMNS)
    figures = terminal.one_line(parts, screen.columns - room - len(terminal.GAP))
    return screen.fit(f"{figures}{terminal.GAP}{told}")


def _told(state: State, camera: CameraState) -> str:
    return _why(state, camera) or _seen(camera)


def _why(state: State, camera: CameraState) -> str:
    """Why it is not what it should be; what the budgets give up stands for the caps that follow from it."""
    given_up = state.budget.degraded
    if camera.status == "degraded" and given_up and "governor" in camera.limits.caps:
        return given_up
    holds = set(camera.limits.holds)
    if camera.status == "paused" and given_up and holds and holds <= {"governor", "schedule"}:
        return given_up
    return camera.reason if camera.status != "ok" else ""


def _seen(camera: CameraState) -> str:
    found = camera.seen
    if not found:
        return "nothing"
    shown = ", ".join(f"{d.label} {d.score:.2f}" for d in found[:MAX_LABELS])
    return shown + (f" and {len(found) - MAX_LABELS} more" if len(found) > MAX_LABELS else "")


def _watch_command(socket: str) -> str:
    """The command that shows detections, as this user can type it here."""
    import shutil  # brings the compressors along, and a service prints nothing

    by_module = Path(sys.argv[0]).name == "__main__.py"
    program = "vigild" if shutil.which("vigild") else "python -m vigild" if by_module else sys.argv[0]
    found = Path(socket) in candidates(None)
    return f"{program} watch" + ("" if found else f" --socket {socket}")
