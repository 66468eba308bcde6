"""What clients ask for, carried out.

    requests = Requests(api, answers, turns, connected, watching_changed, log)
    requests.handle(client, Line(b'{"type":"status"}'))

Each line is answered, whatever it is. What takes time (snapshots, and the orders of the privileged) goes on beside
everything else; the time it costs the event loop is its client's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from msgspec import UNSET

from vigild.hub.change_queue import ChangeQueue
from vigild.hub.clients import PENDING_BYTES, Client
from vigild.hub.metered import Metered
from vigild.hub.places import Maker
from vigild.hub.privilege import is_owner, is_privileged
from vigild.hub.shared_answers import SharedAnswers
from vigild.hub.turns import Turns
from vigild.wire import requests
from vigild.wire.framing import FramingLost, Line, LineEvent, TooLong, Unfinished, encode_line
from vigild.wire.messages import (
    Error,
    Hello,
    Ok,
    Pong,
    RequestId,
    SnapshotAnswer,
    StatusAnswer,
    Unwatched,
)
from vigild.wire.policy import make_policy
from vigild.wire.requests import RequestError, parse_request


class HubApi(Protocol):
    """What the server asks of the hub. All may raise RequestError(code, message)."""

    def hello(self) -> Hello: ...
    def cameras(self) -> list[str]: ...
    def labels(self) -> list[str] | None:
        """Of the model; None while none is loaded."""
        ...

    def status(self) -> StatusAnswer: ...
    def privileged_group(self) -> str: ...
    def max_clients(self) -> int: ...
    async def snapshot(self, camera: str | None, annotate: bool) -> SnapshotAnswer: ...

    # Each returns, in a line for people, what changed.
    async def set(self, key: str, value: Any, maker: Maker) -> str: ...
    async def swap(self, request: requests.Swap) -> str: ...
    async def pause(self, camera: str | None) -> str: ...
    async def resume(self, camera: str | None) -> str: ...
    async def reload(self) -> str: ...


class Requests:
    """The requests of all clients."""

    def __init__(
        self,
        api: HubApi,
        answers: SharedAnswers,
        turns: Turns,
        connected: Callable[[], int],
        watching_changed: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        self._api = api
        self._answers = answers
        self._turns = turns
        self._connected = connected
        self._watching_changed = watching_changed
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes = ChangeQueue(self._loop.time)

    def handle(self, client: Client, event: LineEvent) -> None:
        """Carry out a line, or say why not."""
        try:
            match event:
                case Line(data):
                    self._carry_out(client, parse_request(data))
                case TooLong(limit):
                    raise RequestError("too_long", f"the line is longer than {limit} bytes; it was skipped")
                case Unfinished(length):
                    what = f"the last {length} bytes did not end in a newline and were not carried out"
                    raise RequestError("unfinished", what)
                case FramingLost(skipped):
                    what = f"{skipped} bytes without a newline are not protocol 1; the connection is closed"
                    raise RequestError("framing_lost", what)
        except RequestError as error:
            self._refuse(client, error, error.id)
            if error.code == "framing_lost":
                client.finish()
        except Exception as error:
            self._failed(client, error, None)

    def _carry_out(self, client: Client, request: requests.AnyRequest) -> None:
        id = None if request.id is UNSET else request.id
        if isinstance(request, requests.PRIVILEGED):
            self._order(client, request, id)
            return
        match request:
            case requests.Watch():
                policy = make_policy(request, self._api.cameras(), self._api.labels())
                client.watch(policy)
                self._watching_changed()
                client.answer(encode_line(policy.answer(request)))
            case requests.Unwatch():
                client.watch(None)
                self._watching_changed()
                client.answer(encode_line(Unwatched(id=id)))
            case requests.StatusRequest():
                client.answer(self._answers.status(id))
            case requests.Ping():
                client.answer(encode_line(Pong(id=id)))
            case requests.SnapshotRequest():
                if client.snapshot_in_flight:
                    raise RequestError(
                        "busy", "this client's last snapshot is still being made; wait for its answer", id
                    )
                client.snapshot_in_flight = True
                self._start(client, self._snapshot(client, request, id))

    async def _snapshot(self, client: Client, request: requests.SnapshotRequest, id: RequestId | None) -> None:
        async def take() -> bytes:
            camera = None if request.camera is UNSET else request.camera
            line = await self._answers.snapshot(camera, request.annotate, id)
            if len(line) + client.pending_bytes > PENDING_BYTES:
                why = f"the snapshot takes {len(line)} bytes and at most {PENDING_BYTES} may wait for a client"
                raise RequestError("too_large", f"{why}; use a smaller camera.{camera or 'NAME'}.size")
            return line

        await self._answer_with(client, take, id)
        client.snapshot_in_flight = False
        client.wake()

    def _order(self, client: Client, request: requests.AnyRequest, id: RequestId | None) -> None:
        """A privileged request. Those of one client are carried out one after the other, in the order they came."""
        group = self._api.privileged_group()
        if not is_privileged(client.peer, group):
            name = request.__struct_config__.tag
            raise RequestError(
                "forbidden",
                f'"{name}" is for root, the daemon\'s own user and members of the group "{group}", and you are uid '
                f"{client.peer.uid}; a member is made with: sudo usermod -aG {group} USER",
                id,
            )
        client.busy = True
        self._start(client, self._obey(client, request, id))

    async def _obey(self, client: Client, request: requests.AnyRequest, id: RequestId | None) -> None:
        run = self._changes.run

        async def act() -> bytes:
            match request:
                case requests.Set():
                    maker = Maker(is_owner(client.peer), client.peer.gids, self._connected())
                    done = await run(lambda: self._api.set(request.key, request.value, maker), client.is_gone)
                case requests.Swap():
                    done = await run(lambda: self._api.swap(request), client.is_gone)
                case requests.Pause():
                    done = await self._api.pause(None if request.camera is UNSET else request.camera)
                case requests.Resume():
                    done = await self._api.resume(None if request.camera is UNSET else request.camera)
                case _:
                    done = await run(self._api.reload, client.is_gone)
            return encode_line(Ok(id=id, message=done))

        await self._answer_with(client, act, id)
        self._answers.clear()  # who has changed something sees it in the next answer
        client.busy = False
        client.wake()

    async def _answer_with(self, client: Client, make: Callable[[], Awaitable[bytes]], id: RequestId | None) -> None:
        try:
            client.answer(await make())
        except RequestError as error:
            self._refuse(client, error, id)
        except Exception as error:
            self._failed(client, error, id)

    def _failed(self, client: Client, error: Exception, id: RequestId | None) -> None:
        """A fault of ours must not leave the client waiting for ever."""
        self._log.error("a request of client %d failed", client.number, exc_info=error)
        self._refuse(client, RequestError("internal", f"the daemon failed: {error!r}; its log says more"), id)

    def _refuse(self, client: Client, error: RequestError, id: RequestId | None) -> None:
        client.answer(encode_line(Error(id=id, code=error.code, message=error.message)))

    def _start(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        metered = Metered(work, self._loop.time, lambda seconds: self._turns.spend(client, seconds))
        task: asyncio.Task[None] = self._loop.create_task(metered)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        self._turns.end_slice()

    def close(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()
