"""The memory budget on the real daemon: a detector that really leaks, and systemd's word that memory is short."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from harness import Daemon

import boardkit
from delegates.kit import Board, library
from vigild.board.memory import Processes

MIB = 2**20
KIB_A_FRAME, FPS = 512, 10
"""5 MiB a second."""
FROM_FRAME = 170
"""After the first 17 s, in which a worker that loads its model and fills its caches is not called leaking."""
ROOM_MIB = 48


@pytest.mark.alone
def test_a_leaking_detector_is_ended_below_the_budget_and_clients_stay(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), np.full((64, 64, 3), 90, np.uint8))
    delegate = library(tmp_path_factory)
    board = Board(tmp_path, delegate)
    config = (
        f'[model]\npath = "{board.cpu}"\ndelegate = "{delegate}"\n'
        f'delegate_options = {{ behave = "leaks:{KIB_A_FRAME}@{FROM_FRAME}" }}\n'
        f'[camera.front]\nsource = "images:{tmp_path / "pictures"}"\nloop = true\nfps = {FPS}\n'
    )
    with Daemon(tmp_path, config, *board.arguments, env=board.environment) as daemon:
        client = daemon.connect()
        client.watch(empty=True, events=["detections", "event"])
        client.until("detections")
        leaking = daemon.worker("detector")

        def used() -> int:
            return Processes(Path("/proc")).exact({str(pid): pid for pid in daemon.processes()}).total_bytes

        for message in client.stream():
            if message["type"] == "detections" and message["frame"] > FPS * 3:
                break
        budget = used() // MIB + ROOM_MIB
        assert daemon.connect().ask(type="set", key="budget.memory", value=f"{budget} MiB")["type"] == "ok"
        peak, recycled, looked = 0, "", 0
        for message in client.stream():
            if message["type"] == "event":
                assert message["kind"] not in ("camera_lost", "ended"), message
                if message["kind"] == "budget" and "is started anew" in message["reason"]:
                    recycled = message["reason"]
            elif message["type"] == "detections":
                looked += 1
                if looked % 5 == 0:
                    peak = max(peak, used())
                if recycled and daemon.worker("detector") != leaking:
                    break
        assert recycled.startswith("detector is started anew: it has grown from ")
        assert peak <= budget * MIB, recycled
        moves = daemon.status()["health"]["budget"]["moves"]
        assert moves["memory_recycle"] == 1 and "not_held" not in moves


def test_systemd_says_that_memory_is_short(tmp_path: Path, model: Path) -> None:
    fifo = tmp_path / "pressure"
    os.mkfifo(fifo)
    watch = {
        "MEMORY_PRESSURE_WATCH": str(fifo),
        "MEMORY_PRESSURE_WRITE": base64.b64encode(b"some 200000 2000000\0").decode(),
    }
    config = f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = 5\n'
    with Daemon(tmp_path, config, env=watch) as daemon:
        client = daemon.connect()
        client.watch(events=["event"])
        with fifo.open("wb", buffering=0) as systemd:
            systemd.write(b"!")
            reason = client.event("budget")["reason"]
            assert "caches are trimmed" in reason and "$MEMORY_PRESSURE_WATCH" in reason


def test_a_limit_that_is_set_while_it_runs_is_in_force_and_told(tmp_path: Path, model: Path) -> None:
    """`systemctl set-property vigild MemoryHigh=200M`."""
    tree = tmp_path / "board"
    folder = boardkit.cgroup(tree, "/system.slice/vigild.service", current=MIB, high="max", max="max")
    boardkit.write(tree / "proc/meminfo", boardkit.meminfo(906, 600))
    config = f'[model]\npath = "{model}"\n[camera.front]\nsource = "testcard"\nfps = 5\n'
    with Daemon(tmp_path, config, "--sysfs-root", str(tree)) as daemon:
        client = daemon.connect()
        client.watch(events=["event", "detections"], empty=True)
        client.until("detections")
        assert daemon.status()["health"]["memory"]["budget_bytes"] == 906 * MIB // 4
        boardkit.write(folder / "memory.high", f"{200 * MIB}\n")
        assert client.event("budget")["reason"] == (
            "the memory budget goes from 226 MiB to 180 MiB: 20 MiB under the control group's memory.high, 200 MiB"
        )
        health = daemon.status()["health"]
        assert (health["memory"]["budget_bytes"], health["budget"]["memory_why"][:6]) == (180 * MIB, "20 MiB")
