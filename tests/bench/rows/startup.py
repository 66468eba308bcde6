"""From exec to the first `detections` line at a client: warm, and after the page cache was dropped."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench import clips
from bench.figures import Figure
from bench.machine import Load
from bench.run import ENVIRONMENT, Plan, camera, configuration, folder, say
from bench.stream import Stream
from system.harness import Daemon

POLL_S = 0.004
TIMEOUT_S = 30.0
COLD_STARTS = 3


def measure(plan: Plan) -> list[Figure]:
    """The clip, live, at 30 frames/s; the first frame that was looked at counts, with or without objects."""
    warm = Figure("startup", "exec to first detection, warm", "s", limit=0.8, needed=plan.starts // 2)
    cold = Figure("startup", "exec to first detection, caches dropped", "s", limit=3.0, needed=COLD_STARTS)
    config = configuration(camera(clips.live(), loop=True))
    _start(config)  # writes bytecode and fills the cache: not counted
    for _ in range(2 * plan.starts):
        _add(warm, config)
        if len(warm.quiet) >= plan.starts:
            break
    if os.geteuid() != 0:
        cold.skipped = "dropping the page cache needs root"
        return [warm, cold]
    try:
        for _ in range(2 * COLD_STARTS):
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
            _add(cold, config)
            if cold.settled:
                break
    except OSError as error:
        cold.skipped = f"the page cache cannot be dropped here: {error}"
    return [warm, cold]


def _add(figure: Figure, config: str) -> None:
    seconds, foreign = _start(config)
    figure.add(seconds, foreign)
    say(f"  {figure.name}: {seconds:.3f} s; foreign {foreign:.2f} cores")


def _start(config: str) -> tuple[float, float]:
    """(seconds, foreign load) of one start."""
    with folder() as path:
        daemon = Daemon(path, config, env=ENVIRONMENT)
        load = Load()
        begun_ns = time.monotonic_ns()
        try:
            daemon.start(wait=False)
            stream = _connect(daemon)
            first = stream.first(TIMEOUT_S)
            used = load.stop()
        finally:
            daemon.__exit__(None, None, None)
        return (first["received_ns"] - begun_ns) / 1e9, used.foreign


def _connect(daemon: Daemon) -> Stream:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return Stream(daemon)
        except (FileNotFoundError, ConnectionRefusedError):
            assert daemon.process is not None
            if daemon.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not come up:\n{daemon.logged()}") from None
            time.sleep(POLL_S)
