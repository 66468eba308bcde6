"""`AsyncClient`: for programs on asyncio.

async for event in AsyncClient().watch(labels=["person"]): ...
answer = await AsyncClient().status()
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from msgspec import UNSET

from vigild.client.events import WatchEvent
from vigild.client.session import RECEIVE_BYTES, SILENCE_S, A, Exchange, Watcher, watch_request
from vigild.client.sync import TIMEOUT_S
from vigild.wire import requests
from vigild.wire.address import NoDaemon, open_socket
from vigild.wire.messages import Ok, Pong, SnapshotAnswer, StatusAnswer, Topic


class AsyncClient:
    """A daemon. Holds no connection: each call makes its own. Raises what `Client` raises."""

    def __init__(
        self,
        socket: str | os.PathLike[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """`socket`: its path; None looks where the daemon listens by default."""
        self._path = socket
        self._timeout_s = timeout_s
        self._silence_s = silence_s

    async def watch(
        self,
        *,
        cameras: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        min_score: float | None = None,
        max_fps: float | None = None,
        events: Iterable[Topic] | None = None,
        empty: bool = False,
        wait: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """The stream, for ever. `events`: "detections", "health", "event" (default: all);
        `empty`: also frames where nothing is seen; `wait`: for a daemon that does not run yet."""
        watch = watch_request(cameras, labels, min_score, max_fps, events, empty)
        watcher = Watcher(watch, self._silence_s, patient=wait)
        while True:
            try:
                sock = await self._open()
                with sock:
                    async for event in _stream(sock, watcher):
                        yield event
            except (NoDaemon, OSError) as error:
                lost = watcher.lost(error)
            if lost is not None:
                yield lost
            await asyncio.sleep(watcher.retry_s())

    async def status(self) -> StatusAnswer:
        """Health and the settings in force."""
        return await self._ask(requests.StatusRequest(), StatusAnswer)

    async def snapshot(self, camera: str | None = None, annotate: bool = False) -> SnapshotAnswer:
        """The last inferred frame; `.picture` is the JPEG. `annotate` draws its boxes and labels."""
        request = requests.SnapshotRequest(camera=UNSET if camera is None else camera, annotate=annotate)
        return await self._ask(request, SnapshotAnswer)

    async def ping(self) -> None:
        """Returns when the daemon answers."""
        await self._ask(requests.Ping(), Pong)

    async def set(self, key: str, value: Any) -> str:
        """Change a setting until the next reload; returns what changed. Privileged, as all that follow."""
        return (await self._ask(requests.Set(key=key, value=value), Ok)).message

    async def swap(self, **model: Any) -> str:
        """Run another model: `path` or `name`, and further keys of [model]."""
        return (await self._ask(requests.Swap(**model), Ok)).message

    async def pause(self, camera: str | None = None) -> str:
        """Stop looking, through one camera or all."""
        return (await self._ask(requests.Pause(camera=UNSET if camera is None else camera), Ok)).message

    async def resume(self, camera: str | None = None) -> str:
        """Look again, through one camera or all."""
        return (await self._ask(requests.Resume(camera=UNSET if camera is None else camera), Ok)).message

    async def reload(self) -> str:
        """Read the configuration file again."""
        return (await self._ask(requests.Reload(), Ok)).message

    async def _open(self) -> socket.socket:
        # In a thread: a full backlog makes it wait.
        sock = await asyncio.to_thread(open_socket, self._path, self._timeout_s)
        sock.setblocking(False)
        return sock

    async def _ask(self, request: requests.Request, kind: type[A]) -> A:
        try:
            return await asyncio.wait_for(self._exchange(Exchange(request, kind)), self._timeout_s)
        except asyncio.TimeoutError:
            raise TimeoutError(f"the daemon did not answer within {self._timeout_s:g} s") from None

    async def _exchange(self, exchange: Exchange[A]) -> A:
        loop = asyncio.get_running_loop()
        with await self._open() as sock:
            # Turned away before it could be sent? Why, stands in what came before the end.
            with contextlib.suppress(BrokenPipeError):
                await loop.sock_sendall(sock, exchange.to_send)
            while True:
                answer = exchange.receive(await loop.sock_recv(sock, RECEIVE_BYTES))
                if answer is not None:
                    return answer


async def _stream(sock: socket.socket, watcher: Watcher) -> AsyncIterator[WatchEvent]:
    """One connection's events, until it ends (Lost)."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(BrokenPipeError):  # turned away: why, stands in what came before the end
        await loop.sock_sendall(sock, watcher.start())
    while True:
        before_s = time.monotonic()
        try:
            data = await asyncio.wait_for(loop.sock_recv(sock, RECEIVE_BYTES), watcher.wait_s())
        except asyncio.TimeoutError:
            events = watcher.idle(time.monotonic() - before_s)
        else:
            events = watcher.receive(data, time.monotonic() - before_s)
        for event in events:
            yield event
