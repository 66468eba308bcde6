"""What it costs to watch the board: in the hub of a daemon with one camera, on the tree of a Raspberry Pi 4.

The files of the sensors are a tree's; the processes, /proc/meminfo and the pressure are this machine's own. What it
takes of the memory is measured in a process that does nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from bench import clips
from bench.figures import Figure
from bench.machine import Load
from bench.run import ENVIRONMENT, Plan, camera, configuration, folder, say
from bench.stream import Stream
from bench.watched import TOLD
from boardkit import cpufreq, raspberry_pi_4, write
from system.harness import REPO, Daemon

PACES = {"in the ordinary way": 90, "near the temperature budget": 55}
"""Budgets, °C: the tree says 54.5."""
READINGS = 100
"""A second apart, until its memory is looked at."""
PYTHON_PATH = os.pathsep.join([str(REPO / "tests"), str(REPO / "daemon")])


def measure(plan: Plan) -> list[Figure]:
    figures: list[Figure] = []
    for name, celsius in PACES.items():
        of = {
            what: Figure(
                "watching", f"CPU of {what}, {name}", "% of a core", "median", limit=limit, needed=plan.sessions
            )
            for what, limit in (("watching", 0.3), ("deciding", None))
        }
        figures += of.values()
        with folder() as path:
            _measure_cpu(plan, path, celsius, of)
    size = Figure("watching", "memory of watching", "MiB", "max", limit=3.0, needed=1, digits=1)
    with folder() as path, Daemon(path, configuration(camera(clips.mjpeg_camera())), env=ENVIRONMENT) as running:
        Stream(running).first(10)
        size.add(_memory_kib(_linked(_tree(path), running), running) / 1024, 0.0)
        say(f"  {size.name}: {size.value:.1f} MiB")
    return [*figures, size]


def _measure_cpu(plan: Plan, path: Path, celsius: int, of: dict[str, Figure]) -> None:
    config = configuration(camera(clips.mjpeg_camera())) + f'[budget]\ntemperature = "{celsius} °C"\n'
    told = path / "told"
    root = _tree(path)
    environment = {**ENVIRONMENT, "PYTHONPATH": PYTHON_PATH, TOLD: str(told)}
    counting = Daemon(path, config, "--sysfs-root", str(root), env=environment, module="bench.watched")
    with counting as running:
        stream = Stream(running)
        stream.first(10)
        _linked(root, running)
        stream.take(plan.window_s)  # until it has counted each process once
        for _ in range(2 * plan.sessions):
            load = Load()
            spent = _spent(running, stream, told, 10 * plan.window_s)
            used = load.stop()
            for what, figure in of.items():
                figure.add(100 * spent[what] / spent["seconds"], used.foreign)
                say(f"  {figure.name}: {figure.samples[-1].values[0]:.3f} % of a core")
            if len(of["watching"].quiet) >= plan.sessions:
                break


def _spent(running: Daemon, stream: Stream, told: Path, seconds: float) -> dict[str, float]:
    told.unlink(missing_ok=True)
    running.signal(signal.SIGUSR1)
    stream.take(seconds)
    running.signal(signal.SIGUSR2)
    running.wait_for(told.exists)
    return json.loads(told.read_text())  # type: ignore[no-any-return]


def _tree(path: Path) -> Path:
    root = raspberry_pi_4(path / "root")
    cpufreq(root, 1800000, 1800000)
    write(root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    (root / "proc/meminfo").unlink()
    for name in ("meminfo", "pressure", "stat"):
        if Path(f"/proc/{name}").exists():
            (root / "proc" / name).symlink_to(f"/proc/{name}")
    return root


def _linked(root: Path, running: Daemon) -> Path:
    for pid in running.processes():
        (root / "proc" / str(pid)).symlink_to(f"/proc/{pid}")
    return root


def _memory_kib(root: Path, running: Daemon) -> int:
    processes = [f"p{pid}={pid}" for pid in running.processes()]
    done = subprocess.run(
        [sys.executable, "-m", "bench.watcher", str(root), str(READINGS), *processes],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
    )
    return int(done.stdout)
