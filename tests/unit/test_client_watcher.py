"""The client without its socket: when a connection is given up, and what is said of it."""

from typing import Any

import pytest

from vigild.client.events import Connected, ConnectionLost, Silent
from vigild.client.session import Exchange, Lost, ProtocolError, Refused, Watcher, watch_request
from vigild.wire.framing import encode_line
from vigild.wire.messages import CameraInfo, Error, Heartbeat, Hello, Ok, Pong, Watching
from vigild.wire.requests import Ping


def hello(protocol: str = "1.0", cameras: tuple[str, ...] = ("front", "back")) -> bytes:
    infos = [CameraInfo(name=name) for name in cameras]
    return encode_line(Hello(protocol=protocol, version="9.9", instance="i", cameras=infos))


def watching(cameras: list[str] | None = None) -> bytes:
    return encode_line(Watching(id=1, events=[], empty=False, cameras=cameras))


def heartbeat(camera: str) -> bytes:
    return encode_line(Heartbeat(camera=camera, status="ok", frame=1))


def connected(**options: Any) -> Watcher:
    watcher = Watcher(watch_request(), silence_s=6.0, jitter=lambda: 0.5, **options)
    assert watcher.start() == b'{"type":"watch","id":1}\n'
    (event,) = watcher.receive(hello() + watching(), 0.0)
    assert isinstance(event, Connected) and event.hello.version == "9.9"
    return watcher


def test_a_stream_cut_anywhere_gives_the_same_events() -> None:
    data = hello() + watching() + heartbeat("front") + heartbeat("back")
    for cut in range(1, len(data)):
        watcher = Watcher(watch_request())
        watcher.start()
        events = [*watcher.receive(data[:cut], 0.0), *watcher.receive(data[cut:], 0.0)]
        assert [type(event).__name__ for event in events] == ["Connected", "Heartbeat", "Heartbeat"]


def test_messages_of_a_later_minor_version_are_ignored() -> None:
    watcher = Watcher(watch_request())
    watcher.start()
    data = hello("1.9") + b'{"type":"novelty","x":1}\n' + watching()
    assert len(list(watcher.receive(data, 0.0))) == 1


def test_another_major_version_is_refused_with_both_versions() -> None:
    watcher = Watcher(watch_request())
    watcher.start()
    with pytest.raises(ProtocolError, match=r"speaks protocol 2\.0 and this client 1\.1"):
        list(watcher.receive(hello("2.0"), 0.0))


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b'{"type":"pong"}\n', b'{"type":"hello"}\n', b"\xff\n"]
)
def test_something_else_at_the_socket_is_no_daemon(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Exchange(Ping(), Pong).receive(data)


def test_silence_ends_the_connection() -> None:
    watcher = connected()
    assert watcher.wait_s() == 6.0
    assert list(watcher.idle(5.9)) == []
    with pytest.raises(Lost, match=r"said nothing for 6\.1 s"):
        list(watcher.idle(0.2))


def test_a_daemon_that_accepts_but_never_greets_is_given_up() -> None:
    watcher = Watcher(watch_request(), silence_s=6.0)
    watcher.start()
    with pytest.raises(Lost):
        list(watcher.idle(6.0))


def test_a_daemon_without_cameras_may_be_silent() -> None:
    watcher = Watcher(watch_request(), silence_s=6.0)
    watcher.start()
    list(watcher.receive(hello(cameras=()) + watching(), 0.0))
    assert list(watcher.idle(60.0)) == []


def test_one_camera_without_heartbeat_is_told_once_and_again_after_it_was_back() -> None:
    watcher = connected()
    for _ in range(3):
        assert [type(event) for event in watcher.receive(heartbeat("front"), 1.9)] == [Heartbeat]
    events = list(watcher.receive(heartbeat("front"), 1.9))
    assert events[1:] == [Silent(camera="back", silent_s=pytest.approx(7.6))]
    assert len(list(watcher.receive(heartbeat("front"), 1.9))) == 1
    assert len(list(watcher.receive(heartbeat("back"), 1.9))) == 1
    for _ in range(3):
        list(watcher.receive(heartbeat("front"), 1.9))
    assert any(isinstance(event, Silent) for event in watcher.receive(heartbeat("front"), 1.9))


def test_only_watched_cameras_are_missed() -> None:
    watcher = Watcher(watch_request(cameras=["front"]), silence_s=6.0)
    watcher.start()
    list(watcher.receive(hello() + watching(["front"]), 0.0))
    for _ in range(9):
        assert len(list(watcher.receive(heartbeat("front"), 1.9))) == 1


def test_a_program_that_is_slow_itself_does_not_take_the_daemon_for_dead() -> None:
    # It came back after a minute; recv() returned at once, so nothing was waited for.
    watcher = connected()
    for _ in range(100):
        list(watcher.receive(heartbeat("front"), 0.0))
    assert list(watcher.idle(1.0)) == []


def test_the_first_failure_is_raised_and_later_ones_are_told_once() -> None:
    error = ConnectionRefusedError("refused")
    fresh = Watcher(watch_request())
    with pytest.raises(ConnectionRefusedError):
        fresh.lost(error)
    watcher = connected()
    assert watcher.lost(error) == ConnectionLost(reason="refused")
    assert watcher.lost(error) is None
    watcher.start()
    list(watcher.receive(hello() + watching(), 0.0))
    assert watcher.lost(error) is not None


def test_who_waits_is_told_of_the_first_failure_too() -> None:
    assert Watcher(watch_request(), patient=True).lost(ConnectionRefusedError("no")) == ConnectionLost(reason="no")


def test_attempts_grow_rarer_and_start_anew_after_success() -> None:
    watcher = connected()
    waits = [watcher.retry_s() for _ in range(9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    watcher.start()
    list(watcher.receive(hello() + watching(), 0.0))
    assert watcher.retry_s() == pytest.approx(0.1)


def test_attempts_are_spread() -> None:
    early, late = (Watcher(watch_request(), jitter=lambda j=j: j).retry_s() for j in (0.0, 1.0))
    assert (early, late) == pytest.approx((0.075, 0.125))


def test_a_refused_watch_is_raised_even_when_patient() -> None:
    watcher = connected()
    watcher.start()
    with pytest.raises(Refused, match="no camera") as caught:
        list(watcher.receive(hello() + encode_line(Error(id=1, code="unknown_camera", message="no camera")), 0.0))
    assert caught.value.code == "unknown_camera"


def test_a_full_daemon_is_refused_at_first_and_waited_for_later() -> None:
    full = encode_line(Error(code="too_many_clients", message="full"))
    fresh = Watcher(watch_request())
    fresh.start()
    with pytest.raises(Refused, match="full"):
        list(fresh.receive(full, 0.0))
    watcher = connected()
    watcher.start()
    with pytest.raises(Lost, match="full"):
        list(watcher.receive(full, 0.0))


def test_an_exchange_takes_the_answer_to_its_request_and_nothing_else() -> None:
    exchange = Exchange(Ping(), Pong)
    assert exchange.to_send == b'{"type":"ping","id":1}\n'
    assert exchange.receive(hello() + heartbeat("front") + encode_line(Pong(id=7))) is None
    assert exchange.receive(encode_line(Pong(id=1))) == Pong(id=1)
    with pytest.raises(ProtocolError, match="expected Pong as the answer, got Ok"):
        exchange.receive(encode_line(Ok(id=1, message="")))
    with pytest.raises(Lost, match="before it answered"):
        exchange.receive(b"")
