"""A client that stamps every line as it arrives and looks into it afterwards."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from typing import Any

from system.harness import Client, Daemon


class Stream:
    """A watching connection. `take` reads for a while; nothing is parsed while time is measured."""

    def __init__(self, daemon: Daemon, **policy: Any) -> None:
        client = daemon.connect()
        policy.setdefault("events", ["detections"])
        policy.setdefault("empty", True)
        client.watch(**policy)
        self._sock = client.sock
        self._sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)
        self._rest = client._rest

    def take(self, seconds: float, until: Callable[[bytes], bool] | None = None) -> list[dict[str, Any]]:
        """The `detections` of the next seconds, each with `received_ns` (monotonic); less if `until` is true of
        a piece that was read. Without `until`, what came before the call is dropped: nobody knows when it did."""
        pieces: list[tuple[int, bytes]] = []
        while until is None and self._poll.poll(0) and (data := self._sock.recv(1 << 20)):
            self._rest = (self._rest + data).rpartition(b"\n")[2]
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self._poll.poll(left * 1000):
                break
            data = self._sock.recv(1 << 20)
            now = time.monotonic_ns()
            if not data:
                raise RuntimeError("the daemon closed the connection")
            pieces.append((now, data))
            if until is not None and until(data):
                break
        messages = []
        for received_ns, data in pieces:
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message["type"] == "detections":
                    messages.append({**message, "received_ns": received_ns})
        return messages

    def first(self, timeout_s: float) -> dict[str, Any]:
        """The next `detections`; whatever came with it is dropped. Raises TimeoutError."""
        found = self.take(timeout_s, lambda data: b'"type":"detections"' in data)
        if not found:
            raise TimeoutError(f"no detections within {timeout_s} s")
        return found[0]

    def drain(self, silent_s: float = 0.15, at_most_s: float = 10.0) -> None:
        """Read until nothing was inferred for a while (after `pause`)."""
        deadline = time.monotonic() + at_most_s
        while self.take(silent_s):
            if time.monotonic() > deadline:
                raise TimeoutError("the daemon goes on inferring although it was paused")


def frames_per_s(messages: list[dict[str, Any]]) -> float:
    """From the first to the last arrival. Raises ValueError when fewer than two came."""
    if len(messages) < 2:
        raise ValueError(f"{len(messages)} detections came in the window; expected a stream of them")
    return (len(messages) - 1) * 1e9 / float(messages[-1]["received_ns"] - messages[0]["received_ns"])


def gapless(messages: list[dict[str, Any]]) -> bool:
    """Whether these are consecutive frames of one camera, and nothing was dropped for this client."""
    numbers = [message["frame"] for message in messages]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and not messages[-1]["dropped"]


def beyond_invoke_ms(messages: list[dict[str, Any]]) -> list[float]:
    """From the capture to the client, less the time in invoke()."""
    return [(m["received_ns"] - m["captured_ns"]) / 1e6 - m["infer_ms"] for m in messages]


def control(daemon: Daemon) -> Client:
    """A connection for requests."""
    return daemon.connect()


def must(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, if it is none of refusal."""
    if answer["type"] == "error":
        raise RuntimeError(f"the daemon refused: {answer['message']}")
    return answer
