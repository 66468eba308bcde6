"""The Unix socket: accepts clients, carries out their requests, sends them the stream.

    server = Server(api, logger("server"))
    server.listen(path, 0o660)
    server.publish(Detections(...))      # never blocks, never raises, whatever clients do
    await server.close()

What a client can cost is bounded: see `clients` (one connection) and `outbox` (what waits for it). For a
message all that clients share is encoded once; per client remain a join of three pieces and a send().
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from vigild.hub import outbox
from vigild.hub.clients import (
    PENDING_BYTES,
    REQUESTS_PER_SECOND,
    STALL_S,
    Client,
)
from vigild.hub.listening import MadeSocket, make_socket, remove_socket
from vigild.hub.privilege import is_privileged, peer_of
from vigild.wire import requests
from vigild.wire.framing import MAX_REQUEST_BYTES, FramingLost, Line, LineEvent, TooLong, Unfinished, encode_line
from vigild.wire.messages import (
    ClientHealth,
    Detections,
    Error,
    Event,
    Health,
    Heartbeat,
    Hello,
    Limits,
    Ok,
    Pong,
    RequestId,
    SnapshotAnswer,
    StatusAnswer,
    Unwatched,
)
from vigild.wire.policy import Selection, detections_tail, make_policy
from vigild.wire.requests import RequestError, parse_request

ACCEPTS_PER_TURN = 16
"""Connections taken before others get a turn."""

SWEEP_S = 1.0

ACCEPT_RETRY_S = 1.0
"""Wait when the process has no descriptor left: the listening socket stays readable all the while."""


_LEFT = frozenset(os.strerror(number) for number in (errno.EPIPE, errno.ECONNRESET))
"""Clients that leave while something is on the way to them: ordinary (a health probe does), not worth a line."""


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
    async def set(self, key: str, value: Any) -> str: ...
    async def swap(self, request: requests.Swap) -> str: ...
    async def pause(self, camera: str | None) -> str: ...
    async def resume(self, camera: str | None) -> str: ...
    async def reload(self) -> str: ...


class Server:
    """All clients. To be made and used inside one running event loop."""

    def __init__(self, api: HubApi, log: logging.Logger) -> None:
        self._api = api
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._made: list[MadeSocket] = []
        self._clients: dict[int, Client] = {}
        self._watching: tuple[Client, ...] = ()
        self._told: set[int] = set()
        """Clients whose slowness was logged."""
        self._next_number = 1
        self._sweeper: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- sockets

    def listen(self, path: Path, mode: int) -> None:
        """Make the socket file and accept on it. Raises SocketInUse, SocketUnusable."""
        made = make_socket(path, mode, self._api.privileged_group(), self._log)
        self._made.append(made)
        self.adopt(made.sock)

    def adopt(self, sock: socket.socket) -> None:
        """Accept on a socket that listens already (LISTEN_FDS); its file stays when we go."""
        sock.setblocking(False)
        self._listening.append(sock)
        self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._log.error("cannot accept a client (%s); trying again in %g s", error.strerror, ACCEPT_RETRY_S)
                self._loop.remove_reader(listening)
                self._loop.call_later(ACCEPT_RETRY_S, self._accept_again, listening)
                return
            self._welcome(sock)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening, self._accept, listening)

    def _welcome(self, sock: socket.socket) -> None:
        most = self._api.max_clients()
        if len(self._clients) >= most:
            self._turn_away(sock, f"{len(self._clients)} clients are connected and daemon.max_clients is {most}")
            return
        try:
            peer = peer_of(sock)
        except OSError as error:
            self._log.warning("a client was turned away: its credentials cannot be read (%s)", error.strerror)
            sock.close()
            return
        number = self._next_number
        self._next_number += 1
        client = Client(self._loop, sock, number, peer, self._handle, self._forget)
        self._clients[number] = client
        self._log.debug("client %d connected: pid %d, uid %d", number, peer.pid, peer.uid)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        client.answer(encode_line(msgspec.structs.replace(self._api.hello(), limits=self._limits(most))))

    def _turn_away(self, sock: socket.socket, why: str) -> None:
        """An error, then the end; the line fits an empty socket buffer."""
        self._log.warning("a client was turned away: %s", why)
        with sock:
            sock.setblocking(False)
            try:
                sock.send(encode_line(Error(code="too_many_clients", message=why)))
            except OSError as error:
                self._log.debug("it was gone already: %s", error.strerror)

    def _limits(self, clients: int) -> Limits:
        return Limits(
            clients=clients,
            request_bytes=MAX_REQUEST_BYTES,
            requests_per_second=REQUESTS_PER_SECOND,
            queue_lines=outbox.QUEUE_LINES,
            queue_bytes=outbox.QUEUE_BYTES,
            pending_bytes=PENDING_BYTES,
            stall_s=STALL_S,
        )

    # ---- the stream

    def publish(self, message: Detections | Heartbeat | Health | Event) -> None:
        """Send to all who want it. `seq` and `dropped` of Detections are filled in here, per client."""
        match message:
            case Detections():
                self._publish_detections(message)
            case Heartbeat():
                line = encode_line(message)
                for client in self._watching:
                    if client.policy is not None and client.policy.wants_camera(message.camera):
                        client.latest(message.camera, line)
            case Health():
                line = encode_line(message)
                for client in self._watching:
                    if client.policy is not None and "health" in client.policy.topics:
                        client.latest("", line)  # no camera has an empty name
            case Event():
                self._publish_event(message)

    def _publish_detections(self, message: Detections) -> None:
        now_s = self._loop.time()
        camera = message.camera
        tails: dict[Selection, bytes | None] = {}
        for client in self._watching:
            policy = client.policy
            if policy is None or not client.watches_detections:
                continue
            if policy.cameras is not None and camera not in policy.cameras:
                continue
            try:
                tail = tails[policy.selection]
            except KeyError:
                tail = tails[policy.selection] = detections_tail(message, policy.selection)
            if tail is None:
                continue
            if policy.max_fps is not None and not client.admits(camera, policy.max_fps, now_s):
                continue
            client.deliver(tail)

    def _publish_event(self, message: Event) -> None:
        line = encode_line(message)
        for client in self._watching:
            policy = client.policy
            if policy is None or "event" not in policy.topics:
                continue
            if message.camera is None or policy.wants_camera(message.camera):
                client.answer(line)

    def clients_health(self) -> list[ClientHealth]:
        """For `health`: every connection, oldest first."""
        return [client.health() for client in self._clients.values()]

    # ---- requests

    def _handle(self, client: Client, event: LineEvent) -> None:
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

    def _carry_out(self, client: Client, request: requests.AnyRequest) -> None:
        id = None if request.id is UNSET else request.id
        if isinstance(request, requests.PRIVILEGED):
            self._order(client, request, id)
            return
        match request:
            case requests.Watch():
                policy = make_policy(request, self._api.cameras(), self._api.labels())
                client.watch(policy)
                self._update_watching()
                client.answer(encode_line(policy.answer(request)))
            case requests.Unwatch():
                client.watch(None)
                self._update_watching()
                client.answer(encode_line(Unwatched(id=id)))
            case requests.StatusRequest():
                client.answer(encode_line(msgspec.structs.replace(self._api.status(), id=id)))
            case requests.Ping():
                client.answer(encode_line(Pong(id=id)))
            case requests.SnapshotRequest():
                if client.snapshot_in_flight:
                    raise RequestError(
                        "busy", "this client's last snapshot is still being made; wait for its answer", id
                    )
                client.snapshot_in_flight = True
                self._start(self._snapshot(client, request, id))

    async def _snapshot(self, client: Client, request: requests.SnapshotRequest, id: RequestId | None) -> None:
        camera = None if request.camera is UNSET else request.camera

        async def take() -> bytes:
            answer = await self._api.snapshot(camera, request.annotate)
            line = encode_line(msgspec.structs.replace(answer, id=id))
            if len(line) + client.pending_bytes > PENDING_BYTES:
                why = f"the snapshot takes {len(line)} bytes and at most {PENDING_BYTES} may wait for a client"
                raise RequestError("too_large", f"{why}; use a smaller camera.{answer.camera}.size")
            return line

        await self._answer_with(client, take, id)
        client.snapshot_in_flight = False
        client.pump()

    def _order(self, client: Client, request: requests.AnyRequest, id: RequestId | None) -> None:
        """A privileged request. They are carried out one after the other, in the order they came."""
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
        self._start(self._obey(client, request, id))

    async def _obey(self, client: Client, request: requests.AnyRequest, id: RequestId | None) -> None:
        async def act() -> bytes:
            match request:
                case requests.Set():
                    done = await self._api.set(request.key, request.value)
                case requests.Swap():
                    done = await self._api.swap(request)
                case requests.Pause():
                    done = await self._api.pause(None if request.camera is UNSET else request.camera)
                case requests.Resume():
                    done = await self._api.resume(None if request.camera is UNSET else request.camera)
                case _:
                    done = await self._api.reload()
            return encode_line(Ok(id=id, message=done))

        await self._answer_with(client, act, id)
        client.busy = False
        client.pump()

    async def _answer_with(self, client: Client, make: Callable[[], Awaitable[bytes]], id: RequestId | None) -> None:
        try:
            client.answer(await make())
        except RequestError as error:
            self._refuse(client, error, id)
        except Exception as error:  # a fault of ours must not leave the client waiting for ever
            self._log.exception("a request of client %d failed", client.number)
            self._refuse(client, RequestError("internal", f"the daemon failed: {error!r}; its log says more"), id)

    def _refuse(self, client: Client, error: RequestError, id: RequestId | None) -> None:
        client.answer(encode_line(Error(id=id, code=error.code, message=error.message)))

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    # ---- comings and goings

    def _update_watching(self) -> None:
        # A new tuple each time: publish() may be iterating over the old one when a send() closes a client.
        self._watching = tuple(client for client in self._clients.values() if client.policy is not None)

    def _forget(self, client: Client, reason: str) -> None:
        self._clients.pop(client.number, None)
        self._told.discard(client.number)
        self._update_watching()
        if reason and reason not in _LEFT and client.pending_bytes:
            self._log.info("client %d (pid %d) closed: %s", client.number, client.peer.pid, reason)
        else:
            self._log.debug("client %d gone%s", client.number, f": {reason}" if reason else "")

    def _sweep(self) -> None:
        self.sweep(self._loop.time())
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep) if self._clients else None

    def sweep(self, now_s: float) -> None:
        """Look after the clients at `now_s` (the loop's clock); the server does so itself every SWEEP_S."""
        for client in list(self._clients.values()):
            client.sweep(now_s)
            if client.dropped and client.number not in self._told:
                self._told.add(client.number)
                self._log.info("client %d (pid %d) reads too slowly: lines are dropped", client.number, client.peer.pid)

    async def close(self, grace_s: float = 0.5) -> None:
        """Accept no more, give what waits `grace_s` to get out, close all, remove the file made by `listen`."""
        for sock in self._listening:
            self._loop.remove_reader(sock)
            sock.close()
        self._listening.clear()
        for made in self._made:
            remove_socket(made)
        self._made.clear()
        give_up_s = self._loop.time() + grace_s
        for client in list(self._clients.values()):
            client.finish()
        while self._clients and self._loop.time() < give_up_s:
            await asyncio.sleep(0.01)
        for client in list(self._clients.values()):
            client.close("")
        for task in list(self._tasks):
            task.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
