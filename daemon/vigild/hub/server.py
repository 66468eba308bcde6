"""The Unix socket: accepts clients, carries out their requests, sends them the stream.

    server = Server(api, logger("server"))
    server.on_socket = hub.socket_event  # told when its file was made again, or cannot be
    server.listen(path, 0o660)
    server.publish(Detections(...))      # never blocks, never raises, whatever clients do
    server.tick(now_s)                   # ten times a second: without it requests stop after a while
    server.invalidate()                  # what `status` and `hello` say has changed
    await server.close()

What a client can cost is bounded: see `turns` (the time that all of them get), `clients` (one connection),
`outbox` (what waits for it) and `places` (who gets in). For a message all that clients share is encoded
once; per client remain a join of three pieces and a send(). Requests are carried out in `requests`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from vigild.hub import outbox
from vigild.hub.clients import (
    PENDING_BYTES,
    REQUESTS_PER_SECOND,
    STALL_S,
    Client,
)
from vigild.hub.door import Door
from vigild.hub.listening import SocketFile, make_socket, passed_socket
from vigild.hub.places import has_place
from vigild.hub.privilege import Peer, is_owner, peer_of
from vigild.hub.requests import HubApi, Requests
from vigild.hub.shared_answers import SharedAnswers
from vigild.hub.turns import Turns
from vigild.wire.framing import MAX_REQUEST_BYTES, encode_line
from vigild.wire.messages import (
    ClientHealth,
    Detections,
    Error,
    Event,
    Health,
    Heartbeat,
    Limits,
)
from vigild.wire.policy import Selection, detections_tail

SWEEP_S = 1.0

_LEFT = frozenset(os.strerror(number) for number in (errno.EPIPE, errno.ECONNRESET))
"""Clients that leave while something is on the way to them: ordinary (a health probe does), not worth a line."""


class Server:
    """All clients. To be made and used inside one running event loop."""

    def __init__(self, api: HubApi, log: logging.Logger) -> None:
        self._api = api
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(self._loop.time, self._turn_due, self._turn_failed)
        self._answers = SharedAnswers(api, lambda: self._limits(api.max_clients()))
        self._requests = Requests(
            api, self._answers, self._turns, lambda: len(self._clients), self._watching_changed, log
        )
        self._doors: list[Door] = []
        self._files: list[SocketFile] = []
        self._clients: dict[int, Client] = {}
        self._watching: tuple[Client, ...] | None = ()
        """None: has to be put together again."""
        self._told: set[int] = set()
        """Clients whose slowness was logged."""
        self._turned_away = 0
        self._why_turned_away = ""
        self._next_number = 1
        self._next_sweep_s = 0.0
        self._slice_is_due = False
        self.on_socket: Callable[[str, str], None] = lambda kind, reason: None
        """Called with the kind of event and its reason: "socket_remade" when the socket's file was gone and was made
        again, "socket_lost" when it is gone and cannot be."""

    # ---- sockets

    def listen(self, path: Path, mode: int) -> None:
        """Make the socket file and accept on it. Raises SocketInUse, SocketUnusable."""
        made = make_socket(path, mode, self._api.privileged_group(), self._log)
        self._files.append(SocketFile(made, mode, self._api.privileged_group, self._log))
        self._open(made.sock)

    def adopt(self, sock: socket.socket) -> None:
        """Accept on a socket that listens already (LISTEN_FDS); its file stays when we go."""
        sock.setblocking(False)
        made = passed_socket(sock)
        if made is not None:
            self._files.append(SocketFile(made, None, self._api.privileged_group, self._log))
        self._open(sock)

    def _open(self, sock: socket.socket) -> None:
        self._doors.append(Door(self._loop, sock, self._turns, self._welcome, self._log))

    def _look_after_files(self, now_s: float) -> None:
        for file in self._files:
            before = file.made.sock
            told = file.look(now_s)
            if told is None:
                continue
            if file.made.sock is not before:
                self._open(file.made.sock)
                old = next(door for door in self._doors if door.sock is before)
                self._doors.remove(old)
                old.take_in_all()
                old.close()
            self.on_socket(*told)

    def _welcome(self, sock: socket.socket) -> None:
        try:
            peer = peer_of(sock)
        except OSError as error:
            self._log.warning("a client was turned away: its credentials cannot be read (%s)", error.strerror)
            sock.close()
            return
        most = self._api.max_clients()
        if not has_place(len(self._clients), most, is_owner(peer)) and not self._make_place():
            self._turn_away(sock, f"{len(self._clients)} clients are connected and daemon.max_clients is {most}")
            return
        self._take_in(sock, peer)

    def _take_in(self, sock: socket.socket, peer: Peer) -> None:
        number = self._next_number
        self._next_number += 1
        try:
            client = Client(self._loop, sock, number, peer, self._turns, self._requests.handle, self._forget)
        except OSError as error:
            self._log.warning("a client was turned away: it cannot be served (%s)", error.strerror or error)
            sock.close()
            return
        self._clients[number] = client
        self._log.debug("client %d connected: pid %d, uid %d", number, peer.pid, peer.uid)
        client.answer(self._answers.hello())

    def _make_place(self) -> bool:
        """Close the oldest connection that has never asked for anything; whether there was one."""
        for client in self._clients.values():
            if not client.has_asked():
                idle_s = self._loop.time() - client.connected_s
                why = (
                    f"this connection asked for nothing in {idle_s:.0f} s, and its place was needed for another client"
                )
                self._log.info("client %d (pid %d) gives up its place: it never asked", client.number, client.peer.pid)
                client.answer(
                    encode_line(Error(code="gave_way", message=f"{why}; connect again when you want something"))
                )
                client.close("")
                return True
        return False

    def _turn_away(self, sock: socket.socket, why: str) -> None:
        """An error, then the end; the line fits an empty socket buffer."""
        self._turned_away += 1
        self._why_turned_away = why
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

    # ---- time

    def tick(self, now_s: float) -> None:
        """To be called every `turns.TICK_S`, with the loop's time: what clients ask for gets new time."""
        self._answers.tick()
        self._turns.tick(now_s)
        for door in self._doors:
            door.tick(now_s)
        self._look_after_files(now_s)
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + SWEEP_S
            self.sweep(now_s)

    def invalidate(self) -> None:
        """What `hello` and `status` say has changed; else they are built once a tick at most."""
        self._answers.clear()

    def _turn_due(self, wait_s: float) -> None:
        if not self._slice_is_due:
            self._slice_is_due = True
            if wait_s:
                self._loop.call_later(wait_s, self._slice)
            else:
                self._loop.call_soon(self._slice)

    def _turn_failed(self, error: Exception) -> None:
        self._log.error("a fault of the daemon's own while it served a client or took one in", exc_info=error)

    def _slice(self) -> None:
        self._slice_is_due = False
        self._turns.slice()

    # ---- the stream

    def publish(self, message: Detections | Heartbeat | Health | Event) -> None:
        """Send to all who want it. `seq` and `dropped` of Detections are filled in here, per client."""
        match message:
            case Detections():
                self._publish_detections(message)
            case Heartbeat():
                line = encode_line(message)
                for client in self._watchers():
                    if client.policy is not None and client.policy.wants_camera(message.camera):
                        client.latest(message.camera, line)
            case Health():
                line = encode_line(message)
                for client in self._watchers():
                    if client.policy is not None and "health" in client.policy.topics:
                        client.latest("", line)  # no camera has an empty name
            case Event():
                self._publish_event(message)

    def _publish_detections(self, message: Detections) -> None:
        now_s = self._loop.time()
        camera = message.camera
        tails: dict[Selection, bytes | None] = {}
        for client in self._watchers():
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
        for client in self._watchers():
            policy = client.policy
            if policy is None or "event" not in policy.topics:
                continue
            if message.camera is None or policy.wants_camera(message.camera):
                client.answer(line)

    def clients_health(self) -> list[ClientHealth]:
        """For `health`: every connection, oldest first."""
        return [client.health() for client in self._clients.values()]

    # ---- comings and goings

    def _watching_changed(self) -> None:
        # Put together when the next message comes: between two of them many clients may come and go.
        self._watching = None

    def _watchers(self) -> tuple[Client, ...]:
        # A new tuple each time: publish() may be iterating over the old one when a send() closes a client.
        if self._watching is None:
            self._watching = tuple(client for client in self._clients.values() if client.policy is not None)
        return self._watching

    def _forget(self, client: Client, reason: str) -> None:
        self._clients.pop(client.number, None)
        self._told.discard(client.number)
        self._watching_changed()
        if reason and reason not in _LEFT and client.pending_bytes:
            self._log.info("client %d (pid %d) closed: %s", client.number, client.peer.pid, reason)
        else:
            self._log.debug("client %d gone%s", client.number, f": {reason}" if reason else "")

    def sweep(self, now_s: float) -> None:
        """Look after the clients at `now_s` (the loop's clock); `tick` does so every SWEEP_S."""
        for client in list(self._clients.values()):
            if client.trouble:
                self._log.warning("client %d (pid %d) %s", client.number, client.peer.pid, client.trouble)
                client.trouble = ""
            client.sweep(now_s)
            if client.dropped and client.number not in self._told:
                self._told.add(client.number)
                self._log.info("client %d (pid %d) reads too slowly: lines are dropped", client.number, client.peer.pid)
        if self._turned_away:
            # One line for all of them: they may be thousands.
            self._log.warning("%d clients were turned away: %s", self._turned_away, self._why_turned_away)
            self._turned_away = 0

    async def close(self, grace_s: float = 0.5) -> None:
        """Accept no more, give what waits `grace_s` to get out, close all, remove the file made by `listen`."""
        for door in self._doors:
            door.close()
        self._doors.clear()
        for file in self._files:
            file.remove()
        self._files.clear()
        give_up_s = self._loop.time() + grace_s
        for client in list(self._clients.values()):
            client.finish()
        while self._clients and self._loop.time() < give_up_s:
            await asyncio.sleep(0.01)
        for client in list(self._clients.values()):
            client.close("")
        self._requests.close()
        self._answers.close()
