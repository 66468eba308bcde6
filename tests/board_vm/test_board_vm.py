"""A bundle on a whole emulated board: its camera, its heat, its memory, and its life beyond a reboot.

Each board is started and installed once; the tests go on where the one before left it running.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import cv2
import numpy as np
from installed import PATIENCE_S, Installed, health, wait_for

from system.harness import Client

VIVID = "/sys/bus/platform/drivers/vivid"


def status_of(client: Client) -> str:
    return str(health(client)["cameras"]["front"]["status"])


def snapshot(client: Client, patience_s: float) -> dict[str, Any]:
    """Of a camera that gives 25 frames a second to a detector that takes a second for one: some are gone already."""
    end = time.monotonic() + patience_s
    while (answer := client.ask(type="snapshot", camera="front"))["type"] != "snapshot":
        assert answer["code"] == "no_frame", answer
        assert time.monotonic() < end, answer
        client.until("detections", patience_s)
    return answer


def degraded(message: dict[str, Any]) -> bool:
    """Whether this is a `health` that tells of work given up to a budget."""
    return message["type"] == "health" and bool(message["budget"].get("degraded"))


def inferred_fps(message: dict[str, Any]) -> float:
    return float(message["cameras"]["front"]["inferred_fps"])


def rates(moves: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Frames a second before and after each: "from 11.0 to 19.5 fps: acpitz 52.2 °C, ..." """
    found = [re.search(r"from ([0-9.]+) to ([0-9.]+) fps: acpitz ", move["reason"]) for move in moves]
    return [(float(match[1]), float(match[2])) for match in found if match]


def test_the_installer_finds_the_camera_and_the_release_passes_its_gate(installed: Installed):
    assert "passed its gate" in installed.said
    assert 'source = "/dev/video0"' in installed.board.run("cat /etc/vigild/vigild.toml")
    assert installed.show("ActiveState") == "active"
    assert "video" in installed.board.run("id -Gn vigild").split()


def test_the_first_detections_after_a_start(installed: Installed):
    installed.board.run("systemctl restart --no-block vigild")
    with installed.client() as client:  # the socket is there all the time
        seen = [client.until("detections", PATIENCE_S) for _ in range(3)]
    installed.tell(f"from the service's start to the first detections {installed.since_start_s(seen[0]):.1f} s")
    assert {each["camera"] for each in seen} == {"front"}
    assert seen[2]["frame"] > seen[1]["frame"] > seen[0]["frame"]
    times = sorted(each["infer_ms"] for each in seen)
    installed.tell(f"the interpreter takes {times[1]:.0f} ms a frame")


def test_the_picture_is_what_the_kernels_camera_draws(installed: Installed):
    with installed.client() as client:
        answer = snapshot(client, PATIENCE_S)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(answer["data"]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    height, width = image.shape[:2]
    assert [width, height] == answer["size"]
    # vivid's first picture is colour bars: from left to right the colour changes, and each is plain.
    row = image[height // 2].astype(int)
    middles = row[[width * (2 * bar + 1) // 16 for bar in range(8)]]
    assert np.abs(np.diff(middles, axis=0)).max(axis=1).min() > 30, middles


def test_a_camera_that_is_unplugged_and_plugged_in_again(installed: Installed):
    before = installed.show("MainPID")
    with installed.client() as client:
        client.until("detections", PATIENCE_S)
        installed.board.run(f"echo vivid.0 > {VIVID}/unbind; test ! -e /dev/video0")
        lost = client.until(lambda m: m["type"] == "heartbeat" and m["status"] == "no_frame", PATIENCE_S)
        assert lost["camera"] == "front"
        assert status_of(client) == "no_frame"
        installed.board.run(f"echo vivid.0 > {VIVID}/bind")
        client.event("camera_back", PATIENCE_S, camera="front")
        client.until("detections", PATIENCE_S)
        client.until(lambda m: m["type"] == "heartbeat" and m["status"] != "no_frame", PATIENCE_S)
    assert installed.show("MainPID") == before


def test_it_gives_up_work_when_the_zone_heats_up_and_takes_it_back_when_it_cools(x86: Installed):
    x86.board.heat(50)
    with x86.client() as client:
        client.until(lambda m: m["type"] == "health" and 50.0 in m["temperatures"].values(), PATIENCE_S)
        full = client.until(lambda m: m["type"] == "health" and not degraded(m) and inferred_fps(m) > 0, PATIENCE_S)
        assert full["cameras"]["front"].get("max_fps") is None, full
        x86.board.heat(90)
        moved = client.event("budget", PATIENCE_S)
        ((before, after),) = rates([moved])
        assert after < before, moved
        given_up = client.until(degraded, PATIENCE_S)
        assert "acpitz" in given_up["budget"]["degraded"], given_up
        camera = given_up["cameras"]["front"]
        assert "governor" in camera.get("holds", ()) or camera["max_fps"] < before, given_up
        # Less is inferred, not only asked for; and more again below.
        less = client.until(lambda m: degraded(m) and inferred_fps(m) < 0.8 * inferred_fps(full), 2 * PATIENCE_S)
        x86.board.heat(50)
        begun = time.monotonic()
        seen = client.collect(lambda m: m["type"] == "health" and not degraded(m), 2 * PATIENCE_S)
        # Taken back by moves of its own, each with its reason: "from 11.0 to 19.5 fps: acpitz 52.2 °C, ..."
        back = [m for m in seen if m["type"] == "event" and m["kind"] == "budget"]
        assert any(after > before for before, after in rates(back)), back
        camera = seen[-1]["cameras"]["front"]
        assert camera.get("max_fps") is None and not camera.get("holds"), camera
        x86.tell(f"all work again {time.monotonic() - begun:.0f} s after the heat had gone")
        client.until(lambda m: m["type"] == "health" and inferred_fps(m) > inferred_fps(less), PATIENCE_S)


def test_above_memory_high_it_gives_up_what_it_can_and_goes_on(installed: Installed):
    pid, restarts = installed.show("MainPID"), installed.show("NRestarts")
    with installed.client() as client:
        memory = health(client)["memory"]
        assert memory["source"].startswith("cgroup"), memory
        before = installed.counted("high")
        # What grows is slowed down at the limit, not the daemon: without swap there is little that it could give back.
        used = int(installed.group("memory.current"))
        installed.limit(used + (8 << 20), used + (128 << 20))
        installed.grow(12 << 20)
        assert installed.counted("high") > before
        # The governor hears of it from the kernel, whatever the bytes say; or before that from the limit itself, since
        # its budget, which nobody set, lies below any limit that there is.
        moved = client.until(lambda m: m["type"] == "event" and "caches are trimmed" in m.get("reason", ""), PATIENCE_S)
        budget = re.search(r"([0-9]+) MiB, .* budget ([0-9]+) MiB", moved["reason"])
        assert moved["kind"] == "budget" and budget is not None, moved
        assert "above memory.high" in moved["reason"] or int(budget[1]) > int(budget[2]), moved
        limited = client.until(lambda m: m["type"] == "health" and "memory_trim" in m["budget"]["moves"], PATIENCE_S)
        assert limited["memory"]["budget_bytes"] < used + (8 << 20), limited
        assert limited["budget"]["moves"]["memory_trim"] == 1
        installed.unlimit()
        client.until("detections", PATIENCE_S)
    assert (installed.show("MainPID"), installed.show("NRestarts")) == (pid, restarts)
    assert installed.counted("oom_kill") == 0


def test_a_worker_killed_at_memory_max_is_started_again(installed: Installed):
    pid, before = installed.show("MainPID"), installed.counted("oom_kill")
    with installed.client() as client:
        # Room for what runs and a little more, then something in the group that takes more than that for a moment.
        # With it the hub fits and the workers do not.
        installed.limit("infinity", int(installed.group("memory.current")) + (32 << 20))
        installed.grow(64 << 20)
        assert installed.counted("oom_kill") > before
        installed.unlimit()
        client.event("worker_back", PATIENCE_S)
        client.until("detections", PATIENCE_S)
    # What was killed is a worker: the hub, its client and the unit went on.
    assert installed.show("MainPID") == pid
    assert installed.show("ActiveState") == "active"


def test_it_comes_back_with_a_reboot(installed: Installed):
    installed.board.reboot()
    wait_for(lambda: installed.show("ActiveState") == "active", "the service is active")
    with installed.client() as client:
        first = client.until("detections", PATIENCE_S)
    installed.tell(f"after a reboot detections at {first['captured_ns'] / 1e9:.0f} s of the board's uptime")
