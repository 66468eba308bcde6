"""Clients that are slow, silent, half-closed, a byte at a time, greedy or hostile: each pays alone."""

import asyncio
import contextlib
import json
import logging
import resource
import selectors
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rawclient import RawClient
from standin_hub import Running, StandIn, detections, health, running
from vigild.hub import clients
from vigild.hub.outbox import QUEUE_BYTES, QUEUE_LINES
from vigild.wire.messages import Event, Heartbeat


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "s") as hub:
        yield hub


@pytest.fixture
def client(hub: Running) -> Iterator[RawClient]:
    with RawClient(hub.path) as client:
        yield client


def alive(hub: Running) -> bool:
    with RawClient(hub.path) as other:
        return other.ask({"type": "ping"}) == {"type": "pong"}


def gone(hub: Running, client: RawClient) -> bool:
    """The server has forgotten the only client, and it sees its end."""
    hub.wait(lambda: not hub.server.clients_health())
    return client.at_end()


# ---- slow readers


def test_a_slow_client_loses_the_oldest_lines_and_is_told_how_many(hub: Running, client: RawClient) -> None:
    client.watch()
    total = 1000
    for frame in range(1, total + 1):
        hub.publish(detections(frame))
    (state,) = hub.clients()
    assert state.dropped > 0 and state.pending_bytes <= QUEUE_BYTES + 1000
    lines = []
    while not lines or lines[-1]["frame"] < total:
        lines.append(client.read())
    for count, line in enumerate(lines, start=1):
        assert line["seq"] == count + line["dropped"]
        assert line["frame"] == line["seq"]
    assert len(lines) + lines[-1]["dropped"] == total
    # The kernel's buffer came first, then the newest that the queue holds.
    assert [line["frame"] for line in lines[-QUEUE_LINES:]] == list(range(total - QUEUE_LINES + 1, total + 1))
    hub.publish(detections(total + 1))
    assert client.read()["seq"] == total + 1


def test_large_lines_are_finished_once_begun(hub: Running, client: RawClient) -> None:
    client.watch()
    file = "f" * 40_000
    for frame in range(1, 30):
        hub.publish(detections(frame, file=file))
    lines = [client.read()]
    while lines[-1]["frame"] < 29:
        lines.append(client.read())
    assert all(line["file"] == file for line in lines)
    assert len(lines) < 29


def test_events_and_answers_of_a_slow_client_are_kept_and_heartbeats_merged(hub: Running, client: RawClient) -> None:
    client.watch()
    for frame in range(1, 501):
        hub.publish(detections(frame), Heartbeat(camera="front", status="ok", frame=frame), health(float(frame)))
        if frame % 50 == 0:
            hub.publish(Event(kind=f"e{frame}", time="t"))
    client.send({"type": "ping", "id": "last"})
    lines = []
    while not lines or lines[-1].get("id") != "last":
        lines.append(client.read())
    assert [line["kind"] for line in lines if line["type"] == "event"] == [f"e{i}" for i in range(50, 501, 50)]
    heartbeats = [line["frame"] for line in lines if line["type"] == "heartbeat"]
    assert heartbeats == sorted(set(heartbeats)) and heartbeats[-1] == 500 and len(heartbeats) < 100
    assert [line["uptime_s"] for line in lines if line["type"] == "health"][-1] == 500.0


def test_a_slow_client_does_not_keep_another_from_anything(hub: Running, client: RawClient) -> None:
    client.watch()
    with RawClient(hub.path) as quick:
        quick.watch()
        for frame in range(1, 401):
            hub.publish(detections(frame))
            assert quick.read()["dropped"] == 0
    assert hub.clients()[0].dropped > 0


def test_a_client_that_accepts_no_byte_for_ten_seconds_is_closed(
    hub: Running, client: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vigild.server")
    client.watch()
    hub.publish(*(detections(frame) for frame in range(400)))
    hub.sweep(9.0)
    assert len(hub.clients()) == 1
    hub.sweep(11.0)
    assert gone(hub, client)
    assert "reads too slowly: lines are dropped" in caplog.text
    assert "closed: it read nothing for 10 s" in caplog.text


def test_a_client_that_reads_a_little_stays(hub: Running, client: RawClient) -> None:
    client.watch()
    hub.publish(*(detections(frame) for frame in range(400)))
    begun = hub.call(lambda: next(iter(hub.server._clients.values()))._accepted_s)
    for _ in range(60):
        client.read()
    hub.wait(lambda: next(iter(hub.server._clients.values()))._accepted_s > begun)
    hub.sweep(9.9)
    assert len(hub.clients()) == 1


def test_an_idle_connection_is_not_a_stalled_one(hub: Running, client: RawClient) -> None:
    hub.sweep(3600.0)
    assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_more_than_four_mebibytes_pending_close_the_connection(hub: Running, client: RawClient) -> None:
    client.watch()
    reason = "r" * 100_000
    for _ in range(39):
        hub.publish(Event(kind="x", time="t", reason=reason))
    (state,) = hub.clients()
    assert 3_500_000 < state.pending_bytes < clients.PENDING_BYTES
    for _ in range(5):
        hub.publish(Event(kind="x", time="t", reason=reason))
    assert hub.clients() == []
    assert client.at_end()
    assert alive(hub)


def test_requests_are_not_read_from_a_client_that_does_not_read_the_answers(hub: Running, client: RawClient) -> None:
    client.sock.setblocking(False)
    sent = 0

    def flood() -> int:
        """Ask for as much as the socket takes; what waits then. Sweeps renew the allowance of requests: here only
        the pending bytes hold it back."""
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.sock.send(b'{"type":"status"}\n' * 100)
        hub.sweep(0.0)
        return hub.clients()[0].pending_bytes

    while flood() <= clients.READ_PAUSE_BYTES:
        pass  # each round gives the hub its turns; on a busy machine it takes more of them
    for _ in range(20):
        flood()
    (state,) = hub.clients()
    assert clients.READ_PAUSE_BYTES < state.pending_bytes < clients.READ_PAUSE_BYTES + 50_000
    assert alive(hub)
    # And it goes on as soon as they are read: every request is answered.
    client.sock.setblocking(True)
    client.sock.settimeout(30)
    for number in range(sent // 18):
        if number % 100 == 0:
            hub.sweep(0.0)
        assert client.read()["type"] == "status"


def test_who_has_a_full_queue_can_still_ask_for_less(hub: Running, client: RawClient) -> None:
    client.watch()
    hub.publish(*(detections(frame, file="f" * 3000) for frame in range(400)))
    (state,) = hub.clients()
    assert state.dropped > 0
    client.send({"type": "unwatch"})
    hub.wait(lambda: not hub.server.clients_health()[0].watching)
    assert client.until("unwatched")


# ---- half-closed, silent, vanishing


def test_a_half_closed_connection_still_gets_its_answers(hub: Running) -> None:
    client = RawClient(hub.path)
    client.send(b'{"type":"status"}\n{"type":"snapshot"}\n{"type":"reload"}\n')
    client.sock.shutdown(socket.SHUT_WR)
    assert {client.read()["type"] for _ in range(3)} == {"status", "snapshot", "ok"}
    assert gone(hub, client)


def test_a_half_closed_connection_stays_until_its_last_answer(hub: Running, client: RawClient) -> None:
    hub.api.gate = hub.call(asyncio.Event)
    client.send({"type": "snapshot"})
    client.sock.shutdown(socket.SHUT_WR)
    hub.wait(lambda: next(iter(hub.server._clients.values()))._eof)
    hub.sweep(0.0)
    hub.call(hub.api.gate.set)
    assert client.read()["type"] == "snapshot"
    assert gone(hub, client)


def test_a_half_closed_connection_may_watch(hub: Running) -> None:
    client = RawClient(hub.path)
    client.send(b'{"type":"watch"}\n')
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read()["type"] == "watching"
    hub.publish(detections())
    hub.sweep(0.0)
    hub.publish(detections())
    assert [client.read()["seq"] for _ in range(2)] == [1, 2]
    client.sock.close()
    hub.sweep(0.0)  # nothing is sent, so only looking tells
    assert hub.clients() == []


def test_a_request_cut_off_by_the_end_is_not_carried_out(hub: Running) -> None:
    client = RawClient(hub.path)
    client.send(b'{"type":"reload"}')
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read()["code"] == "unfinished"
    assert gone(hub, client)
    assert hub.api.orders == []


def test_a_client_that_vanishes_amid_the_stream_is_forgotten(hub: Running, client: RawClient) -> None:
    client.watch()
    hub.publish(detections())
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    hub.publish(detections(), detections())
    hub.wait(lambda: not hub.server.clients_health())


def test_a_client_that_vanishes_amid_an_order_leaves_it_whole(hub: Running, client: RawClient) -> None:
    gate = hub.call(asyncio.Event)
    hub.api.gate = gate
    client.send(b'{"type":"reload"}\n{"type":"snapshot"}\n')
    hub.wait(lambda: next(iter(hub.server._clients.values())).busy)
    client.sock.close()
    hub.call(gate.set)
    hub.wait(lambda: hub.api.orders == [("reload", None)])
    assert alive(hub)


def test_a_byte_at_a_time_is_a_request_too(hub: Running, client: RawClient) -> None:
    for byte in b'{"type":"ping","id":"slow"}\n':
        client.send(bytes([byte]))
        hub.call(lambda: None)  # the server has had its turn
    assert client.read() == {"type": "pong", "id": "slow"}


# ---- floods


def test_a_line_without_end_costs_the_connection_not_the_memory(hub: Running, client: RawClient) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(40):
            client.send(b"x" * 65536)
            hub.sweep(0.0)
    assert client.read()["code"] == "too_long"
    assert client.read()["code"] == "framing_lost"
    assert gone(hub, client)
    assert alive(hub)


def test_a_flood_of_requests_waits_for_the_next_second(hub: Running, client: RawClient) -> None:
    hub.stop_ticking()  # seconds pass when the test says so
    state = hub.call(lambda: next(iter(hub.server._clients.values())))
    client.send(b'{"type":"ping"}\n' * 1000)
    answers, seconds = b"", 0
    client.sock.setblocking(False)

    def second_is_over() -> bool:
        nonlocal answers
        hub.server._turns.tick(hub.loop.time())  # of time it gets what it needs: here requests are counted
        with contextlib.suppress(BlockingIOError):
            answers += client.sock.recv(65536)
        return answers.count(b"\n") == 1000 or (state._allowance <= 0 and not state.pending_bytes)

    while answers.count(b"\n") < 1000:
        hub.wait(second_is_over)
        assert answers.count(b"\n") <= clients.REQUESTS_PER_SECOND * (seconds + 1)
        assert alive(hub)
        seconds += 1
        hub.sweep(0.0)
    assert seconds >= 1000 // clients.REQUESTS_PER_SECOND


def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nobody who connects is root or the daemon's own user."""
    monkeypatch.setattr("vigild.hub.server.is_owner", lambda peer: False)


def test_one_client_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch)
    api = StandIn()
    api.most = 2
    with running(tmp_path / "s", api) as hub, RawClient(hub.path) as first, RawClient(hub.path) as second:
        for client in (first, second):
            client.ask({"type": "ping"})
        extra = RawClient(hub.path, greet=False)
        answer = extra.read()
        assert (answer["type"], answer["code"]) == ("error", "too_many_clients")
        assert "daemon.max_clients is 2" in answer["message"]
        assert extra.at_end()
        second.sock.close()
        hub.wait(lambda: len(hub.server.clients_health()) == 1)
        assert alive(hub)


def test_those_who_never_asked_give_their_place_up_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers(monkeypatch)
    api = StandIn()
    api.most = 3
    with running(tmp_path / "s", api) as hub, contextlib.ExitStack() as stack:
        asked, older, younger = (stack.enter_context(RawClient(hub.path)) for _ in range(3))
        asked.ask({"type": "ping"})
        for idle in (older, younger):
            newcomer = stack.enter_context(RawClient(hub.path))
            assert newcomer.ask({"type": "ping"}) == {"type": "pong"}
            told = idle.read()
            assert (told["type"], told["code"]) == ("error", "gave_way")
            assert "asked for nothing" in told["message"] and idle.at_end()
        extra = RawClient(hub.path, greet=False)
        assert extra.read()["code"] == "too_many_clients"
        assert asked.ask({"type": "ping"}) == {"type": "pong"}


def test_who_has_just_asked_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strangers(monkeypatch)
    api = StandIn()
    api.most = 1
    with running(tmp_path / "s", api) as hub, RawClient(hub.path) as client:

        async def both_at_once() -> None:
            # Its request and a newcomer are there before the server looks at either.
            client.send({"type": "ping"})
            newcomer.sock.connect(str(hub.path))

        newcomer = RawClient.__new__(RawClient)
        newcomer.sock, newcomer._rest = socket.socket(socket.AF_UNIX), b""
        asyncio.run_coroutine_threadsafe(both_at_once(), hub.loop).result(30)
        assert client.read() == {"type": "pong"}
        assert newcomer.read()["code"] == "too_many_clients"
        newcomer.sock.close()


def test_the_machines_owners_have_two_places_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = StandIn()
    api.most = 2
    with running(tmp_path / "s", api) as hub, contextlib.ExitStack() as stack:
        for _ in range(4):  # this test is the daemon's own user
            assert stack.enter_context(RawClient(hub.path)).ask({"type": "ping"}) == {"type": "pong"}
        assert RawClient(hub.path, greet=False).read()["code"] == "too_many_clients"
        strangers(monkeypatch)
        assert RawClient(hub.path, greet=False).read()["code"] == "too_many_clients"


def test_running_out_of_descriptors_passes(
    hub: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vigild.hub.door.ACCEPT_RETRY_S", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    late = socket.socket(socket.AF_UNIX)
    late.settimeout(30)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what is open stays open
        late.connect(str(hub.path))
        hub.call(lambda: None)
        assert hub.clients() == []
        hub.wait(lambda: "cannot accept" in caplog.text)
        assert 1 <= caplog.text.count("cannot accept a client (Too many open files)") <= 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert json.loads(late.recv(65536).split(b"\n")[0])["type"] == "hello"
    late.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=300) | st.sampled_from([b'{"type":"watch"}\n', b"\n", b'{"type":"status"}\n']), max_size=8
    )
)
def test_garbage_is_answered_and_harms_nobody(hub: Running, pieces: list[bytes]) -> None:
    with RawClient(hub.path) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                client.send(piece)
                hub.publish(detections())
        client.send(b"\n")
        client.send({"type": "ping", "id": "end"})
        while client.read().get("id") != "end":
            pass
    assert alive(hub)


# ---- many


def test_two_hundred_clients_one_of_which_reads_nothing(tmp_path: Path) -> None:
    api = StandIn()
    api.most = 200
    frames = 60
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        hub = stack.enter_context(running(tmp_path / "s", api))
        everybody = [stack.enter_context(RawClient(hub.path)) for _ in range(200)]
        for client in everybody:
            client.watch(events=["detections"])
        readers = everybody[1:]
        got = {client: bytearray() for client in readers}
        for client in readers:
            client.sock.setblocking(False)
            selector.register(client.sock, selectors.EVENT_READ, client)
        for frame in range(1, frames + 1):
            hub.publish(detections(frame))
            for key, _events in selector.select(0):
                got[key.data] += key.data.sock.recv(65536)
        while any(data.count(b"\n") < frames for data in got.values()):
            ready = selector.select(30)
            assert ready, "some client never got all its lines"
            for key, _events in ready:
                got[key.data] += key.data.sock.recv(65536)
        for data in got.values():
            lines = [json.loads(line) for line in data.splitlines()]
            assert [(line["seq"], line["frame"], line["dropped"]) for line in lines] == [
                (i, i, 0) for i in range(1, frames + 1)
            ]
