"""Answers that clients share: built once a tick, and made each client's own by its id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from rawclient import RawClient
from standin_hub import StandIn, running
from vigild.hub.change_queue import LONGEST_REST_S, MOST_WAITING, ChangeQueue
from vigild.hub.metered import Metered
from vigild.hub.shared_answers import SNAPSHOT_TICKS, SharedAnswers
from vigild.wire.framing import encode_line, share
from vigild.wire.messages import Hello, Limits, Pong, SnapshotAnswer, StatusAnswer
from vigild.wire.requests import RequestError

LIMITS = Limits(
    clients=1, request_bytes=2, requests_per_second=3, queue_lines=4, queue_bytes=5, pending_bytes=6, stall_s=7.0
)


class Counting(StandIn):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = {"hello": 0, "status": 0, "snapshot": 0}

    def hello(self) -> Hello:
        self.asked["hello"] += 1
        return super().hello()

    def status(self) -> StatusAnswer:
        self.asked["status"] += 1
        return super().status()

    async def snapshot(self, camera: str | None, annotate: bool) -> SnapshotAnswer:
        self.asked["snapshot"] += 1
        return await super().snapshot(camera, annotate)


@pytest.mark.parametrize("id", [None, 7, -(2**53), "", 'a"\\\n', "é" * 256])
def test_a_shared_answer_with_an_id_is_the_one_encoded_with_it(id: str | int | None) -> None:
    for kind in (Pong, StandIn().status):
        answer = kind()
        line = share(answer).line(id)
        assert line.count(b"\n") == 1 and line.endswith(b"}\n")
        alone = encode_line(answer)
        assert json.loads(line) == json.loads(alone) | ({} if id is None else {"id": id})


def test_status_is_built_once_a_tick_whoever_asks() -> None:
    source = Counting()
    answers = SharedAnswers(source, lambda: LIMITS)
    for id in range(100):
        assert json.loads(answers.status(id))["id"] == id
        assert json.loads(answers.hello())["limits"]["queue_lines"] == 4
    assert source.asked == {"hello": 1, "status": 1, "snapshot": 0}
    answers.tick()
    answers.status(None)
    answers.clear()
    answers.status(None)
    assert source.asked["status"] == 3


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def test_all_who_ask_for_a_picture_at_a_time_get_the_same_one() -> None:
    source = Counting()

    async def ask() -> None:
        source.gate = asyncio.Event()
        answers = SharedAnswers(source, lambda: LIMITS)
        waiting = [asyncio.ensure_future(answers.snapshot("front", False, id)) for id in range(10)]
        other = asyncio.ensure_future(answers.snapshot("front", True, "annotated"))
        await asyncio.sleep(0)
        waiting[0].cancel()  # gone, which takes nothing from the others
        source.gate.set()
        assert [json.loads(await one)["id"] for one in waiting[1:]] == list(range(1, 10))
        assert json.loads(await other)["id"] == "annotated"
        assert source.asked["snapshot"] == 2
        for _ in range(SNAPSHOT_TICKS):
            answers.tick()
            await answers.snapshot("front", False, None)
        assert source.asked["snapshot"] == 2
        answers.tick()
        await answers.snapshot("front", False, None)
        assert source.asked["snapshot"] == 3

    run(ask())


def test_the_only_camera_is_the_same_picture_named_or_not() -> None:
    source = Counting()
    source.names = ["front"]

    async def ask() -> None:
        answers = SharedAnswers(source, lambda: LIMITS)
        for camera in ("front", None):
            assert json.loads(await answers.snapshot(camera, False, None))["camera"] == "front"
        assert source.asked["snapshot"] == 1

    run(ask())


def test_a_refusal_is_shared_but_not_kept() -> None:
    source = Counting()

    async def ask() -> None:
        answers = SharedAnswers(source, lambda: LIMITS)
        for _ in range(2):
            for result in await asyncio.gather(
                *(answers.snapshot("side", False, None) for _ in range(3)), return_exceptions=True
            ):
                assert isinstance(result, RequestError) and result.code == "unknown_camera"
            answers.tick()
        assert source.asked["snapshot"] == 2

    run(ask())


def test_a_coroutine_pays_for_its_own_time_and_not_for_waiting() -> None:
    now = 0.0
    spent: list[float] = []

    async def work(gate: asyncio.Event) -> None:
        nonlocal now
        now += 1.0
        await gate.wait()
        now += 2.0
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            now += 4.0
            raise

    async def test() -> None:
        nonlocal now
        gate = asyncio.Event()
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(
            Metered(work(gate), lambda: now, spent.append)
        )
        await asyncio.sleep(0)
        now += 100.0
        gate.set()
        while sum(spent) < 3.0:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [one for one in spent if one] == [1.0, 2.0, 4.0]

    run(test())


def test_changes_come_one_after_the_other_and_rest_after_long_ones() -> None:
    now = 0.0
    running = 0

    async def sleep(seconds: float) -> None:
        nonlocal now
        assert running == 0
        now += seconds

    async def change(seconds: float) -> tuple[float, float]:
        nonlocal now, running
        running += 1
        assert running == 1
        began_s = now
        await asyncio.sleep(0)
        now += seconds
        running -= 1
        if seconds == 9.0:
            raise RequestError("invalid", "no")
        return began_s, now

    async def test() -> None:
        changes = ChangeQueue(lambda: now, sleep)
        took = (0.05, 0.5, 0.05, 9.0, 0.05)
        done = await asyncio.gather(
            *(changes.run(lambda seconds=seconds: change(seconds)) for seconds in took), return_exceptions=True
        )
        assert isinstance(done[3], RequestError)
        times = [one for one in done if not isinstance(one, BaseException)]
        # The second begins at once, the third after as long as the second took, the last after the longest rest.
        assert [round(began_s, 3) for began_s, _ in times] == [0.0, 0.05, 1.05, 1.1 + 9.0 + LONGEST_REST_S]
        # One alone, who waits for each answer, is not kept waiting.
        before = now
        for _ in range(3):
            await changes.run(lambda: change(1.0))
        assert now == before + 3.0

    run(test())


def test_changes_do_not_pile_up_and_those_of_clients_that_are_gone_are_left_out() -> None:
    made: list[int] = []

    async def test() -> None:
        gate = asyncio.Event()
        changes = ChangeQueue(lambda: 0.0)

        async def change(number: int) -> int:
            await gate.wait()
            made.append(number)
            return number

        tasks = [
            asyncio.ensure_future(changes.run(lambda number=number: change(number), lambda number=number: number < 3))
            for number in range(MOST_WAITING + 1)
        ]
        await asyncio.sleep(0)
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        # The first was begun before it was gone.
        assert made == [0, *range(3, MOST_WAITING)]
        assert [number for number, one in enumerate(done) if isinstance(one, RequestError)] == [1, 2, MOST_WAITING]
        assert await changes.run(lambda: change(99)) == 99

    run(test())


def test_over_the_socket_a_hundred_ask_and_one_answer_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigild.hub.turns.ONE_SHARE", 1000.0)  # no tick is needed, however slow the machine is
    source = Counting()
    with running(tmp_path / "s", source) as hub, RawClient(hub.path) as client:
        hub.stop_ticking()
        hub.server.invalidate()
        before = source.asked["status"]
        client.send(b"".join(b'{"type":"status","id":%d}\n' % id for id in range(100)))
        answers = [client.read() for _ in range(100)]
        assert [answer["id"] for answer in answers] == list(range(100))
        assert source.asked["status"] == before + 1
        client.send({"type": "resume"})  # who changes something sees it in its next answer
        assert client.read()["type"] == "ok"
        client.ask({"type": "status"})
        assert source.asked["status"] == before + 2
