"""Both clients against a real server that comes, goes and hangs."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from standin_hub import JPEG, Running, StandIn, detections, running
from vigild.client import (
    AsyncClient,
    Client,
    Connected,
    ConnectionLost,
    Detections,
    Heartbeat,
    NoDaemon,
    ProtocolError,
    Refused,
    Silent,
)
from vigild.hub.places import KEPT_PLACES
from vigild.wire.messages import Heartbeat as HeartbeatMessage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "s") as hub:
        yield hub


class Blocking:
    """`AsyncClient` behind the interface of `Client`, so that every test runs on both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = AsyncClient(*args, **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(getattr(self._client, name)(*args, **kwargs))

    def watch(self, **policy: Any) -> Iterator[Any]:
        loop = asyncio.new_event_loop()
        stream: AsyncIterator[Any] = self._client.watch(**policy)
        try:
            while True:
                yield loop.run_until_complete(anext(stream))
        finally:
            loop.run_until_complete(stream.aclose())  # type: ignore[attr-defined]
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


@pytest.fixture(params=[Client, Blocking], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_requests_have_typed_answers(hub: Running, make: Any) -> None:
    client = make(hub.path)
    assert client.status().health.cameras["front"].fps == 30.0
    assert client.snapshot("back").picture == JPEG
    assert client.ping() is None
    assert client.set("model.min_score", 0.3) == "model.min_score: 0.3"
    assert client.pause("front") == "pause: front"
    assert client.resume() == "resume: None"
    assert client.reload() == "reload: None"
    assert client.swap(path="/m.tflite", threads=2) == "swap: /m.tflite"
    hub.wait(lambda: not hub.server.clients_health())


def test_a_refusal_has_its_code(hub: Running, make: Any) -> None:
    with pytest.raises(Refused, match="known are: front, back") as caught:
        make(hub.path).snapshot("side")
    assert caught.value.code == "unknown_camera"
    with pytest.raises(Refused, match="known are"):
        next(make(hub.path).watch(labels=["unicorn"]))


def test_no_daemon_is_an_error_that_lists_what_was_tried(tmp_path: Path, make: Any) -> None:
    with pytest.raises(NoDaemon, match="not there"):
        make(tmp_path / "none").status()
    with pytest.raises(NoDaemon, match="not there"):
        next(make(tmp_path / "none").watch())


def test_a_full_daemon_says_so(tmp_path: Path, make: Any) -> None:
    api = StandIn()
    api.most = -KEPT_PLACES  # and none for the owners
    with running(tmp_path / "s", api) as hub:
        with pytest.raises(Refused) as caught:
            make(hub.path).status()
        assert caught.value.code == "too_many_clients"
        with pytest.raises(Refused):
            next(make(hub.path).watch())


def test_the_stream_is_typed_and_filtered(hub: Running, make: Any) -> None:
    stream = make(hub.path).watch(cameras=["back"], labels=["cat"], min_score=0.5, max_fps=100, empty=True)
    first = next(stream)
    assert isinstance(first, Connected)
    assert (first.policy.cameras, first.policy.labels, first.policy.max_fps) == (["back"], ["cat"], 100.0)
    hub.publish(detections(1), detections(2, camera="back"))
    found = next(stream)
    assert isinstance(found, Detections)
    assert (found.frame, [d.label for d in found.detections], found.seq, found.dropped) == (2, ["cat"], 1, 0)
    stream.close()
    hub.wait(lambda: not hub.server.clients_health())


def test_a_daemon_that_goes_and_comes_back_is_told_and_watched_on(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "s"
    with running(path) as hub:
        stream = make(path).watch(labels=["person"])
        before = next(stream)
    lost = next(stream)
    assert isinstance(before, Connected) and isinstance(lost, ConnectionLost)
    assert "closed the connection" in lost.reason
    with running(path) as hub:
        again = next(stream)
        assert isinstance(again, Connected)
        assert again.hello.instance != before.hello.instance
        assert again.policy.labels == ["person"]
        hub.publish(detections(5))
        found = next(stream)
        assert isinstance(found, Detections) and found.frame == 5
        stream.close()


def test_who_waits_gets_the_daemon_that_comes_later(tmp_path: Path, make: Any) -> None:
    stream = make(tmp_path / "s").watch(wait=True)
    assert isinstance(next(stream), ConnectionLost)
    with running(tmp_path / "s"):
        assert isinstance(next(stream), Connected)
        stream.close()


def test_a_stopped_daemon_is_noticed_and_taken_up_again(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "s"
    environ = os.environ | {"PYTHONPATH": str(ROOT / "daemon")}
    daemon = subprocess.Popen(
        [sys.executable, ROOT / "tests/standin_hub.py", path, "20"], env=environ, stdout=subprocess.PIPE
    )
    try:
        assert daemon.stdout is not None and daemon.stdout.readline() == b"listening\n"
        stream = make(path, silence_s=1.5).watch()
        assert isinstance(next(stream), Connected)
        daemon.send_signal(signal.SIGSTOP)
        for event in stream:
            if isinstance(event, ConnectionLost):
                break
        assert "said nothing for" in event.reason
        daemon.send_signal(signal.SIGCONT)
        assert isinstance(next(stream), Connected)
        stream.close()
    finally:
        daemon.kill()
        daemon.wait()


def test_a_camera_without_heartbeat_is_told(hub: Running, make: Any) -> None:
    stream = make(hub.path, silence_s=0.3).watch(events=[])
    assert isinstance(next(stream), Connected)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.05):
            hub.publish(HeartbeatMessage(camera="front", status="ok", frame=1))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        for event in stream:
            if isinstance(event, Silent):
                break
            assert isinstance(event, Heartbeat)
        assert event.camera == "back"
        stream.close()
    finally:
        stop.set()
        thread.join()


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(tmp_path: Path, make: Any) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.2 s"):
            make(tmp_path / "s", timeout_s=0.2).status()


def test_something_else_that_listens_is_named(tmp_path: Path, make: Any) -> None:
    def greet(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer:
            peer.sendall(b"220 mail.example.org ESMTP\r\n")
            peer.recv(1000)

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        thread = threading.Thread(target=greet, args=(other,))
        thread.start()
        with pytest.raises(ProtocolError, match="220 mail"):
            make(tmp_path / "s").status()
        thread.join()


def test_the_client_needs_msgspec_and_nothing_else() -> None:
    # msgspec itself takes typing_extensions where it happens to be there.
    program = (
        "import sys; before = set(sys.modules); import vigild.client, vigild.client.aio\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'vigild', 'msgspec', 'typing_extensions'}))\n"
        "print(sorted(m for m in sys.modules if m.startswith(('vigild.hub', 'vigild.camera', 'vigild.detector'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT / "daemon", timeout=60
    )
    assert done.stdout == "[]\n[]\n", done.stderr
