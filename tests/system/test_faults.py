"""Workers that die or hang, and a hub that is stopped: what clients are told, and that it comes back."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Client, Daemon, holdings, settled_holdings

DEADLY = [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV]

STAGE = r"(in (the first )?invoke\(\)|while [a-z ]+)"


def config(model: Path, cameras: str = '[camera.front]\nsource = "testcard"\n') -> str:
    return f'[model]\npath = "{model}"\nmin_score = 0.1\n{cameras}'


@pytest.fixture
def daemon(tmp_path: Path, model: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, config(model)) as daemon:
        yield daemon


def watching(daemon: Daemon) -> Client:
    """A client that has seen a first result."""
    client = daemon.connect()
    client.watch(empty=True, events=["detections", "event"])
    client.until("detections")
    return client


def until_ok(client: Client) -> list[dict[str, Any]]:
    """All messages up to a result with status ok."""
    return client.collect(lambda m: m["type"] == "detections" and m["status"] == "ok")


def test_the_hub_has_no_native_vision_code(daemon: Daemon) -> None:
    watching(daemon)
    maps = Path(f"/proc/{daemon.pid}/maps").read_text()
    assert "msgspec" in maps
    assert not re.search(r"numpy|cv2|opencv|tflite|litert|openblas", maps, re.IGNORECASE)
    # ... and this is a way to find out: the workers have it.
    assert "cv2" in Path(f"/proc/{daemon.worker('camera.front')}/maps").read_text()
    assert "litert" in Path(f"/proc/{daemon.worker('detector')}/maps").read_text()


@pytest.mark.parametrize("number", DEADLY)
def test_a_detector_that_dies(daemon: Daemon, number: signal.Signals) -> None:
    client = watching(daemon)
    os.kill(daemon.worker("detector"), number)
    died = client.event("worker_died")
    assert re.fullmatch(
        rf"detector killed by {number.name} {STAGE}; restarted, 1 of 5 in the last minute", died["reason"]
    )
    assert "camera" not in died
    seen = until_ok(client)
    assert {m["status"] for m in seen if m["type"] == "heartbeat"} & {"degraded", "stale"}
    assert [m["reason"] for m in seen if m.get("kind") == "worker_back"] == ["detector works again"]
    worker = next(w for w in daemon.status()["health"]["workers"] if w["name"] == "detector")
    assert (worker["restarts"], worker["state"], worker["reason"]) == (1, "running", died["reason"])
    assert died["reason"].removeprefix("detector ") in daemon.logged()


@pytest.mark.parametrize("number", DEADLY)
def test_a_camera_worker_that_dies(daemon: Daemon, number: signal.Signals) -> None:
    client = watching(daemon)
    detector = daemon.worker("detector")
    before = client.until("detections")["frame"]
    os.kill(daemon.worker("camera.front"), number)
    died = client.event("worker_died", camera="front")
    assert re.fullmatch(
        rf"camera\.front killed by {number.name} {STAGE}; restarted, 1 of 5 in the last minute", died["reason"]
    )
    seen = until_ok(client)
    assert "no_frame" in {m["status"] for m in seen if m["type"] == "heartbeat"}
    kinds = [m["kind"] for m in seen if m["type"] == "event"]
    assert "camera_back" in kinds
    assert "worker_back" in kinds
    assert seen[-1]["frame"] > before, "frames are numbered on, so that none is taken for a repetition"
    assert daemon.worker("detector") == detector


@pytest.mark.parametrize("name", ["detector", "camera.front"])
def test_a_worker_that_hangs(daemon: Daemon, name: str) -> None:
    client = watching(daemon)
    pid = daemon.worker(name)
    os.kill(pid, signal.SIGSTOP)
    seen = client.collect(lambda m: m.get("kind") == "worker_died")
    assert re.fullmatch(
        rf"{re.escape(name)} (camera front )?hung for \d\.\d s {STAGE}; killed; restarted, 1 of 5 in the last minute",
        seen[-1]["reason"],
    )
    assert "stale" in {m["status"] for m in seen if m["type"] == "heartbeat"}, "nobody looked: that has to be said"
    until_ok(client)
    assert daemon.worker(name) != pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_hub_that_was_stopped_blames_nobody(daemon: Daemon) -> None:
    client = watching(daemon)
    workers = [daemon.worker("detector"), daemon.worker("camera.front")]
    daemon.signal(signal.SIGSTOP)
    time.sleep(3.5)  # longer than a worker may be silent
    daemon.signal(signal.SIGCONT)
    # Two heartbeats later the hub has checked its workers many times.
    told: list[dict[str, Any]] = []
    while sum(m["type"] == "heartbeat" and m["status"] == "ok" for m in told) < 2:
        told.append(client.next())
    assert [m for m in told if m["type"] == "event"] == []
    assert [daemon.worker("detector"), daemon.worker("camera.front")] == workers


def test_everything_stopped_and_continued_blames_nobody(daemon: Daemon) -> None:
    """As when a laptop is suspended, or a container frozen."""
    client = watching(daemon)
    workers = [daemon.worker("detector"), daemon.worker("camera.front")]
    for pid in (daemon.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3.5)
    # The hub may well come round first, and see workers that have not moved for longer than they may.
    daemon.signal(signal.SIGCONT)
    time.sleep(0.5)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    told: list[dict[str, Any]] = []
    while sum(m["type"] == "heartbeat" and m["status"] == "ok" for m in told) < 2:
        told.append(client.next())
    assert [m for m in told if m["type"] == "event"] == []
    assert [daemon.worker("detector"), daemon.worker("camera.front")] == workers


def test_ten_deaths_leave_nothing_in_the_hub(tmp_path: Path, model: Path) -> None:
    names = ["a", "b", "c", "d"]
    cameras = "".join(f'[camera.{name}]\nsource = "testcard"\nfps = 10\nsize = [160, 120]\n' for name in names)
    with Daemon(tmp_path, config(model, cameras)) as daemon:
        client = daemon.connect()
        client.watch(empty=True)

        def all_deliver() -> None:
            missing = set(names)
            while missing:
                missing.discard(client.until("detections")["camera"])

        all_deliver()
        before = settled_holdings(daemon.pid)
        for _ in range(2):
            for worker in ("detector", *(f"camera.{name}" for name in names)):
                os.kill(daemon.worker(worker), signal.SIGKILL)
                client.event("worker_died")
                client.event("worker_back")
            all_deliver()
        health = daemon.status()["health"]
        assert sum(worker["restarts"] for worker in health["workers"]) == 10
        daemon.wait_for(lambda: holdings(daemon.pid) == before, 5)
        assert before.children == 5, "the workers, and no zombie"


def test_two_cameras_in_one_process(tmp_path: Path, model: Path) -> None:
    cameras = "".join(
        f'[camera.{name}]\nsource = "testcard"\nfps = 10\nisolation = "shared"\n' for name in ("left", "right")
    )
    with Daemon(tmp_path, config(model, cameras)) as daemon:
        client = daemon.connect()
        client.watch(empty=True, events=["detections", "event"])
        left = client.until(lambda m: m.get("camera") == "left" and m["type"] == "detections")
        right = client.until(lambda m: m.get("camera") == "right" and m["type"] == "detections")
        worker = daemon.worker("cameras")
        assert daemon.running("vigild.camera") == [worker]
        os.kill(worker, signal.SIGKILL)
        seen = [client.event("worker_died")["camera"], client.event("worker_died")["camera"]]
        assert sorted(seen) == ["left", "right"]
        results: dict[str, int] = {}
        while len(results) < 2:
            message = client.until("detections")
            results[message["camera"]] = message["frame"]
        assert results["left"] > left["frame"]
        assert results["right"] > right["frame"]
        assert len(daemon.running("vigild.camera")) == 1


def test_a_stalled_camera_does_not_delay_another(tmp_path: Path, model: Path) -> None:
    cameras = "".join(f'[camera.{name}]\nsource = "testcard"\nfps = 20\n' for name in ("stalled", "well"))
    with Daemon(tmp_path, config(model, cameras)) as daemon:
        client = daemon.connect()
        client.watch(empty=True, events=["detections", "event"])
        client.until(lambda m: m.get("camera") == "stalled" and m["type"] == "detections")
        os.kill(daemon.worker("camera.stalled"), signal.SIGSTOP)
        frames = []
        for message in client.stream():
            if message.get("kind") == "worker_died":
                break
            if message["type"] == "detections" and message["camera"] == "well":
                frames.append(message["frame"])
                assert message["status"] in ("ok", "degraded")
        # The stall is seen after 3 s, and until then every result could have been waiting for it.
        assert len(frames) > 20
        assert max(b - a for a, b in itertools.pairwise(frames)) <= 20, frames
