"""Changes to a running daemon: reload, set, swap, pause. Clients stay, and a refusal changes nothing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness import Client, Daemon, holdings, settled_holdings

from unit import modelkit


class Settings:
    """The daemon's configuration file, written again with other values."""

    def __init__(self, path: Path, model: Path) -> None:
        self.path = path
        self.model: dict[str, Any] = {"path": str(model), "min_score": 0.1}
        self.daemon: dict[str, Any] = {}
        self.cameras: dict[str, dict[str, Any]] = {"front": {"source": "testcard", "fps": 30, "size": [160, 120]}}

    def text(self) -> str:
        tables = {"daemon": self.daemon, "model": self.model}
        tables |= {f"camera.{name}": table for name, table in self.cameras.items()}
        # JSON's numbers, strings and lists are TOML's, too.
        return "".join(
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        )

    def write(self) -> None:
        self.path.write_text(self.text())


class Running:
    """A daemon under load, and a client that watches it without a break."""

    def __init__(self, daemon: Daemon, settings: Settings) -> None:
        self.daemon, self.settings = daemon, settings
        self.client = daemon.connect()
        self.client.watch(empty=True, events=["detections", "event"])
        self.orders = daemon.connect()
        self.client.until("detections")

    def reload(self) -> dict[str, Any]:
        self.settings.write()
        return self.orders.ask(type="reload")


@pytest.fixture
def settings(tmp_path: Path, model: Path) -> Settings:
    return Settings(tmp_path / "vigild.toml", model)


@pytest.fixture
def running(tmp_path: Path, settings: Settings) -> Iterator[Running]:
    with Daemon(tmp_path, settings.text()) as daemon:
        yield Running(daemon, settings)


def results(client: Client, count: int) -> list[dict[str, Any]]:
    return [client.until("detections") for _ in range(count)]


def test_live_keys_take_effect_and_nothing_is_reopened(running: Running) -> None:
    daemon, client = running.daemon, running.client
    workers = [daemon.worker("camera.front"), daemon.worker("detector")]
    before = client.until("detections")
    assert {d["label"] for d in before["detections"]} == {"class_0", "class_1"}
    running.settings.model["labels_allowed"] = ["class_1"]
    running.settings.daemon["health_interval"] = "1 s"
    answer = running.reload()
    assert answer["type"] == "ok"
    assert "model.labels_allowed" in answer["message"]
    assert client.event("reload")["reason"] == answer["message"]
    after = client.until(lambda m: m["type"] == "detections" and {d["label"] for d in m["detections"]} == {"class_1"})
    running.settings.model["min_score"] = 0.9
    assert running.reload()["type"] == "ok"
    client.until(lambda m: m["type"] == "detections" and m["detections"] == [])
    assert [daemon.worker("camera.front"), daemon.worker("detector")] == workers
    assert after["frame"] > before["frame"]
    assert daemon.status()["config"]["model.min_score"] == 0.9


def test_sighup_reloads(running: Running) -> None:
    running.settings.model["labels_allowed"] = ["class_0"]
    running.settings.write()
    running.daemon.signal(signal.SIGHUP)
    assert "model.labels_allowed" in running.client.event("reload")["reason"]
    # Again with nothing new: not an error, and nothing happens.
    running.daemon.signal(signal.SIGHUP)
    assert running.client.event("reload")["reason"] == "nothing has changed"


INVALID: list[tuple[str | None, list[str]]] = [
    ("[model]\nmin_score = 2\n", ["model.min_score", "2"]),
    ("[model]\nmin_scor = 0.5\n", ["model.min_scor", "min_score"]),
    ("[budget]\ntemperature = 75\n", ["budget.temperature", "75"]),
    ('[camera.front]\nsource = "testcard"\npace = "fast"\n', ["camera.front.pace", "fast", "live"]),
    ("[model\n", ["vigild.toml"]),
    (None, ["vigild.toml"]),
]
"""A file's text (None: no file), and what the refusal must name."""


def test_an_invalid_file_changes_nothing(running: Running) -> None:
    daemon = running.daemon
    config, workers = daemon.status()["config"], [daemon.worker("camera.front"), daemon.worker("detector")]
    for text, words in INVALID:
        if text is None:
            daemon.config.unlink()
        else:
            daemon.config.write_text(text)
        answer = running.orders.ask(type="reload")
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        assert all(word in answer["message"] for word in words), answer["message"]
        told = running.client.event("reload_failed")["reason"]
        assert all(word in told for word in words)
        daemon.signal(signal.SIGHUP)
        assert running.client.event("reload_failed")["reason"] == told
        results(running.client, 3)
        assert daemon.status()["config"] == config
    assert [daemon.worker("camera.front"), daemon.worker("detector")] == workers
    assert "Traceback" not in daemon.logged()


def test_cameras_come_and_go(running: Running) -> None:
    daemon, client, settings = running.daemon, running.client, running.settings
    front = daemon.worker("camera.front")
    frame = client.until("detections")["frame"]
    settings.cameras["back"] = {"source": "testcard", "fps": 10}
    assert "back" in running.reload()["message"]
    client.until(lambda m: m["type"] == "detections" and m["camera"] == "back")
    assert [camera["name"] for camera in daemon.connect().hello["cameras"]] == ["front", "back"]
    back = daemon.worker("camera.back")
    settings.cameras["back"]["size"] = [320, 240]
    assert "camera reopened: back (size)" in running.reload()["message"]
    client.until(lambda m: m["type"] == "detections" and m["camera"] == "back" and m["size"] == [320, 240])
    assert daemon.worker("camera.back") == back
    del settings.cameras["back"]
    assert "back" in running.reload()["message"]
    daemon.wait_for(lambda: not Path(f"/proc/{back}").exists())
    assert [camera["name"] for camera in daemon.connect().hello["cameras"]] == ["front"]
    # All the while the camera that was not touched went on, in the same process, frame after frame.
    assert daemon.worker("camera.front") == front
    assert client.until(lambda m: m["type"] == "detections" and m["camera"] == "front")["frame"] > frame
    assert "Traceback" not in daemon.logged()


def test_an_emptied_file_closes_no_camera(running: Running) -> None:
    daemon, orders = running.daemon, running.orders
    front = daemon.worker("camera.front")
    for text in ("", "[model]\nmin_score = 0.2\n", "# [camera.front]\n"):
        daemon.config.write_text(text)
        answer = orders.ask(type="reload")
        assert (answer["type"], answer["code"]) == ("error", "invalid")
        assert "(front) would be closed" in answer["message"]
        assert "daemon.allow_no_cameras" in running.client.event("reload_failed")["reason"]
    assert daemon.worker("camera.front") == front
    assert daemon.status()["config"]["model.min_score"] == 0.1
    running.settings.daemon["allow_no_cameras"] = True
    del running.settings.cameras["front"]
    assert "camera removed: front" in running.reload()["message"]
    daemon.wait_for(lambda: not Path(f"/proc/{front}").exists())
    running.settings.cameras["front"] = {"source": "testcard", "fps": 10}
    assert "camera added: front" in running.reload()["message"]
    running.client.until("detections")


def test_nothing_that_would_be_run_is_set_by_a_client(running: Running) -> None:
    for key, value, words in (
        ("camera.front.source", "exec:cat x", "camera.front.source: an exec: source cannot be set by a client"),
        ("model.delegate", "/tmp/lib.so", "model.delegate: a library's path cannot be set by a client"),
    ):
        answer = running.orders.ask(type="set", key=key, value=value)
        assert (answer["type"], answer["code"]) == ("error", "forbidden")
        assert words in answer["message"]
    assert running.orders.ask(type="swap", delegate="/tmp/lib.so")["code"] == "forbidden"


def test_cameras_written_into_a_file_that_had_none_are_taken_up(tmp_path: Path, model: Path) -> None:
    """The daemon took the first camera it found; the file's own take its place, and an emptied one gives it back."""
    settings = Settings(tmp_path / "vigild.toml", model)
    written, settings.cameras = settings.cameras, {}
    with Daemon(tmp_path, settings.text()) as daemon:
        orders = daemon.connect()
        assert [camera["name"] for camera in orders.hello["cameras"]] == ["camera"]
        for settings.cameras, name in ((written, "front"), ({}, "camera")):
            settings.write()
            assert f"camera added: {name}" in orders.ask(type="reload")["message"]
            assert [camera["name"] for camera in daemon.connect().hello["cameras"]] == [name]


def test_a_daemon_may_start_without_a_camera(tmp_path: Path, model: Path) -> None:
    settings = Settings(tmp_path / "vigild.toml", model)
    settings.daemon["allow_no_cameras"] = True
    written, settings.cameras = settings.cameras, {}
    with Daemon(tmp_path, settings.text()) as daemon:
        running = daemon.connect()
        assert running.hello["cameras"] == []
        settings.cameras = written
        settings.write()
        assert "camera added: front" in running.ask(type="reload")["message"]
        running.watch(empty=True)
        assert running.until("detections")["camera"] == "front"


def test_a_camera_moves_into_the_shared_process_and_out(running: Running) -> None:
    daemon, client = running.daemon, running.client
    for isolation, worker in (("shared", "cameras"), ("process", "camera.front")):
        frame = client.until("detections")["frame"]
        running.settings.cameras["front"]["isolation"] = isolation
        assert running.reload()["type"] == "ok"
        pid = daemon.worker(worker)
        daemon.wait_for(partial(is_alone, daemon, "vigild.camera", pid))
        client.event("camera_back")
        assert client.until("detections")["frame"] > frame, "its frames are numbered on"


def is_alone(daemon: Daemon, module: str, pid: int) -> bool:
    return daemon.running(module) == [pid]


def test_reloads_under_load(running: Running) -> None:
    daemon, settings = running.daemon, running.settings
    workers = [daemon.worker("camera.front"), daemon.worker("detector")]
    before = settled_holdings(daemon.pid)
    seqs = []
    for turn in range(12):
        settings.model["max_results"] = 1 + turn % 3
        if turn % 3 == 2:
            daemon.config.write_text("[model]\nmax_results = 0\n")
            assert running.orders.ask(type="reload")["code"] == "invalid"
        else:
            assert running.reload()["type"] == "ok"
        seqs += [message["seq"] for message in results(running.client, 2)]
    assert seqs == sorted(seqs)
    assert [daemon.worker("camera.front"), daemon.worker("detector")] == workers
    daemon.wait_for(lambda: holdings(daemon.pid) == before)


# ---- models


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """The same network with another input type, so that rings must be made anew."""
    return modelkit.quadrants(tmp_path, dtype="int8", name="other.tflite")


def test_a_model_changes_by_reload(running: Running, other_model: Path) -> None:
    daemon, client = running.daemon, running.client
    camera, old = daemon.worker("camera.front"), daemon.worker("detector")
    running.settings.model["path"] = str(other_model)
    answer = running.reload()
    assert answer["type"] == "ok"
    assert "model.path" in answer["message"]
    event = client.event("model")["model"]
    assert (event["name"], event["variant"]) == ("other", "int8-16x16")
    assert event == daemon.connect().hello["model"]
    assert client.until("detections")["model"] == "other"
    assert daemon.worker("camera.front") == camera
    assert daemon.worker("detector") != old
    daemon.wait_for(lambda: not Path(f"/proc/{old}").exists())


def test_swaps_leave_no_gap_and_nothing_behind(running: Running, model: Path, other_model: Path) -> None:
    daemon, client = running.daemon, running.client

    def swap(turn: int) -> None:
        assert running.orders.ask(type="swap", path=str((other_model, model)[turn % 2]))["type"] == "ok"

    def settled() -> bool:
        return len(daemon.running("vigild.detector")) == 1

    for turn in range(4):  # the first ones make room that the later ones use again
        swap(turn)
    daemon.wait_for(settled)
    daemon.wait_for(lambda: holdings(daemon.pid).children == 2)  # the hub has taken note of that end, too
    before = settled_holdings(daemon.pid)
    memory = anonymous_bytes(daemon.pid)
    seen: list[dict[str, Any]] = []
    for turn in range(20):
        swap(turn)
        name = ("other", "quadrants")[turn % 2]
        seen += client.collect(partial(is_result_of, name))
    frames = [m["frame"] for m in seen if m["type"] == "detections"]
    assert frames == sorted(set(frames)), "no frame twice, none out of order"
    assert [m["model"]["name"] for m in seen if m.get("kind") == "model"][-20:] == ["other", "quadrants"] * 10
    assert {m["type"] for m in seen if m["type"] == "error"} == set()
    assert not {m["kind"] for m in seen if m["type"] == "event"} - {"model"}
    # The old one works until the new one has given a result, so at 30 frames/s a gap is a few frames.
    gaps = [b - a for a, b in itertools.pairwise(frames)]
    assert sorted(gaps)[-len(gaps) // 20] <= 15, gaps
    daemon.wait_for(lambda: holdings(daemon.pid) == before)
    assert daemon.worker("camera.front")
    assert anonymous_bytes(daemon.pid) - memory < 2**20
    assert settled()


def is_result_of(name: str, message: dict[str, Any]) -> bool:
    return bool(message["type"] == "detections" and message["model"] == name)


def anonymous_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon:")).split()[1]) * 1024


def test_a_bad_model_is_refused_and_the_old_one_goes_on(tmp_path: Path, running: Running, model: Path) -> None:
    daemon = running.daemon
    (tmp_path / "text.tflite").write_bytes(b"this is not a model\n" * 100)
    (tmp_path / "cut.tflite").write_bytes(model.read_bytes()[:900])
    modelkit.classifier(tmp_path)
    config, detector = daemon.status()["config"], daemon.worker("detector")
    for name, code, words in (
        ("text.tflite", "not_tflite", "is not a TFLite model"),
        ("none.tflite", "missing", "no model file"),
        ("cut.tflite", "truncated", "truncated"),
        ("classifier.tflite", "classifier", "classif"),
    ):
        path = str(tmp_path / name)
        for request in ({"type": "swap", "path": path}, {"type": "set", "key": "model.path", "value": path}):
            answer = running.orders.ask(**request)
            assert (answer["type"], answer["code"]) == ("error", code), answer
            assert "the running model stays" in answer["message"]
            assert words in answer["message"]
    client = daemon.connect()
    client.watch(empty=True)
    assert client.until("detections")["model"] == "quadrants"
    running.settings.model["path"] = path
    assert running.reload()["code"] == code
    assert client.event("reload_failed")["reason"]
    assert daemon.worker("detector") == detector
    assert daemon.status()["config"] == config
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 1)


def test_a_swap_while_no_camera_delivers(running: Running, other_model: Path) -> None:
    assert running.orders.ask(type="pause")["type"] == "ok"
    assert running.orders.ask(type="swap", path=str(other_model))["type"] == "ok"
    assert running.client.event("model")["model"]["name"] == "other"
    assert running.orders.ask(type="resume")["type"] == "ok"
    assert running.client.until("detections")["model"] == "other"


def test_the_detector_dies_during_a_swap(running: Running, other_model: Path) -> None:
    daemon, orders = running.daemon, running.orders
    old = daemon.worker("detector")
    orders.send(type="swap", path=str(other_model), id=1)
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 2)
    os.kill(old, signal.SIGKILL)
    answer = orders.until(lambda m: m.get("id") == 1)
    assert answer["type"] == "ok", answer
    running.client.until(lambda m: m["type"] == "detections" and m["model"] == "other" and m["status"] == "ok")
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 1)


def test_the_replacement_dies_during_a_swap(running: Running, other_model: Path) -> None:
    daemon, orders = running.daemon, running.orders
    old = daemon.worker("detector")
    orders.send(type="swap", path=str(other_model), delegate="none", id=1)
    daemon.wait_for(lambda: len(daemon.running("vigild.detector")) == 2)
    os.kill(next(pid for pid in daemon.running("vigild.detector") if pid != old), signal.SIGKILL)
    answer = orders.until(lambda m: m.get("id") == 1)
    assert (answer["type"], answer["code"]) == ("error", "crashed")
    assert "killed by SIGKILL" in answer["message"]
    assert running.client.until("detections")["model"] == "quadrants"
    assert daemon.worker("detector") == old
    assert orders.ask(type="swap", path=str(other_model))["type"] == "ok", "the next swap is a new chance"


def test_changes_at_once_are_taken_up_one_after_the_other(running: Running, model: Path, other_model: Path) -> None:
    daemon = running.daemon
    clients = [daemon.connect() for _ in range(4)]
    for turn, client in enumerate(clients):
        client.send(type="swap", path=str((other_model, model)[turn % 2]), id=turn)
        client.send(type="set", key="model.max_results", value=turn + 1, id=10 + turn)
    for turn, client in enumerate(clients):
        for id in (turn, 10 + turn):
            answer = client.until(lambda m, id=id: m.get("id") == id)  # type: ignore[misc]
            assert answer["type"] == "ok", answer
    # The file's own setting, by a signal that comes while a model is being loaded.
    running.settings.model["max_results"] = 7
    running.settings.write()
    clients[0].send(type="swap", path=str(other_model), id=20)
    daemon.signal(signal.SIGHUP)
    running.client.event("reload")
    assert clients[0].until(lambda m: m.get("id") == 20)["type"] == "ok"
    assert daemon.status()["config"]["model.max_results"] == 7, "whichever came first"
    assert "Traceback" not in daemon.logged()


def test_a_setting_while_the_detector_is_down(running: Running) -> None:
    daemon, client = running.daemon, running.client
    os.kill(daemon.worker("detector"), signal.SIGKILL)
    for _ in range(3):  # without work in between, each start is waited with for longer
        client.event("worker_died")
        while not (started := daemon.running("vigild.detector")):
            pass
        os.kill(started[0], signal.SIGKILL)
    assert "starting again in" in client.event("worker_died")["reason"]
    assert daemon.running("vigild.detector") == []
    assert running.orders.ask(type="set", key="model.min_score", value=1.0)["type"] == "ok"
    client.event("worker_back")
    assert client.until("detections")["detections"] == []


# ---- set, pause, resume, and who may


def test_set_one_key(running: Running) -> None:
    client, orders = running.client, running.orders
    assert orders.ask(type="set", key="model.min_score", value=1.0)["type"] == "ok"
    client.until(lambda m: m["type"] == "detections" and m["detections"] == [])
    assert orders.ask(type="set", key="model.min_score", value=0.1)["type"] == "ok"
    client.until(lambda m: m["type"] == "detections" and m["detections"])
    for key, value, words in (
        ("model.min_score", 2, "model.min_score"),
        ("model.min_scor", 0.5, "min_score"),
        ("camera.side.fps", 5, "side"),
        ("budget.temperature", 75, "budget.temperature"),
    ):
        answer = orders.ask(type="set", key=key, value=value)
        assert (answer["type"], answer["code"]) == ("error", "invalid"), answer
        assert words in answer["message"]
    results(client, 3)


def test_pause_and_resume(running: Running) -> None:
    client, orders, daemon = running.client, running.orders, running.daemon
    workers = [daemon.worker("camera.front"), daemon.worker("detector")]
    assert orders.ask(type="pause", camera="front")["message"] == "paused: front"
    assert client.event("paused")["camera"] == "front"
    assert client.until("heartbeat")["status"] == "paused"
    assert client.until("heartbeat")["status"] == "paused"
    frame = daemon.status()["health"]["cameras"]["front"]["frame"]
    assert daemon.status()["health"]["cameras"]["front"]["frame"] == frame
    assert orders.ask(type="resume")["type"] == "ok"
    assert client.event("resumed")["camera"] == "front"
    assert client.until("detections")["frame"] > frame
    assert orders.ask(type="pause", camera="side")["code"] == "unknown_camera"
    assert [daemon.worker("camera.front"), daemon.worker("detector")] == workers


def test_a_paused_camera_stays_paused_through_deaths(running: Running) -> None:
    client, orders, daemon = running.client, running.orders, running.daemon
    assert orders.ask(type="pause")["type"] == "ok"
    client.event("paused")
    for name in ("camera.front", "detector"):
        os.kill(daemon.worker(name), signal.SIGKILL)
        client.event("worker_died")
    client.event("camera_back")
    daemon.wait_for(lambda: daemon.status()["model"] is not None and bool(daemon.worker("detector")))
    seen = client.collect("heartbeat") + client.collect("heartbeat")
    assert {m["status"] for m in seen if m["type"] == "heartbeat"} == {"paused"}
    assert not [m for m in seen if m["type"] == "detections"]
    assert orders.ask(type="resume")["type"] == "ok"
    client.until("detections")


ASK_AS_NOBODY = """
import json, os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
lines = sock.makefile("rwb")
lines.readline()
answers = []
for request in json.loads(sys.argv[2]):
    lines.write(json.dumps(request).encode() + b"\\n")
    lines.flush()
    answers.append(json.loads(lines.readline()))
print(json.dumps(answers))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_orders_of_another_user_are_refused(tmp_path_factory: pytest.TempPathFactory, model: Path) -> None:
    # pytest's own folders are closed to others.
    folder = Path("/tmp") / f"vigild-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        settings = Settings(folder / "vigild.toml", model)
        settings.daemon["socket_mode"] = "0666"
        with Daemon(folder, settings.text()) as daemon:
            orders = [
                {"type": "pause"},
                {"type": "resume"},
                {"type": "reload"},
                {"type": "set", "key": "model.min_score", "value": 0.9},
                {"type": "swap", "path": "/etc/passwd"},
            ]
            command = [sys.executable, "-I", "-c", ASK_AS_NOBODY, str(daemon.socket)]
            output = subprocess.run(
                [*command, json.dumps([*orders, {"type": "ping"}])], check=True, capture_output=True, timeout=30
            )
            *refused, pong = json.loads(output.stdout)
            assert [(answer["type"], answer["code"]) for answer in refused] == [("error", "forbidden")] * 5
            assert all("uid 65534" in answer["message"] for answer in refused)
            assert pong["type"] == "pong", "it may look, and the connection stays open"
            assert daemon.status()["config"]["model.min_score"] == 0.1
    finally:
        shutil.rmtree(folder)


def test_other_contents_under_the_same_name_are_taken_up(tmp_path: Path) -> None:
    path = modelkit.quadrants(tmp_path)
    settings = Settings(tmp_path / "vigild.toml", path)
    settings.write()
    with Daemon(tmp_path) as daemon:
        running = Running(daemon, settings)
        before = running.orders.ask(type="status")["model"]["sha256"]
        other = path.with_suffix(".new")
        other.write_bytes(path.read_bytes() + bytes(16))
        other.replace(path)
        answer = running.reload()
        assert answer["type"] == "ok" and f"what {path} holds" in answer["message"], answer
        assert running.orders.ask(type="status")["model"]["sha256"] != before
        assert running.reload()["message"] == "nothing has changed"
