"""`python -m soak --frames 1000000 --minutes 30`: see the package."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harness import Client, Daemon
from pictures import write_pictures

from chaos.crowd import Crowd
from soak.holding import Holding, holding
from soak.trend import trend
from unit import modelkit

SAMPLE_S = 2.0
WARM_UP, WARM_UP_S = 0.2, 120.0
"""From this share of the samples, and at least from so long, nothing is concluded: caches fill, allocators find their
size, the first of everything is imported."""

ALLOWED_KIB_PER_HOUR = 512.0
"""12 MiB a day; what is below cannot be told from an allocator's whims in half an hour."""

CLIENTS = 2

CAMERAS = ("belt", "front")


def configuration(model: Path, pictures: Path) -> str:
    # One source as fast as the detector takes it, and one as cameras are.
    return (
        f'[model]\npath = "{model}"\nmin_score = 0.1\n'
        f'[camera.belt]\nsource = "images:{pictures}"\npace = "every"\nloop = true\n'
        '[camera.front]\nsource = "testcard"\nfps = 15\n'
    )


class Soak:
    """One run."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.samples: dict[str, list[tuple[float, Holding]]] = {}
        """By process: (seconds since the start, what it holds)."""
        self.frames = 0
        self.seconds = 0.0
        self.replaced = False
        self.wrong: list[str] = []

    def run(self, frames: int, seconds: float) -> None:
        """Until so many frames were told and so much time has passed."""
        crowd = Crowd(self.daemon.socket)
        crowd.join(CLIENTS)
        if not crowd.pump(60, lambda: all(crowd.latest[camera] for camera in CAMERAS)):
            raise RuntimeError(f"no detections after a minute:\n{self.daemon.logged()[-4000:]}")
        pids = self._pids()
        before = self._told(crowd)
        began_s = time.monotonic()
        while (self.seconds < seconds or self.frames < frames) and not self.replaced and crowd.members:
            crowd.pump(SAMPLE_S)
            self.seconds, self.frames = time.monotonic() - began_s, self._told(crowd) - before
            self.replaced = self._pids() != pids
            for name, pid in pids.items():
                if not self.replaced:
                    self.samples.setdefault(name, []).append((self.seconds, holding(pid)))
        self.wrong = crowd.wrong
        crowd.close()

    def _told(self, crowd: Crowd) -> int:
        """By the numbers of the frames: none of them may be missing of what is read frame by frame."""
        return sum(crowd.members[0].frames.values()) if crowd.members else 0

    def _pids(self) -> dict[str, int]:
        client = Client(self.daemon.socket)
        try:
            workers = client.ask(type="status")["health"]["workers"]
        finally:
            client.close()
        return {"hub": self.daemon.pid, **{worker["name"]: worker["pid"] for worker in workers if worker.get("pid")}}

    def report(self) -> list[str]:
        """Prints the figures; returns what is wrong."""
        wrong = list(self.wrong)
        if self.replaced:
            wrong.append("a worker was started again")
        rate = self.frames / self.seconds
        print(f"{self.frames} frames in {self.seconds / 60:.1f} minutes, {rate:.0f} a second")
        for name, samples in self.samples.items():
            settled = [sample for sample in samples[int(WARM_UP * len(samples)) :] if sample[0] >= WARM_UP_S]
            if len(settled) < 10:
                wrong.append(f"{name}: {self.seconds:.0f} s are too short to say anything")
                continue
            slope = trend([(at_s / 3600, held.own_bytes / 1024) for at_s, held in settled])
            later = trend([(at_s / 3600, held.own_bytes / 1024) for at_s, held in settled[len(settled) // 2 :]])
            hours = 1e6 / rate / 3600
            last = settled[-1][1]
            print(
                f"  {name:14} {last.own_bytes / 2**20:6.1f} MiB  slope {slope.per_unit:+8.1f} KiB/h "
                f"[{slope.low:+.1f}, {slope.high:+.1f}], of the second half {later.per_unit:+.1f}, "
                f"{slope.per_unit * hours:+.1f} KiB per 10^6 frames "
                f"[{slope.low * hours:+.1f}, {slope.high * hours:+.1f}]; "
                f"{last.descriptors} descriptors, {last.threads} threads"
            )
            if slope.low > ALLOWED_KIB_PER_HOUR:
                wrong.append(f"{name}: memory grows by at least {slope.low:.0f} KiB/h")
            for what in ("descriptors", "threads"):
                counts = [getattr(held, what) for _, held in settled]
                half = len(counts) // 2
                if min(counts[half:]) > max(counts[:half]):
                    wrong.append(f"{name}: {what} went from {max(counts[:half])} to {min(counts[half:])}")
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description="Full speed for long: does anything grow?")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigild-soak-") as name:
        folder = Path(name)
        write_pictures(folder / "pictures", 50, (64, 48))
        with Daemon(folder, configuration(modelkit.quadrants(folder), folder / "pictures"), "--quiet") as daemon:
            soak = Soak(daemon)
            soak.run(args.frames, 60 * args.minutes)
            wrong = soak.report()
            if daemon.stop() != 0:
                wrong.append("the daemon did not end well")
    for text in wrong:
        print(f"WRONG: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
