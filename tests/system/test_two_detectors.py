"""`model.detectors = 2`: two workers of one model share the cameras' frames."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Client, Daemon

CAMERAS = '[camera.a]\nsource = "testcard"\nfps = 200\n[camera.b]\nsource = "testcard"\nfps = 200\n'


@pytest.fixture
def daemon(tmp_path: Path, model: Path) -> Iterator[Daemon]:
    config = f'[model]\npath = "{model}"\nmin_score = 0.1\ndetectors = 2\n{CAMERAS}'
    with Daemon(tmp_path, config) as daemon:
        yield daemon


def watching(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.watch(empty=True, events=["detections", "event"])
    for camera in ("a", "b"):
        client.until(lambda m, camera=camera: m["type"] == "detections" and m["camera"] == camera)
    return client


def detectors(daemon: Daemon) -> dict[str, dict[str, object]]:
    workers = daemon.status()["health"]["workers"]
    return {worker["name"]: worker for worker in workers if worker["kind"] == "detector"}


def test_both_work_and_each_cameras_results_leave_in_the_order_of_capture(daemon: Daemon) -> None:
    client = watching(daemon)
    seen: dict[str, list[dict[str, int]]] = {"a": [], "b": []}
    while min(map(len, seen.values())) < 300:
        message = client.until("detections")
        seen[message["camera"]].append(message)
    for messages in seen.values():
        frames = [message["frame"] for message in messages]
        captured = [message["captured_ns"] for message in messages]
        assert frames == sorted(set(frames))
        assert captured == sorted(captured)
    found = detectors(daemon)
    assert set(found) == {"detector", "detector.2"}
    assert len({worker["pid"] for worker in found.values()}) == 2
    for worker in found.values():
        assert worker["state"] == "running", "each has given results"
        assert worker["operating_point"]["model"] and worker["latency_ms"]["invoke"]["p50"] > 0  # type: ignore[index]


def test_one_that_is_killed_degrades_and_stops_no_camera(daemon: Daemon) -> None:
    client, orders = watching(daemon), daemon.connect()
    for camera in ("a", "b"):
        # A rate that a busy machine reaches too: below what was asked for, a camera is degraded whoever was killed.
        assert orders.ask(type="set", key=f"camera.{camera}.fps", value=10)["type"] == "ok"
    os.kill(int(detectors(daemon)["detector"]["pid"]), signal.SIGKILL)  # type: ignore[call-overload]
    died = client.event("worker_died")
    assert re.match(r"detector killed by SIGKILL .*restarted, 1 of 5", died["reason"])
    seen = client.collect(lambda m: m.get("kind") == "worker_back")
    results = [m for m in seen if m["type"] == "detections"]
    assert {m["camera"] for m in results} == {"a", "b"}, "the other one went on, with both"
    assert {m["status"] for m in results} == {"degraded"}
    for camera in ("a", "b"):
        client.until(
            lambda m, camera=camera: m["type"] == "detections" and (m["camera"], m["status"]) == (camera, "ok")
        )
    assert detectors(daemon)["detector"]["restarts"] == 1
    assert detectors(daemon)["detector.2"]["restarts"] == 0


def test_the_number_is_a_live_key(daemon: Daemon) -> None:
    client, orders = watching(daemon), daemon.connect()
    assert orders.ask(type="set", key="model.detectors", value=1)["type"] == "ok"
    assert set(detectors(daemon)) == {"detector"}
    client.until("detections")
    assert orders.ask(type="set", key="model.detectors", value=2)["type"] == "ok"
    client.until(lambda _: all(worker["state"] == "running" for worker in detectors(daemon).values()))
    assert len(daemon.running("vigild.detector")) == 2
