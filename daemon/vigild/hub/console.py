"""What a person sees who runs the daemon in a terminal: what runs, how to watch, a line a second.

Everything else the daemon has to say is its log, on stderr.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from vigild.config.source import redact
from vigild.hub.health import Monitor
from vigild.hub.hub import Hub
from vigild.wire.address import candidates

LINE_S = 1.0
MAX_LABELS = 4
PATIENCE_S = 3.0
"""A camera that gives nothing for so long is introduced with the reason instead of its size."""


class Console:
    """Prints to stdout; a closed stdout ends the printing, not the daemon."""

    def __init__(self, hub: Hub, monitor: Monitor, socket_path: str) -> None:
        self._hub = hub
        self._monitor = monitor
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

    def tick(self, now_ns: int) -> None:
        if not self._introduced:
            waited_s = (now_ns - self._hub.started_ns) / 1e9
            if self._hub.model is not None and (self._hub.results or waited_s > PATIENCE_S):
                self._introduce()
            return
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + int(LINE_S * 1e9)
            for name in self._hub.cameras:
                self._print(self._line(name, now_ns))

    def _introduce(self) -> None:
        hub, model = self._hub, self._hub.model
        assert model is not None
        self._introduced = True
        rows = [
            ("socket", self._socket),
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
        for name, camera in hub.cameras.items():
            size = f"{camera.size[0]}x{camera.size[1]}" if camera.size else camera.reason
            rows.append(("camera", f"{name}: {redact(camera.config.source)} ({size})"))
        rows.append(("watch", _watch_command(self._socket)))
        rows.append(("", f'or: nc -U {self._socket}, then type {{"type":"watch"}}'))
        self._print("\n".join(f"{key:>8}  {value}" for key, value in rows) + "\n")

    def _line(self, name: str, now_ns: int) -> str:
        hub, monitor = self._hub, self._monitor
        camera = hub.cameras[name]
        fps = camera.inferred_rate.per_second(now_ns / 1e9)
        latency_ms, invoke_ms = hub.stages["total"].percentiles()[0], hub.stages["invoke"].percentiles()[0]
        hottest = monitor.hottest_celsius
        heat = f"{hottest:.0f} °C" if hottest is not None else "no sensor"
        memory = f"{monitor.memory.total_bytes / 2**20:.0f} MiB"
        status = camera.told or "no_frame"
        seen = camera.reason if status == "no_frame" else self._seen(name)
        return (
            f"{time.strftime('%H:%M:%S')}  {name}  {status:8}  {fps:5.1f} fps  {latency_ms:5.1f} ms "
            f"(invoke {invoke_ms:.1f})  {heat}  {memory}  {seen}"
        )

    def _seen(self, name: str) -> str:
        recent = self._hub.cameras[name].recent
        if not recent or not recent[-1].detections:
            return "nothing"
        found = recent[-1].detections
        shown = ", ".join(f"{d.label} {d.score:.2f}" for d in found[:MAX_LABELS])
        return shown + (f" and {len(found) - MAX_LABELS} more" if len(found) > MAX_LABELS else "")


def _watch_command(socket: str) -> str:
    """The command that shows detections, as this user can type it here."""
    by_module = Path(sys.argv[0]).name == "__main__.py"
    program = "vigild" if shutil.which("vigild") else "python -m vigild" if by_module else sys.argv[0]
    found = Path(socket) in candidates(None)
    return f"{program} watch" + ("" if found else f" --socket {socket}")
