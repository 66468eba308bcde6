"""`python -m chaos.recovery --faults 200`: kills and stops of workers, and the time to the next detection.

A time runs from the signal to the first line about a frame that was captured after it: of the camera whose worker was
hit, or of any when it was the detector. Prints the figures; exit status 1 when they miss what is promised.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

from chaos.rig import LIVE, Rig

SIGNALS = (signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP)
MEDIAN_S = 0.6
P99_S = 3.0
DEADLINE_S = 1.0
"""Of a stage (`fleet.deadlines.INVOKE_FLOOR_S`): what a stopped worker may take until it is taken for hung."""
GIVE_UP_S = 60.0

SLOW_S = 10.0
"""What takes longer is printed by itself, to be found in the log."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills and stops of workers, timed.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where the daemon's log goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigild-recovery-") as folder:
        rig = Rig(Path(folder), args.clients, every=False)
        with rig.daemon:
            took = _attack(rig, args.faults, random.Random(args.seed))
            wrong = rig.crowd.wrong
            still = len(rig.crowd.members)
            rig.crowd.close()
        if args.keep is not None:
            shutil.copy(rig.daemon.log, args.keep)
    return _report(took, wrong, still, args.clients)


def _attack(rig: Rig, faults: int, chance: random.Random) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    for _ in range(faults):
        rig.crowd.pump(chance.uniform(0.2, 2.0))
        workers = rig.workers()
        name = chance.choice(["detector", *(f"camera.{camera}" for camera in LIVE)])
        number = chance.choice(SIGNALS)
        cameras = tuple(LIVE) if name == "detector" else (name.removeprefix("camera."),)
        began_ns = time.monotonic_ns()
        os.kill(workers[name], number)
        # What was captured just after it may have been in the detector already: it must come from after the restart.
        # One that was just being replaced does not die: it is only gone.
        died, hit = _deaths(rig), Path(f"/proc/{workers[name]}")
        rig.crowd.pump(GIVE_UP_S, lambda died=died, hit=hit: _deaths(rig) > died or not hit.exists())  # type: ignore[misc]
        told_ns = time.monotonic_ns()

        def again(cameras: tuple[str, ...] = cameras, told_ns: int = told_ns) -> bool:
            return any(rig.crowd.latest[camera] > told_ns for camera in cameras)

        if not rig.crowd.pump(GIVE_UP_S, again):
            raise RuntimeError(f"no detection for {GIVE_UP_S:.0f} s after {number.name} of {name}")
        took_s = (time.monotonic_ns() - began_ns) / 1e9
        took.setdefault(number.name, []).append(took_s)
        if took_s > SLOW_S:
            told_s, at = (told_ns - began_ns) / 1e9, time.strftime("%H:%M:%S")
            print(
                f"{at}  {number.name} to {name} ({workers[name]}): {took_s:.2f} s, told after {told_s:.2f} s",
                flush=True,
            )
    return took


def _deaths(rig: Rig) -> int:
    return sum(message["kind"] == "worker_died" for _, message in rig.crowd.events)


def _report(took: dict[str, list[float]], wrong: list[str], still: int, clients: int) -> int:
    every = sorted(time_s for times in took.values() for time_s in times)
    median_s, p99_s = statistics.median(every), every[min(len(every) - 1, round(0.99 * len(every)))]
    print(f"{len(every)} faults, {still} of {clients} clients still connected")
    print(f"time to the next detection: median {median_s:.2f} s, p99 {p99_s:.2f} s, longest {every[-1]:.2f} s")
    for name, times in sorted(took.items()):
        print(f"  {name:8} {len(times):4}  median {statistics.median(times):.2f} s, longest {max(times):.2f} s")
    for text in wrong:
        print(f"WRONG: {text}")
    missed = median_s > MEDIAN_S or p99_s > P99_S + DEADLINE_S
    if missed:
        print(f"missed: median at most {MEDIAN_S} s and p99 at most {P99_S + DEADLINE_S:.0f} s were promised")
    return 1 if missed or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
