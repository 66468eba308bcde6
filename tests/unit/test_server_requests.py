"""Requests and the stream, over a real socket."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rawclient import RawClient
from standin_hub import JPEG, LABELS, Running, detections, health, running
from vigild.wire.messages import PROTOCOL, Event, Heartbeat, ModelInfo


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "s") as hub:
        yield hub


@pytest.fixture
def client(hub: Running) -> Iterator[RawClient]:
    with RawClient(hub.path) as client:
        yield client


def heartbeat(camera: str = "front", frame: int = 1) -> Heartbeat:
    return Heartbeat(camera=camera, status="ok", frame=frame)


def test_the_first_line_says_what_this_is(client: RawClient) -> None:
    hello = client.hello
    assert hello["protocol"] == PROTOCOL
    assert hello["cameras"] == [{"name": "front", "size": [640, 480]}, {"name": "back"}]
    assert hello["model"]["labels"] == LABELS
    assert hello["limits"]["request_bytes"] == 65536 and hello["limits"]["clients"] == 64


def test_answers_carry_the_id_back(client: RawClient) -> None:
    for request, kind in [
        ("ping", "pong"),
        ("watch", "watching"),
        ("unwatch", "unwatched"),
        ("status", "status"),
        ("snapshot", "snapshot"),
        ("pause", "ok"),
        ("resume", "ok"),
        ("reload", "ok"),
        ("nonsense", "error"),
    ]:
        answer = client.ask({"type": request, "id": f"id of {request}"})
        assert (answer["type"], answer["id"]) == (kind, f"id of {request}")
        assert "id" not in client.ask({"type": request})


def test_errors_leave_the_connection_open(client: RawClient) -> None:
    for line, code in [
        (b"nonsense\n", "not_json"),
        (b"\xff\xfe\n", "not_utf8"),
        (b'{"type":"watch","camera":"front"}\n', "unknown_field"),
        (b'{"type":"watch","cameras":["side"]}\n', "unknown_camera"),
        (b'{"type":"watch","labels":["unicorn"]}\n', "unknown_label"),
        (b'{"type":"snapshot","camera":"side"}\n', "unknown_camera"),
        (b'{"type":"set","key":"x","value":1}\n', "bad_value"),
        (b"x" * 65537 + b"\n", "too_long"),
    ]:
        answer = client.ask(line)
        assert (answer["type"], answer["code"]) == ("error", code)
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_a_request_of_just_the_limit_is_read(client: RawClient) -> None:
    line = b'{"type":"ping"' + b" " * (65536 - 15) + b"}\n"
    assert len(line) == 65537
    assert client.ask(line) == {"type": "pong"}


def test_a_fault_of_ours_is_told_and_does_not_hang_the_client(client: RawClient) -> None:
    answer = client.ask({"type": "set", "key": "bug", "value": 1, "id": 5})
    assert (answer["code"], answer["id"]) == ("internal", 5)
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_nothing_comes_unasked(hub: Running, client: RawClient) -> None:
    hub.publish(detections(), heartbeat(), health(), Event(kind="x", time="t"))
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_a_plain_watch_gets_everything(hub: Running, client: RawClient) -> None:
    client.watch()
    hub.publish(detections(), heartbeat(), health(), Event(kind="ended", time="t", camera="front"))
    assert [client.read()["type"] for _ in range(4)] == ["detections", "heartbeat", "health", "event"]


def test_topics_are_chosen_but_heartbeats_always_come(hub: Running, client: RawClient) -> None:
    client.watch(events=[])
    hub.publish(detections(), health(), Event(kind="x", time="t"), heartbeat())
    assert client.read()["type"] == "heartbeat"
    client.watch(events=["event"])
    hub.publish(detections(), health(), Event(kind="model", time="t", model=hub.api._model()))
    event = client.read()
    assert (event["type"], event["kind"], event["model"]["labels"]) == ("event", "model", LABELS)


def test_cameras_are_chosen(hub: Running, client: RawClient) -> None:
    client.watch(cameras=["back"])
    hub.publish(detections(), heartbeat(), Event(kind="lost", time="t", camera="front"))
    hub.publish(detections(camera="back"), heartbeat("back"), Event(kind="reload", time="t"))
    assert [(line["type"], line.get("camera")) for line in (client.read() for _ in range(3))] == [
        ("detections", "back"),
        ("heartbeat", "back"),
        ("event", None),
    ]


def test_each_client_gets_what_it_asked_for_with_numbers_of_its_own(hub: Running) -> None:
    with RawClient(hub.path) as people, RawClient(hub.path) as cats, RawClient(hub.path) as everything:
        people.watch(labels=["person"])
        cats.watch(labels=["cat"], min_score=0.5)
        everything.watch(empty=True)
        hub.publish(detections(1, scores={"person": 0.9}))
        hub.publish(detections(2, scores={"cat": 0.4}))
        hub.publish(detections(3, scores={}))
        hub.publish(detections(4, scores={"cat": 0.8, "person": 0.7}))
        people_lines = [people.read() for _ in range(2)]
        assert [(line["seq"], line["frame"]) for line in people_lines] == [(1, 1), (2, 4)]
        assert [d["label"] for d in people_lines[1]["detections"]] == ["person"]
        line = cats.read()
        assert (line["seq"], line["frame"], line["dropped"]) == (1, 4, 0)
        assert [everything.read()["frame"] for _ in range(4)] == [1, 2, 3, 4]


def test_a_frame_rate_holds_per_camera(hub: Running, client: RawClient) -> None:
    client.watch(max_fps=0.01)
    hub.publish(*(detections(i, camera) for i in range(5) for camera in ("front", "back")), heartbeat())
    assert [(client.read().get("camera"), client.read().get("camera"), client.read()["type"])] == [
        ("front", "back", "heartbeat")
    ]


def test_a_second_watch_replaces_the_first(hub: Running, client: RawClient) -> None:
    client.watch(cameras=["front"], labels=["cat"])
    assert client.watch(min_score=0.95) == {
        "type": "watching",
        "events": ["detections", "health", "event"],
        "empty": False,
        "min_score": 0.95,
    }
    hub.publish(detections(scores={"person": 0.96}, camera="back"))
    assert client.read()["camera"] == "back"


def test_a_refused_watch_leaves_the_policy_in_force(hub: Running, client: RawClient) -> None:
    client.watch(labels=["cat"])
    assert client.ask({"type": "watch", "labels": ["unicorn"]})["code"] == "unknown_label"
    hub.publish(detections())
    assert [d["label"] for d in client.read()["detections"]] == ["cat"]


def test_unwatch_ends_the_stream(hub: Running, client: RawClient) -> None:
    client.watch()
    assert client.ask({"type": "unwatch"}) == {"type": "unwatched"}
    hub.publish(detections(), heartbeat())
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_status_has_health_and_settings(client: RawClient) -> None:
    status = client.ask({"type": "status"})
    assert status["health"]["operating_point"]["delegate"] == "xnnpack"
    assert status["config"]["model.min_score"] == 0.5
    assert status["pid"] == os.getpid()


def test_a_snapshot_is_a_picture(client: RawClient) -> None:
    answer = client.ask({"type": "snapshot", "camera": "back"})
    assert (answer["camera"], answer["format"]) == ("back", "jpeg")
    assert base64.b64decode(answer["data"]) == JPEG


def test_one_snapshot_at_a_time(hub: Running, client: RawClient) -> None:
    import asyncio

    gate = hub.call(asyncio.Event)
    hub.api.gate = gate
    client.send({"type": "snapshot", "id": 1})
    assert client.ask({"type": "snapshot", "id": 2}) | {"message": ""} == {
        "type": "error",
        "id": 2,
        "code": "busy",
        "message": "",
    }
    assert client.ask({"type": "ping", "id": 3})["id"] == 3
    hub.call(gate.set)
    assert client.read()["id"] == 1
    assert client.ask({"type": "snapshot", "id": 4})["type"] == "snapshot"


def test_a_snapshot_too_large_to_wait_is_refused(hub: Running, client: RawClient) -> None:
    hub.api.jpeg = bytes(4 * 1024 * 1024)
    assert client.ask({"type": "snapshot", "id": 1})["code"] == "too_large"
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_orders_of_one_client_are_carried_out_in_order(hub: Running, client: RawClient) -> None:
    import asyncio

    gate = hub.call(asyncio.Event)
    hub.api.gate = gate
    client.send(b"".join(b'{"type":"set","key":"model.k","value":%d,"id":%d}\n' % (i, i) for i in range(5)))
    client.send({"type": "ping"})
    with RawClient(hub.path) as other:
        assert other.ask({"type": "ping"}) == {"type": "pong"}
    assert hub.api.orders == []
    hub.call(gate.set)
    assert [client.read().get("id") for _ in range(6)] == [0, 1, 2, 3, 4, None]
    assert hub.api.orders == [("model.k", i) for i in range(5)]


def test_what_a_swap_says_reaches_the_hub(hub: Running, client: RawClient) -> None:
    assert client.ask({"type": "swap", "path": "/m.tflite", "variant": "int8"})["message"] == "swap: /m.tflite"


def test_model_info_of_an_event_is_that_of_hello(hub: Running, client: RawClient) -> None:
    client.watch()
    model = ModelInfo(name="new", variant="v", sha256="f" * 64, labels=["a"])
    hub.publish(Event(kind="model", time="t", model=model))
    assert set(client.read()["model"]) == set(client.hello["model"])


def test_health_lists_the_connections(hub: Running, client: RawClient) -> None:
    client.watch()
    with RawClient(hub.path):
        hub.publish(detections())
        client.read()
        first, second = hub.clients()
    assert (first.watching, first.sent, first.dropped, first.pid) == (True, 1, 0, os.getpid())
    assert (second.watching, second.id > first.id) == (False, True)


def test_closing_flushes_what_waits(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        client = RawClient(hub.path)
        client.watch()
        hub.publish(Event(kind="stopping", time="t"))
    assert client.read()["kind"] == "stopping"
    assert client.at_end()
