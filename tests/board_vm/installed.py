"""A board that the bundle was installed on, as the tests look at it."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

from cross.emulation import images, machine
from cross.emulation.machine import Machine
from system.harness import Client

SOCKET = "/run/vigild/vigild.sock"
STICK = "/dev/vdb"
"""Holds the bundle."""
GROUP = "/sys/fs/cgroup/system.slice/vigild.service"
GROWTH = """
import os, sys
open("/proc/self/oom_score_adj", "w").write("-1000")
open(sys.argv[2] + "/cgroup.procs", "w").write(str(os.getpid()))
b"x" * int(sys.argv[1])
"""
WINDOW_S = 400
"""For the gate: the first start writes its .pyc files, and every instruction is emulated."""

PATIENCE_S = 180.0
"""To detect a hang; no test claims anything about speed with it."""

FIGURES: list[str] = []
"""Told at the end of the run."""

RUNNING: list[Machine] = []
"""What each of them says of itself is shown when a test fails."""


def unavailable(name: str) -> str:
    """Why such a board cannot be emulated here; empty when it can."""
    kind = images.named(name)
    if text := machine.cannot_run(kind):
        return text
    return "" if images.kept(name) else images.cannot_make(kind)


class Installed:
    def __init__(self, board: Machine, figures: list[str]) -> None:
        self.board = board
        self.name = board.image.machine.name
        self._figures = figures
        self.said = ""
        """By the installer."""

    def tell(self, text: str) -> None:
        self._figures.append(f"{self.name}: {text}")

    def install(self) -> None:
        """With the installer that is in the bundle."""
        name = "vigild-deploy"
        begun, cpu_s = time.monotonic(), self.board.cpu_s
        self.said = self.board.run(
            f"cd /root && tar xf {STICK} {name} && python3 {name} install {STICK} --window {WINDOW_S}"
        )
        took_s, cpu_s = time.monotonic() - begun, self.board.cpu_s - cpu_s
        self.tell(f"installed, and passed its gate, in {took_s:.0f} s, with {cpu_s:.0f} s of processor")

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """At the board's own socket file, by ssh: root, and so privileged."""
        with self.board.forwarded(SOCKET) as path:
            client = Client(path)
            client.watch(empty=True)
            yield client
            client.sock.close()

    def show(self, key: str, unit: str = "vigild.service") -> str:
        return self.board.run(f"systemctl show --value -p {key} {unit}").strip()

    def since_start_s(self, detections: dict[str, Any]) -> float:
        """From the start of the service's process to when this left the hub, all by the board's own clock."""
        began_s = int(self.show("ExecMainStartTimestampMonotonic")) / 1e6
        return float(detections["captured_ns"]) / 1e9 + float(detections["age_ms"]) / 1e3 - began_s

    def group(self, file: str) -> str:
        """A file of the service's control group."""
        return self.board.run(f"cat {GROUP}/{file}")

    def counted(self, what: str) -> int:
        """In memory.events: how often the kernel slowed the service down (high), or killed in it (oom_kill)."""
        return int(dict(line.split() for line in self.group("memory.events").splitlines())[what])

    def limit(self, high: int | str, most: int | str) -> None:
        """Bytes, or "infinity"; until the next reboot or `unlimit`."""
        self.board.run(f"systemctl set-property --runtime vigild.service MemoryHigh={high} MemoryMax={most}")

    def grow(self, size: int) -> None:
        """So many bytes more in the service's control group for a moment, by something the kernel never kills."""
        self.board.run(f"python3 -c {shlex.quote(GROWTH)} {size} {GROUP}")

    def unlimit(self) -> None:
        self.board.run("rm -rf /run/systemd/system.control/vigild.service.d; systemctl daemon-reload")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Each look is a login of its own."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(1)


def health(client: Client) -> dict[str, Any]:
    answer = client.ask(type="status")
    assert answer["type"] == "status", json.dumps(answer)
    return dict(answer["health"])
