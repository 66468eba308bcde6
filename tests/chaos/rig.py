"""The daemon of a chaos run: two live cameras, one source read frame by frame, and a crowd that watches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness import Client, Daemon
from pictures import write_pictures

from chaos.crowd import Crowd
from injected.control import Faults

LIVE = {"front": 15, "side": 10}
"""Frames a second of each test card."""
EVERY = "belt"
"""The folder that is read with `pace = "every"`: of it each frame is told once, whatever dies."""
CAMERAS = (*LIVE, EVERY)

SOCKET_BACK_S = 10.0
"""2 s are promised for a socket file that was taken away, on a machine that has nothing else to do."""


def configuration(pictures: Path | None) -> str:
    live = "".join(f'[camera.{name}]\nsource = "testcard"\nfps = {fps}\n' for name, fps in LIVE.items())
    if pictures is None:
        return f"[daemon]\nmax_clients = 100\n{live}"
    every = f'[camera.{EVERY}]\nsource = "images:{pictures}"\npace = "every"\nloop = true\nfps = 10\n'
    return f"[daemon]\nmax_clients = 100\n{live}{every}"


class Rig:
    """Everything of one run, below one folder."""

    def __init__(self, folder: Path, clients: int, *, every: bool = True) -> None:
        """`every`: with the source that is read frame by frame, which keeps a core busy."""
        self.folder = folder
        self.cameras = CAMERAS if every else tuple(LIVE)
        self.pictures = folder / "pictures"
        write_pictures(self.pictures, 20, (320, 240))
        self.faults = Faults(folder)
        self.daemon = Daemon(
            folder,
            configuration(self.pictures if every else None),
            "--quiet",
            module="injected",
            env=self.faults.environment,
        ).start()
        self.crowd = Crowd(self.daemon.socket)
        self.crowd.join(clients)
        if not self.all_deliver(60):
            raise RuntimeError(f"no detections after a minute:\n{self.daemon.logged()[-4000:]}")

    def all_deliver(self, within_s: float) -> bool:
        """Wait for a detection of each camera in a frame captured from now on; whether all came."""
        now_ns = time.monotonic_ns()
        return self.crowd.pump(within_s, lambda: all(self.crowd.latest[name] > now_ns for name in self.cameras))

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request over a connection of its own. The socket's file may be gone for a moment, but not for long."""
        if not self.crowd.pump(SOCKET_BACK_S, self.daemon.answers):
            raise RuntimeError(f"nobody answers at the socket for {SOCKET_BACK_S:.0f} s")
        client = Client(self.daemon.socket)
        try:
            return client.ask(**request)
        finally:
            client.close()

    def workers(self) -> dict[str, int]:
        """The processes that run, by the names of their workers."""
        health = self.ask(type="status")["health"]
        return {worker["name"]: worker["pid"] for worker in health["workers"] if worker.get("pid")}
