"""Pss of the hub and its workers, one camera and more; nothing else may map the same libraries."""

from __future__ import annotations

import time
from pathlib import Path

from bench import clips
from bench.figures import Figure
from bench.machine import foreign_users_of_libraries, pss_bytes
from bench.run import Plan, camera, configuration, daemon, say
from bench.stream import Stream
from system.harness import Daemon

MIB = 2**20
CAMERAS = (1, 2, 3)
SETTLE_S = 5.0
"""Of running, before it is looked at: buffers are there and the first heap peaks are behind."""


def measure(plan: Plan) -> list[Figure]:
    """With one, two and three 720p MJPEG cameras."""
    needed = 3
    one = Figure("memory", "sum of Pss, one 720p MJPEG camera", "MiB", "max", limit=120.0, needed=needed, digits=1)
    more = Figure("memory", "each further camera", "MiB", "max", limit=45.0, needed=2, digits=1)
    parts = {
        name: Figure("memory", f"of which {name}", "MiB", "max", digits=1)
        for name in ("hub", "camera worker", "detector worker")
    }
    totals: dict[int, float] = {}
    shared: dict[int, str] = {}
    """Why the sum with so many cameras does not count."""
    for cameras in CAMERAS:
        tables = [camera(clips.mjpeg_camera(), name=f"c{number}") for number in range(cameras)]
        with daemon(configuration(*tables)) as running:
            stream = Stream(running)
            stream.first(30)
            stream.take(SETTLE_S)
            for _ in range(needed):
                sizes = _sizes(running)
                others = foreign_users_of_libraries(running.processes())
                disturbed = "other processes map the same libraries" if others else ""
                shared[cameras] = shared.get(cameras) or disturbed
                total = sum(sizes.values()) / MIB
                totals[cameras] = max(totals.get(cameras, 0.0), total)
                if cameras == 1:
                    one.add(total, 0.0, disturbed)
                    for name, part in parts.items():
                        part.add(sizes[name] / MIB, 0.0, disturbed)
                shown = ", ".join(f"{name} {size / MIB:.1f}" for name, size in sizes.items())
                note = f"; also mapped by {', '.join(others)}" if others else ""
                say(f"  memory: {cameras} cameras: {total:.1f} MiB ({shown}){note}")
                stream.take(1.0)
            if cameras > 1:
                more.add(totals[cameras] - totals[cameras - 1], 0.0, shared[cameras] or shared[cameras - 1])
        time.sleep(0.2)
    return [one, more, *parts.values()]


def _sizes(running: Daemon) -> dict[str, int]:
    """Pss by kind of process; what a camera's command takes (ffmpeg) is the command's."""
    sizes = {"hub": pss_bytes(running.pid), "camera worker": 0, "detector worker": 0}
    for pid in running.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        for module, name in ((b"vigild.camera", "camera worker"), (b"vigild.detector", "detector worker")):
            if module in command:
                sizes[name] += pss_bytes(pid)
    return sizes
