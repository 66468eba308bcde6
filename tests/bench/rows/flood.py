"""64 clients that ask as fast as they can, one kind of request at a time, beside 10 that watch at 30 messages/s."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure, p99
from bench.flood import KINDS, SETTLE_S
from bench.machine import Load, process_cpu_s
from bench.run import Plan, camera, configuration, daemon, folder, say

CLIENTS = 64
WATCHERS = 10
ROUNDS = 3
RATE = 30.0

GAP_GROWS_MS = 20.0
HUB_CORES = 0.5

Place = tuple[Path, int]
"""A daemon: its socket, and the process whose time is counted."""


def measure(plan: Plan) -> list[Figure]:
    """The daemon with its own model and test card."""
    with daemon(configuration(camera("testcard"), daemon="max_clients = 128", model=None)) as running:
        return _kinds(plan, "flood", (running.socket, running.pid))


def stand_in(plan: Plan) -> list[Figure]:
    """The server alone, with a stand-in for the hub: nothing but the socket's own work, no worker beside it."""
    with _stand_in() as place:
        return _kinds(plan, "flood-server", place)


@contextmanager
def _stand_in() -> Iterator[Place]:
    program = Path(__file__).resolve().parents[2] / "standin_hub.py"
    with folder() as path:
        command = [sys.executable, str(program), str(path / "s"), str(RATE), "128"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield path / "s", process.pid
            finally:
                process.kill()


def _kinds(plan: Plan, row: str, place: Place) -> list[Figure]:
    rounds = 1 if plan.short else ROUNDS
    quiet = Figure(row, f"{WATCHERS} watchers alone: gap between messages", "ms", "p99", digits=1)
    figures = [quiet]
    for kind in KINDS:
        grows = Figure(
            row, f"{CLIENTS} clients, {kind}: p99 gap beyond that alone", "ms", "max", limit=GAP_GROWS_MS, digits=1
        )
        cores = Figure(row, "  hub", "cores", "max", limit=HUB_CORES)
        grows.needed = cores.needed = rounds
        figures += [grows, cores]
        for _ in range(2 * rounds):
            alone, _, _ = _watched(place, plan.stream_s / 2, None)
            seen, hub, foreign = _watched(place, plan.stream_s / 2, kind)
            growth = p99(seen["gaps_ms"]) - p99(alone["gaps_ms"])
            quiet.add(alone["gaps_ms"], foreign)
            grows.add(growth, foreign)
            cores.add(hub, foreign)
            say(
                f"  {row}: {kind}: p99 gap {p99(alone['gaps_ms']):.1f} → {p99(seen['gaps_ms']):.1f}, "
                f"most {max(alone['gaps_ms']):.1f} → {max(seen['gaps_ms']):.1f} ms, hub {hub:.3f} cores, "
                f"flood {seen['flood']['cpu_cores']:.2f} cores, "
                f"{seen['flood']['received'] / 2**20:.1f} MiB answered; foreign {foreign:.2f} cores"
            )
            if grows.settled:
                break
    return figures


def _watched(place: Place, seconds: float, kind: str | None) -> tuple[dict[str, Any], float, float]:
    """(what the watchers saw, the hub's load in cores, foreign load)."""
    path, pid = place
    command = [sys.executable, "-m", "bench.readers", str(path), str(WATCHERS), "0", str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watchers:
        assert watchers.stdin is not None and watchers.stdout is not None
        watchers.stdout.readline()
        flood = _flood(path, kind, seconds + SETTLE_S + 1.0) if kind is not None else None
        if flood is not None and flood.stdout is not None:
            flood.stdout.readline()
            time.sleep(SETTLE_S)
        watchers.stdin.write("go\n")
        watchers.stdin.flush()
        watchers.stdout.readline()
        hub, load = process_cpu_s(pid), Load()
        watchers.stdout.readline()
        used = load.stop()
        cores = (process_cpu_s(pid) - hub) / used.seconds
        watchers.stdin.close()
        seen: dict[str, Any] = json.loads(watchers.stdout.readline())
    if flood is not None:
        out, _ = flood.communicate()
        seen["flood"] = json.loads(out)
    return seen, cores, used.foreign


def _flood(path: Path, kind: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.flood", str(path), kind, str(CLIENTS), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
