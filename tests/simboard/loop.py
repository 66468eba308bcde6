"""A simulated board in closed loop with a running daemon: a process that warms it with the frames the daemon infers.

    with Loop(31.0, folder, socket) as loop, Daemon(..., "--sysfs-root", str(loop.root)):
        loop.when(lambda seconds: seconds[-1]["die"] > 59)
        loop.change(room=0.0)
        drive.overshoot(loop.trace())

The tree has thermal zones, and no /proc: what else this machine does is no part of the board. Frames are those of which
the daemon sends `detections`, each by its variant's cost. The board's time is the real one, as the governor's is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from simboard.board import Board
from simboard.controllers import Order, ladder_of
from simboard.drive import GONE_CELSIUS, Trace
from simboard.profiles import SMALL
from simboard.scenarios import Scenario
from vigild.budget.operating_points import OperatingPoint

STEP_S, STEPS = 0.25, 4
"""Of the board; so many make a line of the trace."""
PATIENCE_S = 90.0
"""To detect a hang."""
FULL_FPS = 20.0
"""All the work of a daemon on this board: it keeps one core busy."""

Second = dict[str, Any]


class Loop:
    """The process, as a test has it."""

    def __init__(self, room: float, folder: Path, path: Path, zones: Mapping[str, float] | None = None) -> None:
        """`folder`: for the tree and the trace; `path`: the daemon's socket, once it is there; `zones`: by their types,
        how much warmer than the die each is."""
        self.root = folder / "board"
        self.room = room
        self._lines = folder / "board.trace"
        with self._lines.open("wb") as lines:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "simboard.loop", str(room), str(self.root), str(path),
                    json.dumps(zones or {"cpu-thermal": 0.0}),
                ],
                stdin=subprocess.PIPE, stdout=lines, cwd=Path(__file__).parents[1],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
        self._wait(lambda: bool(self._lines.stat().st_size))

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def change(self, **what: Any) -> None:
        """Attributes of the board; `gone`: the zones that cannot be read from now on. In force when this returns."""
        assert self._process.stdin is not None
        before = len(self.seconds())
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        self._wait(lambda: any(second["changed"] == what for second in self.seconds()[before:]))

    def seconds(self) -> list[Second]:
        """One by one; the last line may be half written."""
        return [json.loads(line) for line in self._lines.read_text().split("\n")[1:-1]]

    def when(self, true: Callable[[list[Second]], bool]) -> list[Second]:
        """The seconds so far, when there are some and this is true of them."""
        self._wait(lambda: bool(seconds := self.seconds()) and true(seconds))
        return self.seconds()

    def trace(self, since: int = 0) -> Trace:
        """For the figures of `drive`: all from this second on."""
        seconds = self.seconds()[since:]
        scenario = Scenario("closed loop", len(seconds), self.room, wanted_fps=(FULL_FPS,))
        trace = Trace(scenario, SMALL, "vigild", ladder_of(SMALL.points, scenario.wanted_fps))
        for second in seconds:
            trace.seconds.append(second["at"])
            trace.die.append(second["die"])
            trace.rate.append(second["frames"])
            trace.full_fits.append(second["fits"])
            trace.orders.append(Order(_point(second["variant"]), second["cap"] or FULL_FPS))
        return trace

    def _wait(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert self._process.poll() is None, "the board's process ended"
            assert time.monotonic() < deadline, self.seconds()[-20:]
            time.sleep(0.05)


def _point(variant: str) -> OperatingPoint:
    """A model that is no variant of the embedded one costs what its first does."""
    return next((point for point in SMALL.points if point.variant == variant), SMALL.points[0])


# ---- the process


class Tree:
    """The files."""

    def __init__(self, root: Path, zones: Mapping[str, float]) -> None:
        self.gone: list[str] = []
        self._root = root
        self._zones = zones
        self._temps: dict[str, Path] = {}
        for number, zone in enumerate(zones):
            folder = root / f"sys/class/thermal/thermal_zone{number}"
            folder.mkdir(parents=True)
            (folder / "type").write_text(f"{zone}\n")
            self._temps[zone] = folder / "temp"

    def write(self, celsius: float) -> None:
        """As a reader of the kernel's files would find them: whole, or not at all."""
        for zone, path in self._temps.items():
            if zone in self.gone:
                path.unlink(missing_ok=True)
                continue
            new = self._root / "temp.new"
            new.write_text(f"{round((celsius + self._zones[zone]) * 1000)}\n")
            new.replace(path)


class Watched:
    """What the daemon says of itself."""

    def __init__(self, path: str) -> None:
        self.frames = 0.0
        """Inferred so far, as frames of the first operating point."""
        self.counted = 0
        """Whatever they cost."""
        self.variant = ""
        self.cap: float | None = None
        self.degraded = ""
        self._rest = b""
        self._sock = _connected(path)
        self._sock.sendall(b'{"type":"watch","empty":true,"events":["detections","health"]}\n')

    def take_in(self, until_s: float) -> bool:
        """All that it says until then; False: it has gone."""
        while (left := until_s - time.monotonic()) > 0:
            if not select.select([self._sock], [], [], left)[0]:
                break
            data = self._sock.recv(1 << 20)
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._note(json.loads(line))
        return True

    def _note(self, message: dict[str, Any]) -> None:
        if message["type"] == "detections":
            self.variant = message["variant"]
            self.frames += _point(self.variant).cost
            self.counted += 1
        elif message["type"] == "health":
            self.degraded = message["budget"].get("degraded", "")
            self.cap = next((camera.get("max_fps") for camera in message["cameras"].values()), None)


def _connected(path: str) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError:  # not there yet
            sock.close()
            time.sleep(0.02)
        else:
            return sock


def _orders(kept: bytearray) -> Iterator[dict[str, Any]]:
    """That have come by now."""
    while select.select([sys.stdin], [], [], 0)[0] and (data := os.read(sys.stdin.fileno(), 1 << 16)):
        kept += data
    while (end := kept.find(b"\n")) >= 0:
        yield json.loads(kept[:end])
        del kept[: end + 1]


def main() -> None:
    room, root, path, zones = sys.argv[1:]
    board, tree = Board(SMALL, float(room)), Tree(Path(root), json.loads(zones))
    tree.write(board.read() or 0.0)
    print("ready", flush=True)
    daemon, kept = Watched(path), bytearray()
    began_s = at_s = time.monotonic()
    frames = daemon.frames
    while True:
        changed, hottest, counted = None, board.die, daemon.counted
        for _ in range(STEPS):
            for changed in _orders(kept):
                for name, value in changed.items():
                    setattr(tree if name == "gone" else board, name, value)
            if not daemon.take_in(at_s + STEP_S):
                return
            now_s = time.monotonic()
            rate = (daemon.frames - frames) / (now_s - at_s)
            while at_s < now_s:
                step_s = min(now_s - at_s, Board.STEP_S)
                board.step(SMALL.points[0], rate, step_s)
                at_s += step_s
            frames, at_s = daemon.frames, now_s
            hottest = max(hottest, board.die)
            tree.write(board.read() or 0.0)
        second = {
            "at": at_s - began_s,
            "die": hottest,
            "frames": daemon.counted - counted,
            "variant": daemon.variant,
            "cap": daemon.cap,
            "degraded": daemon.degraded,
            "fits": board.peak_if_kept(SMALL.points[0], FULL_FPS) <= SMALL.budget - GONE_CELSIUS,
            "changed": changed,
        }
        print(json.dumps(second), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError, KeyboardInterrupt):
        main()
