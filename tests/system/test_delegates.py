"""The delegate ladder through TensorFlow Lite's real delegate interface: every way a delegate fails, and the way back.

The delegate is tests/delegates/delegate.c. As libedgetpu.so.1 it stands at the top of the ladder of
`delegate = "auto"`; by its path it is one that was demanded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from harness import Client, Daemon

from delegates.kit import Board, library

CAMERA = '[camera.front]\nsource = "images:{pictures}"\nloop = true\nfps = 20\npace = "{pace}"\n'

CPU = ("xnnpack", "none")
"""What a uint8 model really runs on where the rung is xnnpack: tflite-runtime's XNNPACK takes none of its nodes."""


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture, green at the top left: the models find one object in it."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32, 1] = 255
    cv2.imwrite(str(folder / "green.png"), picture)
    return folder


@pytest.fixture
def board(tmp_path: Path, delegate: Path) -> Board:
    return Board(tmp_path, delegate)


def daemon_on(
    board: Board, pictures: Path, model: str = 'name = "twins"', wait: bool = True, pace: str = "live"
) -> Daemon:
    config = f"[model]\n{model}\n" + CAMERA.format(pictures=pictures, pace=pace)
    return Daemon(board.folder, config, *board.arguments, env=board.environment).start(wait)


def watching(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.watch(empty=True, events=["detections", "event"])
    return client


def result(client: Client, variant: str, status: str) -> dict[str, Any]:
    """A result of that variant and status, which has to be right."""
    message = client.until(lambda m: m["type"] == "detections" and (m["variant"], m["status"]) == (variant, status))
    (found,) = message["detections"]
    assert found["box"] == pytest.approx([0, 0, 0.5, 0.5], abs=1e-3)
    assert (found["class"], found["score"]) == (0, pytest.approx(1, abs=0.01))
    return message


def operating_point(daemon: Daemon) -> dict[str, Any]:
    point: dict[str, Any] = daemon.status()["health"]["operating_point"]
    return point


def detector(daemon: Daemon) -> dict[str, Any]:
    """What `health` says of it, but for the figures that always move."""
    worker = next(w for w in daemon.status()["health"]["workers"] if w["name"] == "detector")
    return {key: value for key, value in worker.items() if key != "latency_ms"}


# ---- auto


def test_an_edge_tpu_that_works(board: Board, pictures: Path) -> None:
    board.behaves("works")
    with daemon_on(board, pictures) as daemon:
        result(watching(daemon), "edgetpu", "ok")
        point = operating_point(daemon)
        # XNNPACK runs what the Edge TPU left: that is not counted for it.
        assert (point["delegate"], point["delegate_nodes"], point["total_nodes"]) == ("edgetpu", 1, 4)
        assert detector(daemon)["restarts"] == 0


@pytest.mark.parametrize("installed", ["device", "library", "neither"])
def test_an_edge_tpu_is_tried_where_there_is_one(
    tmp_path: Path, delegate: Path, pictures: Path, installed: str
) -> None:
    board = Board(tmp_path, delegate, device=installed == "device")
    board.behaves("none")
    if installed != "library":
        board.environment["LD_LIBRARY_PATH"] = ""
    with daemon_on(board, pictures) as daemon:
        result(watching(daemon), "cpu", "ok" if installed == "neither" else "degraded")
        assert ("edgetpu failed" in daemon.logged()) == (installed != "neither") or "edgetpu" in str(detector(daemon))
        assert detector(daemon)["restarts"] == (0 if installed == "neither" else 1)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "none",
            "No usable Edge TPU (:0): libedgetpu.so.1 works, but found no device that it may open; PCIe apex_0 is",
        ),
        ("refuses", "did not start: the tests do not want it to start"),
        ("idle", "took none of the model's"),
        ("segfaults@0", "killed by SIGSEGV while loading the model; libedgetpu.so.1 was most likely built for another"),
        ("aborts@0", "killed by SIGABRT while loading the model (F driver/usb/usb_driver.cc:834]"),
        ("aborts@1", "in the first invoke() (F driver/usb/usb_driver.cc:834]"),
        ("fails@1", "failed to run the model"),
        ("hangs@1", "hung for 10."),
    ],
)
def test_an_edge_tpu_that_does_not_start(board: Board, pictures: Path, word: str, said: str) -> None:
    board.behaves(word)
    with daemon_on(board, pictures) as daemon:
        result(watching(daemon), "cpu", "degraded")
        assert said in detector(daemon)["reason"]
        assert detector(daemon)["reason"].endswith(
            "; delegate xnnpack from now on; restarted, 1 of 5 in the last minute"
        )
        assert operating_point(daemon)["delegate"] in CPU


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hangs@20", "hung for 1."),
        ("slow:3000@20", "hung for 1."),
        ("aborts@20", "killed by SIGABRT in invoke() (F driver/usb"),
        ("segfaults@20", "killed by SIGSEGV in invoke()"),
        ("fails@20", "the test's delegate fails in invoke 20"),
    ],
)
def test_an_edge_tpu_that_fails_at_work(board: Board, pictures: Path, word: str, said: str) -> None:
    board.behaves(word)
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "edgetpu", "ok")
        down = client.event("delegate")["reason"]
        assert down.startswith("edgetpu failed: ")
        assert said in down
        assert down.endswith("; xnnpack from now on")
        result(client, "cpu", "degraded")
        assert operating_point(daemon)["delegate"] in CPU


@pytest.mark.parametrize("word", ["hangs@20", "aborts@20"])
def test_an_edge_tpu_that_comes_back(board: Board, pictures: Path, word: str) -> None:
    board.behaves(f"1x:{word}")
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "edgetpu", "ok")
        result(client, "cpu", "degraded")
        on_cpu = daemon.worker("detector")
        assert client.event("delegate")["reason"] == "edgetpu works again, and takes over from xnnpack"
        result(client, "edgetpu", "ok")
        assert daemon.worker("detector") != on_cpu
        assert operating_point(daemon)["delegate"] == "edgetpu"
        assert detector(daemon)["restarts"] == 1, "the detector on the CPU was replaced, not lost"


def test_an_edge_tpu_that_gets_slow_is_left_alone(board: Board, pictures: Path) -> None:
    board.behaves("slow:150@20")
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "edgetpu", "ok")
        for _ in range(10):
            slow = client.until(lambda m: m["type"] == "detections" and m["infer_ms"] >= 150)
        assert slow["variant"] == "edgetpu"
        assert detector(daemon)["restarts"] == 0
        assert operating_point(daemon)["delegate"] == "edgetpu"


def test_first_use(board: Board, pictures: Path) -> None:
    """An Edge TPU that is given its firmware is not there for a moment: the CPU works, then it takes over."""
    board.behaves("1x:none")
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "cpu", "degraded")
        client.event("delegate", reason="edgetpu works again, and takes over from xnnpack")
        result(client, "edgetpu", "ok")


@pytest.mark.parametrize(("word", "said"), [("segfaults@0", "killed by SIGSEGV"), ("hangs@2", "hung for ")])
def test_an_attempt_to_climb_does_not_touch_the_detector_in_service(
    board: Board, pictures: Path, word: str, said: str
) -> None:
    board.behaves(word)
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "cpu", "degraded")
        before = detector(daemon)
        daemon.wait_for(lambda: f"delegate edgetpu still fails: {said}" in daemon.logged())
        assert detector(daemon) == before
        told = [m for m in client.stream(1.0) if m["type"] == "event"]
        assert told == [], "nothing has changed, so nothing is said"
        assert daemon.logged().count("trying delegate edgetpu again") == 1, "the next attempt is a minute away"


def test_a_compiled_model_without_a_twin_has_nowhere_to_fall(board: Board, pictures: Path) -> None:
    board.behaves("1x:aborts@20")
    with daemon_on(board, pictures, f'path = "{board.edgetpu}"') as daemon:
        client = watching(daemon)
        client.until("detections")
        assert "SIGABRT" in client.event("worker_died")["reason"]
        client.event("worker_back")
        assert operating_point(daemon)["delegate"] == "edgetpu"


def test_a_cpu_model_leaves_the_edge_tpu_alone(board: Board, pictures: Path) -> None:
    board.behaves("works")
    with daemon_on(board, pictures, f'path = "{board.cpu}"') as daemon:
        client = watching(daemon)
        assert client.until("detections")["status"] == "ok"
        assert operating_point(daemon)["delegate"] in CPU
        assert detector(daemon)["restarts"] == 0


# ---- demanded


def refused_start(board: Board, pictures: Path, model: str) -> str:
    with daemon_on(board, pictures, model, wait=False) as daemon:
        assert daemon.wait() == 1, daemon.logged()
        return daemon.logged()


def demanded(board: Board, delegate: Path | str, behave: str = "") -> str:
    options = f'\ndelegate_options = {{ behave = "{behave}" }}' if behave else ""
    return f'path = "{board.cpu}"\ndelegate = "{delegate}"{options}'


def test_a_demanded_delegate(board: Board, pictures: Path, delegate: Path) -> None:
    with daemon_on(board, pictures, demanded(board, delegate, "works")) as daemon:
        client = watching(daemon)
        assert client.until("detections")["status"] == "ok"
        point = operating_point(daemon)
        assert (point["delegate"], point["delegate_nodes"], point["total_nodes"]) == (str(delegate), 1, 4)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("none", "did not start; check delegate_options."),
        ("refuses", "did not start: the tests do not want it to start; check delegate_options."),
        ("idle", "took none of the model's 4 nodes"),
        (
            "segfaults@0",
            "The detector was killed by SIGSEGV while loading the model; the library was most likely built",
        ),
        ("segfaults@1", "The detector was killed by SIGSEGV in the first invoke(); the library was most likely built"),
        ("aborts@0", "The detector was killed by SIGABRT while loading the model"),
        ("fails@1", "failed to run the model: "),
    ],
)
def test_a_demanded_delegate_that_fails_ends_the_start(
    board: Board, pictures: Path, delegate: Path, word: str, said: str
) -> None:
    assert said in refused_start(board, pictures, demanded(board, delegate, word))


def test_a_demanded_library_that_is_none(board: Board, pictures: Path) -> None:
    absent = board.folder / "absent.so"
    assert f"The delegate {absent} cannot be loaded" in refused_start(board, pictures, demanded(board, absent))
    wrong = board.folder / "wrong.so"
    wrong.write_text("not a library")
    assert f"The delegate {wrong} cannot be loaded" in refused_start(board, pictures, demanded(board, wrong))


def test_a_demanded_edge_tpu_gets_one_more_chance(board: Board, pictures: Path) -> None:
    board.behaves("1x:none")
    with daemon_on(board, pictures, 'name = "twins"\ndelegate = "edgetpu"') as daemon:
        client = watching(daemon)
        result(client, "edgetpu", "ok")
        assert detector(daemon)["restarts"] == 1


def test_a_demanded_edge_tpu_that_is_not_there_ends_the_start(tmp_path: Path, delegate: Path, pictures: Path) -> None:
    board = Board(tmp_path, delegate, device=False)
    board.behaves("none")
    logged = refused_start(board, pictures, 'name = "twins"\ndelegate = "edgetpu"')
    assert "no Edge TPU is connected: there is neither /dev/apex_0 nor a USB device 1a6e:089a or 18d1:9302" in logged
    assert "xnnpack" not in logged


def test_a_demanded_delegate_that_keeps_dying_is_kept(board: Board, pictures: Path, delegate: Path) -> None:
    """Restarted with back-off, and said so; the daemon neither ends nor takes another delegate."""
    with daemon_on(board, pictures, demanded(board, delegate, "aborts@3")) as daemon:
        client = daemon.connect()
        client.watch(empty=True, events=["event"])
        statuses, reasons = set(), []
        for message in client.stream():
            if message["type"] == "heartbeat":
                statuses.add(message["status"])
            elif message["type"] == "event":
                assert message["kind"] in ("worker_died", "worker_back", "camera_back", "model"), message
                reasons += [message["reason"]] if message["kind"] == "worker_died" else []
            if len(reasons) == 6:
                break
        assert statuses & {"degraded", "stale"}
        assert all("SIGABRT in invoke()" in reason for reason in reasons)
        assert re.search(r"restarted, \d in the last minute$", reasons[-1]), "it works in between: no waiting"
        assert detector(daemon)["restarts"] >= 6


def test_a_swap_to_a_delegate_that_fails_is_refused(board: Board, pictures: Path) -> None:
    board.behaves("none")
    with daemon_on(board, pictures, f'path = "{board.cpu}"\ndelegate = "none"') as daemon:
        client = watching(daemon)
        client.until("detections")
        before = daemon.worker("detector")
        answer = daemon.connect().ask(type="swap", name="twins", delegate="edgetpu")
        assert (answer["type"], answer["code"]) == ("error", "delegate")
        assert answer["message"].startswith("the running model stays: No usable Edge TPU (:0)")
        assert daemon.worker("detector") == before
        # ... and to one that works, the running one goes on meanwhile.
        board.behaves("1x:none")
        assert daemon.connect().ask(type="swap", name="twins", delegate="edgetpu")["type"] == "ok"
        # Who read nothing through both swaps may have been let go for that, on a busy machine.
        result(watching(daemon), "edgetpu", "ok")


def test_a_swap_down_the_ladder(board: Board, pictures: Path) -> None:
    board.behaves("none")
    with daemon_on(board, pictures, f'path = "{board.cpu}"\ndelegate = "none"') as daemon:
        client = watching(daemon)
        client.until("detections")
        assert daemon.connect().ask(type="swap", name="twins", delegate="auto")["type"] == "ok"
        assert client.event("delegate")["reason"].startswith("edgetpu failed: No usable Edge TPU (:0)")
        result(client, "cpu", "degraded")


def test_a_swap_on_the_edge_tpu(board: Board, pictures: Path) -> None:
    """It can be held by one process: the CPU bridges the gap."""
    board.behaves("works")
    with daemon_on(board, pictures) as daemon:
        client = watching(daemon)
        result(client, "edgetpu", "ok")
        assert daemon.connect().ask(type="swap", threads=2)["type"] == "ok"
        told = client.event("delegate")["reason"]
        assert told == "the model before holds the Edge TPU; xnnpack until it is free"
        result(client, "cpu", "degraded")
        result(client, "edgetpu", "ok")
        assert operating_point(daemon)["threads"] == 2
        assert detector(daemon)["restarts"] == 0


@pytest.mark.parametrize("pace", ["live", "every"])
def test_a_swap_on_a_demanded_edge_tpu(board: Board, pictures: Path, pace: str) -> None:
    """The old detector goes first. A camera that feeds only the one in service is not forgotten meanwhile."""
    board.behaves("works")
    with daemon_on(board, pictures, 'name = "twins"\ndelegate = "edgetpu"', pace=pace) as daemon:
        result(watching(daemon), "edgetpu", "ok")
        assert daemon.connect().ask(type="swap", threads=2)["type"] == "ok"
        result(watching(daemon), "edgetpu", "ok")
        assert operating_point(daemon)["threads"] == 2
        # One that fails, at its second chance too: what ran before runs again.
        board.behaves("2x:none")
        answer = daemon.connect().ask(type="swap", threads=3)
        assert (answer["type"], answer["code"]) == ("error", "delegate")
        result(watching(daemon), "edgetpu", "ok")
        assert operating_point(daemon)["threads"] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every device")
def test_an_edge_tpu_without_permission(board: Board, pictures: Path) -> None:
    board.behaves("none")
    board.node.chmod(0)
    with daemon_on(board, pictures) as daemon:
        result(watching(daemon), "cpu", "degraded")
        assert "add the daemon's user to the group apex" in detector(daemon)["reason"]
