"""A simulated board by the real clock: a sysfs tree whose processor warms with the CPU time that a command takes.

    PYTHONPATH=tests .venv/bin/python -m simboard.live pi5 30 build/board -- \
        .venv/bin/vigild tune --sustained --sysfs-root build/board

A profile's name (`profiles`), the room in °C, the folder, and the command. One busy core of this machine (`--cores`)
warms the board as all of its own cores do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from simboard.board import Board, Physics
from simboard.profiles import PROFILES


class Live:
    """The tree, warmed by a thread while the `with` lasts."""

    def __init__(self, physics: Physics, room: float, root: Path, cores: float = 1.0) -> None:
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "type").write_text("cpu-thermal\n")
        self.root = root
        self.board = Board(physics, room)
        self.hottest = self.board.die
        self.pid = 0
        """Whose children's work warms it; 0: nobody's yet."""
        self._cores = cores
        self._temp = zone / "temp"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._warm, daemon=True)
        self._write()

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def step(self, part: float) -> None:
        """Board.STEP_S with this part of all the work that the board can do."""
        point = self.board.physics.points[0]
        self.board.step(point, part * point.capacity_fps)
        self.hottest = max(self.hottest, self.board.die)
        self._write()

    def _write(self) -> None:
        celsius = self.board.read()
        if celsius is None:
            return
        new = self.root / "temp.new"
        new.write_text(f"{round(celsius * 1000)}\n")
        new.replace(self._temp)

    def _warm(self) -> None:
        due_s = time.monotonic()
        spent_s, at_s = cpu_s(self.pid), due_s
        while not self._stop.is_set():
            due_s += Board.STEP_S
            time.sleep(max(due_s - time.monotonic(), 0.0))
            now_s, now_spent_s = time.monotonic(), cpu_s(self.pid)
            busy = max(now_spent_s - spent_s, 0.0) / (now_s - at_s) / self._cores
            spent_s, at_s = now_spent_s, now_s
            self.step(min(busy, 1.0))


def cpu_s(pid: int) -> float:
    """CPU seconds that the children of a process, and theirs, have taken so far."""
    total = 0.0
    for child in _children(pid):
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + cpu_s(child)
    return total


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=sorted(PROFILES))
    parser.add_argument("room", type=float)
    parser.add_argument("root", type=Path)
    parser.add_argument("--cores", type=float, default=1.0)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with Live(PROFILES[args.profile], args.room, args.root, args.cores) as live:
        process = subprocess.Popen(args.command)
        live.pid = process.pid
        try:
            status = process.wait()
        except KeyboardInterrupt:
            status = process.wait()
    print(f"The die came to {live.hottest:.1f} °C at the most.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
