"""`Client`: for programs that block.

client = Client()
print(client.status().health.cameras)
Path("front.jpg").write_bytes(client.snapshot("front", annotate=True).picture)
for event in client.watch(cameras=["front"], min_score=0.6): ...
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import UNSET

from vigild.client.events import WatchEvent
from vigild.client.session import RECEIVE_BYTES, SILENCE_S, A, Exchange, Watcher, watch_request
from vigild.wire import requests
from vigild.wire.address import NoDaemon, open_socket
from vigild.wire.messages import Ok, Pong, SnapshotAnswer, StatusAnswer, Topic

TIMEOUT_S = 30.0
"""For an answer: loading a large model from a slow card takes its time."""


class Client:
    """A daemon. Holds no connection: each call makes its own.

    All methods raise NoDaemon when none answers, Refused when it says no, ProtocolError when it is
    not understood, and OSError (TimeoutError among them) when the connection fails.
    """

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

    def watch(
        self,
        *,
        cameras: Iterable[str] | None = None,
        labels: Iterable[str] | None = None,
        min_score: float | None = None,
        max_fps: float | None = None,
        events: Iterable[Topic] | None = None,
        empty: bool = False,
        wait: bool = False,
    ) -> Iterator[WatchEvent]:
        """The stream, for ever. `events`: "detections", "health", "event" (default: all);
        `empty`: also frames where nothing is seen; `wait`: for a daemon that does not run yet."""
        watch = watch_request(cameras, labels, min_score, max_fps, events, empty)
        watcher = Watcher(watch, self._silence_s, patient=wait)
        while True:
            try:
                with open_socket(self._path, self._timeout_s) as sock:
                    yield from _stream(sock, watcher)
            except (NoDaemon, OSError) as error:
                lost = watcher.lost(error)
            if lost is not None:
                yield lost
            time.sleep(watcher.retry_s())

    def status(self) -> StatusAnswer:
        """Health and the settings in force."""
        return self._ask(requests.StatusRequest(), StatusAnswer)

    def snapshot(self, camera: str | None = None, annotate: bool = False) -> SnapshotAnswer:
        """The last inferred frame; `.picture` is the JPEG. `annotate` draws its boxes and labels."""
        request = requests.SnapshotRequest(camera=UNSET if camera is None else camera, annotate=annotate)
        return self._ask(request, SnapshotAnswer)

    def ping(self) -> None:
        """Returns when the daemon answers."""
        self._ask(requests.Ping(), Pong)

    def set(self, key: str, value: Any) -> str:
        """Change a setting until the next reload; returns what changed. Privileged, as all that follow."""
        return self._ask(requests.Set(key=key, value=value), Ok).message

    def swap(self, **model: Any) -> str:
        """Run another model: `path` or `name`, and further keys of [model]."""
        return self._ask(requests.Swap(**model), Ok).message

    def pause(self, camera: str | None = None) -> str:
        """Stop looking, through one camera or all."""
        return self._ask(requests.Pause(camera=UNSET if camera is None else camera), Ok).message

    def resume(self, camera: str | None = None) -> str:
        """Look again, through one camera or all."""
        return self._ask(requests.Resume(camera=UNSET if camera is None else camera), Ok).message

    def reload(self) -> str:
        """Read the configuration file again."""
        return self._ask(requests.Reload(), Ok).message

    def _ask(self, request: requests.Request, kind: type[A]) -> A:
        exchange = Exchange(request, kind)
        with open_socket(self._path, self._timeout_s) as sock:
            # Turned away before it could be sent? Why, stands in what came before the end.
            with contextlib.suppress(BrokenPipeError):
                sock.sendall(exchange.to_send)
            try:
                while True:
                    answer = exchange.receive(sock.recv(RECEIVE_BYTES))
                    if answer is not None:
                        return answer
            except TimeoutError:
                raise TimeoutError(f"the daemon did not answer within {self._timeout_s:g} s") from None


def _stream(sock: socket.socket, watcher: Watcher) -> Iterator[WatchEvent]:
    """One connection's events, until it ends (Lost)."""
    with contextlib.suppress(BrokenPipeError):  # turned away: why, stands in what came before the end
        sock.sendall(watcher.start())
    while True:
        sock.settimeout(watcher.wait_s())
        before_s = time.monotonic()
        try:
            data = sock.recv(RECEIVE_BYTES)
        except TimeoutError:
            yield from watcher.idle(time.monotonic() - before_s)
        else:
            yield from watcher.receive(data, time.monotonic() - before_s)
