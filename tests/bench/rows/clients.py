"""200 watching clients at 30 messages/s, one of which reads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import clips
from bench.figures import Figure, p50, p99, quantile
from bench.machine import Load, process_cpu_s
from bench.run import Plan, camera, configuration, daemon, say
from system.harness import Daemon

CLIENTS = 200
ROUNDS = 4
MOST_DUTY = 0.9
"""Share of a frame period that invoke() may take."""


def measure(plan: Plan) -> list[Figure]:
    """Rounds of one client and of 200, alternating."""
    rounds = 1 if plan.short else ROUNDS
    lost = Figure("clients", f"{CLIENTS} clients, one reading nothing: lost by the others", "%", "max", limit=0.5)
    core = Figure("clients", "  hub", "cores", "median", limit=0.15)
    rate = Figure("clients", "  messages/s to each", digits=1)
    one = Figure("clients", "  p99 latency with one client", "ms", "p99", digits=2)
    late = Figure("clients", "  p99 latency beyond that with one client", "ms", "p99", limit=5.0, beyond=one, digits=2)
    figures = [lost, late, core, rate, one]
    for figure in figures:
        figure.needed = rounds
    model = _model(plan)
    if model is None:
        say("  clients: the COCO model takes longer than a frame period here; the embedded one serves this row")
    with daemon(_config(model)) as running:
        for _ in range(2 * rounds):
            alone, used_alone, _ = _readers(running, 1, 0, plan.stream_s)
            crowd, used_crowd, hub_cores = _readers(running, CLIENTS - 1, 1, plan.stream_s)
            foreign = max(used_alone, used_crowd)
            loss = 100.0 * (1.0 - crowd["received"] / crowd["meant"])
            lost.add(loss, foreign)
            late.add(crowd["beyond_ms"], foreign)
            core.add(hub_cores, foreign)
            rate.add(crowd["received"] / (CLIENTS - 1) / plan.stream_s, foreign)
            one.add(alone["beyond_ms"], foreign)
            say(
                f"  clients: lost {loss:.3f} %, p50 {p50(alone['beyond_ms']):.2f} → {p50(crowd['beyond_ms']):.2f}, "
                f"p99 {p99(alone['beyond_ms']):.2f} → {p99(crowd['beyond_ms']):.2f} ms, hub {hub_cores:.3f} cores, "
                f"reader {crowd['cpu_s'] / plan.stream_s:.2f} cores; foreign {foreign:.2f} cores"
            )
            if lost.settled:
                break
    return figures


def _config(model: Path | None) -> str:
    return configuration(camera(clips.live(), loop=True), daemon=f"max_clients = {CLIENTS + 8}", model=model)


def _model(plan: Plan) -> Path | None:
    """One that gives 30 results a second: the COCO model where it can, else the embedded one (None)."""
    with daemon(_config(clips.MODEL)) as running:
        seen, _, _ = _readers(running, 1, 0, plan.stream_s / 2)
    slow = quantile(seen["infer_ms"], 0.1) * clips.FRAMES_PER_S / 1e3 > MOST_DUTY
    return None if slow else clips.MODEL


def _readers(running: Daemon, reading: int, silent: int, seconds: float) -> tuple[dict[str, Any], float, float]:
    """(what the readers saw, foreign load, hub's load in cores)."""
    command = [sys.executable, "-m", "bench.readers", str(running.socket), str(reading), str(silent), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()  # all are connected and the stream has settled
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()  # the window begins
        hub = process_cpu_s(running.pid)
        load = Load()
        process.stdout.readline()  # the window is over
        used = load.stop()
        cores = (process_cpu_s(running.pid) - hub) / used.seconds
        process.stdin.close()
        seen: dict[str, Any] = json.loads(process.stdout.readline())
    return seen, used.foreign, cores
