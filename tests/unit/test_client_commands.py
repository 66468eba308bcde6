"""`vigild watch`, `status`, `snapshot` and the orders, as processes against a real server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from standin_hub import JPEG, Running, detections, health, running
from vigild.cli.status import lines, overview
from vigild.cli.watch import Lines
from vigild.client import Connected, ConnectionLost, Silent
from vigild.terminal import Screen, width
from vigild.wire.messages import CameraHealth, Event, Heartbeat, Hello, Watching

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "vigild", *words]


def environ(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("VIGILD_SOCKET", "XDG_RUNTIME_DIR")}
    return kept | {"PYTHONPATH": str(ROOT / "daemon"), "TZ": "UTC"} | more


def vigild(*words: str | Path, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environ(**more), timeout=60, cwd="/")
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "s") as hub:
        yield hub


class WatchCommand:
    """`vigild watch` as a process; `next()` is its next line."""

    def __init__(self, hub: Running, *words: str) -> None:
        self.process = subprocess.Popen(
            command("watch", "--socket", hub.path, *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ(),
        )
        hub.wait(lambda: any(client.watching for client in hub.server.clients_health()))

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[int, str, str]:
        # Not communicate(): it does not know what readline() has taken in beyond its line.
        assert self.process.stdout is not None and self.process.stderr is not None
        out, err = self.process.stdout.read(), self.process.stderr.read()
        return self.process.wait(60), out, err


def test_watch_has_lines_for_people(hub: Running) -> None:
    watch = WatchCommand(hub, "--count", "2")
    assert watch.line().endswith("connected to vigild 0.1.0: model testcard int8, cameras: front, back")
    hub.publish(
        Heartbeat(camera="front", status="ok", frame=1),
        detections(1, time="2026-01-02T03:04:05.678Z", truncated=True, file="a.jpg"),
        Heartbeat(camera="front", status="no_frame", frame=1),
        Event(kind="camera_lost", camera="front", reason="it is gone", time="2026-01-02T03:04:06.000Z"),
        detections(2, "back"),
    )
    assert watch.line() == "03:04:05.678  front     person 0.90  cat 0.60  and more  a.jpg"
    assert watch.line().endswith("front     no_frame (was ok)")
    assert watch.line() == "03:04:06.000  front     camera_lost: it is gone"
    code, out, err = watch.end()
    assert (code, err) == (0, "") and "back      person 0.90" in out and "\033" not in out


def test_watch_json_gives_what_the_socket_gave(hub: Running) -> None:
    watch = WatchCommand(
        hub, "--json", "--count", "1", "--label", "cat", "--camera", "front", "--max-fps", "9", "--empty"
    )
    first = json.loads(watch.line())
    assert first["type"] == "connected"
    assert first["policy"] | {"id": 1} == {
        "type": "watching",
        "id": 1,
        "labels": ["cat"],
        "cameras": ["front"],
        "max_fps": 9.0,
        "empty": True,
        "events": ["detections", "health", "event"],
    }
    hub.publish(health(), detections(7))
    assert json.loads(watch.line())["type"] == "health"
    assert watch.line().startswith('{"type":"detections","seq":1,"dropped":0,"camera":"front","frame":7,')
    assert watch.end() == (0, "", "")


def test_watch_says_when_the_daemon_goes_and_comes(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        watch = WatchCommand(hub)
        watch.line()
    assert "connection lost: the daemon closed the connection; trying again" in watch.line()
    with running(tmp_path / "s"):
        assert "connected to vigild" in watch.line()
        watch.process.send_signal(signal.SIGINT)
        assert watch.end() == (130, "", "")


def test_watch_ends_quietly_when_its_reader_does(hub: Running) -> None:
    watch = WatchCommand(hub)
    watch.line()
    assert watch.process.stdout is not None
    watch.process.stdout.close()
    hub.publish(detections())
    assert watch.process.wait(60) == 0
    assert watch.process.stderr is not None and watch.process.stderr.read() == ""


@pytest.mark.parametrize(
    "words", [("watch",), ("status",), ("snapshot", "-o", "x.jpg"), ("set", "a", "1"), ("reload",)]
)
def test_without_a_daemon_one_sentence_says_where_it_was_looked_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = vigild(*words, code=3, VIGILD_SOCKET=str(tmp_path / "none"))
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"vigild: no daemon answers; tried {tmp_path}/none (not there). Start one with: vigild run"
    )
    assert done.stderr.count("\n") == 1


def test_a_refusal_is_one_sentence(hub: Running) -> None:
    done = vigild("watch", "--label", "persn", "--socket", hub.path, code=1)
    assert done.stderr == 'vigild: there is no label "persn" (did you mean "person"?); known are: person, cat, dog\n'


def test_wrong_usage(hub: Running) -> None:
    assert "expected some of detections,health,event" in vigild("watch", "--events", "detection", code=2).stderr
    assert "--output" in vigild("snapshot", code=2).stderr


def test_status_is_one_screen(hub: Running) -> None:
    out = vigild("status", "--config", "--socket", hub.path).stdout
    assert "testcard int8 on litert 2.3.0, delegate xnnpack (60 of 64 nodes), 1 thread" in out
    assert "CAMERA  STATUS      FRAMES/S  SIZE     DROPPED" in out
    assert "front   ok      29.5 of 30.0  640x480  no_credit 3" in out
    assert "temperature  cpu-thermal 54.5 °C" in out
    assert "model.min_score = 0.5" in out
    assert json.loads(vigild("status", "--json", "--socket", hub.path).stdout)["health"]["uptime_s"] == 1.0


def test_status_says_what_the_budgets_give_up_and_what_each_detector_runs() -> None:
    from standin_hub import StandIn
    from vigild.wire.messages import BudgetHealth, Memory, OperatingPoint, WorkerHealth

    def point(variant: str) -> OperatingPoint:
        return OperatingPoint(
            model="people", variant=variant, runtime="litert", runtime_version="2", delegate="xnnpack",
            delegate_nodes=9, total_nodes=10, threads=1,
        )  # fmt: skip

    status: Any = StandIn().status()
    health = status.health
    changed = {
        "workers": [
            WorkerHealth(name=name, kind="detector", pid=7, state="running", restarts=0, operating_point=runs)
            for name, runs in (("detector", point("int8-256")), ("detector-2", point("int8-192")), ("detector-3", None))
        ],
        "memory": Memory(used_bytes=100 << 20, budget_bytes=256 << 20, source="pss", words="Pss of all processes"),
        "budget": BudgetHealth(
            degraded="8 of 30 frames/s: 75 °C", moves={"slower": 2, "faster": 1}, board="it holds 9 frames/s for ever",
            temperature_why="10 °C below the trip", memory_why="half of the board's",
        ),
    }  # fmt: skip
    ill = type(health)(**{f: getattr(health, f) for f in health.__struct_fields__} | changed)
    status = type(status)(**{f: getattr(status, f) for f in status.__struct_fields__} | {"health": ill})
    text = "\n".join(lines(status))
    for words in (
        "models       detector: people int8-256", "detector-2: people int8-192", "detector-3: none loaded",
        "100 of 256 MiB", "from Pss of all processes", "degraded     8 of 30 frames/s", "faster 1x, slower 2x",
        "it holds 9 frames/s for ever", "temperature: 10 °C below the trip", "memory: half of the board's",
    ):  # fmt: skip
        assert words in text, text
    assert all(width(line) <= 80 for line in lines(status, Screen(80, True)))


def test_status_of_a_daemon_in_trouble() -> None:
    from standin_hub import StandIn

    status: Any = StandIn().status()
    ill = health(90_061.0)
    camera = CameraHealth(status="no_frame", fps=0, inferred_fps=0, frame=0, drops={}, reason="camera front: unplugged")
    ill = type(ill)(
        **{f: getattr(ill, f) for f in ill.__struct_fields__}
        | {"cameras": {"front": camera}, "operating_point": None, "flags": ["under_voltage"], "temperatures": {}}
    )
    status = type(status)(**{f: getattr(status, f) for f in status.__struct_fields__} | {"health": ill, "model": None})
    rows = dict(overview(status))
    assert rows["model"] == "none loaded"
    assert any(line.startswith("front   no_frame") and line.endswith("unplugged") for line in lines(status))
    assert all(width(line) <= 40 for line in lines(status, Screen(40, True), settings=True))
    assert rows["temperature"] == "no sensor found; raised: under_voltage"
    assert rows["vigild"].endswith("up 1 d 1 h")
    ill = type(ill)(**{f: getattr(ill, f) for f in ill.__struct_fields__} | {"lost": ["cpu-thermal"], "flags": []})
    status = type(status)(**{f: getattr(status, f) for f in status.__struct_fields__} | {"health": ill})
    assert dict(overview(status))["temperature"] == "none can be read; lost: cpu-thermal"


def test_snapshot_writes_the_picture(hub: Running, tmp_path: Path) -> None:
    done = vigild("snapshot", "-o", tmp_path / "x.jpg", "--camera", "back", "--annotate", "--socket", hub.path)
    assert (tmp_path / "x.jpg").read_bytes() == JPEG
    assert done.stdout == f"{tmp_path}/x.jpg: camera back, frame 7, 1x1\n"
    raw = subprocess.run(
        command("snapshot", "-o", "-", "--socket", hub.path), capture_output=True, env=environ(), timeout=60
    )
    assert raw.stdout == JPEG
    assert "x.jpg" in vigild("snapshot", "-o", tmp_path / "no" / "x.jpg", "--socket", hub.path, code=1).stderr


def test_orders_reach_the_hub_and_its_answer_is_shown(hub: Running) -> None:
    for words, shown in [
        (("set", "model.min_score", "0.4"), "model.min_score: 0.4"),
        (("set", "model.labels_allowed", '["cat"]'), "model.labels_allowed: ['cat']"),
        (("set", "model.x", "75 °C"), "model.x: 75 °C"),
        (("pause", "front"), "pause: front"),
        (("resume",), "resume: None"),
        (("reload",), "reload: None"),
        (("swap", "m.tflite", "--threads", "2"), "swap: /m.tflite"),
        (("swap", "--name", "coco"), "swap: UNSET"),
        (("swap", "coco"), "swap: UNSET"),
    ]:
        assert vigild(*words, "--socket", hub.path).stdout == shown + "\n"
    assert hub.api.orders[0] == ("model.min_score", 0.4)
    assert vigild("set", "x", "1", "--socket", hub.path, code=1).stderr == "vigild: there is no key x\n"


def test_colours_are_for_terminals_only() -> None:
    hello = Hello(protocol="1.0", version="1", instance="i", cameras=[])
    events = [
        Connected(hello=hello, policy=Watching(events=[], empty=False)),
        ConnectionLost(reason="r"),
        Silent(camera="front", silent_s=6.0),
        Heartbeat(camera="front", status="stale", frame=0),
        health(),
        detections(scores={}),
    ]
    plain, painted = Lines(), Lines(Screen(None, True))
    for event in events:
        for line in plain.lines(event):
            assert "\033" not in line
        for line in Lines(Screen(30)).lines(event):
            assert width(line) <= 30
        for line in painted.lines(event):
            assert line.count("\033[0m") == line.count("\033[") / 2 > 0
