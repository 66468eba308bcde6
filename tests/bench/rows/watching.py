"""What it costs to watch the board: a reader beside a daemon with one camera, on the tree of a Raspberry Pi 4.

The files of the sensors are a tree's; the processes, /proc/meminfo and the pressure are this machine's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench import clips
from bench.figures import Figure
from bench.machine import Load
from bench.run import Plan, camera, configuration, daemon, folder, say
from bench.stream import Stream
from boardkit import cpufreq, raspberry_pi_4
from system.harness import REPO, Daemon

TICK_S = 0.1
"""How often the hub asks; most of the time nothing is due."""
PACES = {"in the ordinary way": 90.0, "near the temperature budget": 55.0}
"""Budgets, °C: the tree says 54.5."""


def measure(plan: Plan) -> list[Figure]:
    shares = {
        name: Figure("watching", f"CPU of watching, {name}", "% of a core", "median", limit=0.3, needed=plan.sessions)
        for name in PACES
    }
    size = Figure("watching", "memory of watching", "MiB", "max", limit=3.0, needed=1, digits=1)
    with folder() as path, daemon(configuration(camera(clips.mjpeg_camera()))) as running:
        stream = Stream(running)
        stream.first(10)
        root = _tree(path, running)
        for name, budget in PACES.items():
            for _ in range(2 * plan.sessions):
                load = Load()
                told = _watch(root, budget, 10 * plan.window_s, running)
                used = load.stop()
                # The daemon is our own process: only what is nobody's of ours disturbs.
                shares[name].add(100 * told["share"], used.foreign)
                size.add(told["kib"] / 1024, 0.0)
                say(f"  watching {name}: {100 * told['share']:.3f} % of a core, {told['kib'] / 1024:.1f} MiB")
                if len(shares[name].quiet) >= plan.sessions:
                    break
    return [*shares.values(), size]


def _tree(path: Path, running: Daemon) -> Path:
    root = raspberry_pi_4(path / "root")
    cpufreq(root, 1800000, 1800000)
    (root / "proc/meminfo").unlink()
    for name in ("meminfo", "pressure", "stat", *map(str, running.processes())):
        if Path(f"/proc/{name}").exists():
            (root / "proc" / name).symlink_to(f"/proc/{name}")
    return root


def _watch(root: Path, budget: float, seconds: float, running: Daemon) -> dict[str, float]:
    processes = [f"p{pid}={pid}" for pid in running.processes()]
    done = subprocess.run(
        [sys.executable, "-m", "bench.watcher", str(root), str(budget), str(TICK_S), str(seconds), *processes],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO / "tests"), str(REPO / "daemon")])},
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]
