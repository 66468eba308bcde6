"""Clients that ask as fast as they can: `python -m bench.flood SOCKET KIND CLIENTS SECONDS`.

All in one process: each client's socket is kept full of requests, and what comes back is read and thrown away. Says
"floods" when all are at it, and prints at the end how many bytes were answered.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
import time

BATCH_BYTES = 8192
"""Sent at once: many small requests, or a piece of a large one."""

SETTLE_S = 0.5


def _lines(*requests: dict[str, object]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def _names(size: int) -> list[str]:
    """Names that no model knows, some 12 bytes each."""
    return [f"no-name-{number:04}" for number in range(size // 14)]


KINDS: dict[str, bytes] = {
    "status": _lines({"type": "status"}),
    "status-id": _lines({"type": "status", "id": "x" * 250}),
    "ping": _lines({"type": "ping"}),
    "watch": _lines({"type": "watch", "empty": True}, {"type": "unwatch"}),
    "watch-large": _lines({"type": "watch", "labels": _names(12_000)}),
    "snapshot": _lines({"type": "snapshot"}),
    "annotated": _lines({"type": "snapshot", "annotate": True}),
    "set": _lines(
        {"type": "set", "key": "model.max_results", "value": 19},
        {"type": "set", "key": "model.max_results", "value": 20},
    ),
    "set-refused": _lines({"type": "set", "key": "model.min_scroe", "value": 1}),
    "resume": _lines({"type": "resume"}),
    "reload": _lines({"type": "reload"}),
    "swap": _lines({"type": "swap", "path": "/no/such/model.tflite"}),
    "invalid": b"nonsense\n" + _lines({"type": "wotch"}, {"type": "watch", "min_scroe": 1}),
    "nested": b"[" * 60_000 + b"\n",
    "numbers": b'{"type":"ping","id":' + b"9" * 60_000 + b"}\n",
    "too-long": b"x" * 70_000 + b"\n",
    "endless": b"x" * 65_536,
    "connects": b"",
}
"""What a client of each kind sends, over and over."""


def flood(path: str, kind: str, clients: int, stop: threading.Event) -> int:
    """Until `stop`; returns the bytes that came back. A connection that the daemon closes is made again."""
    payload = KINDS[kind]
    payload *= max(1, BATCH_BYTES // len(payload))
    poll = select.epoll()
    socks: dict[int, socket.socket] = {}
    sent: dict[int, int] = {}

    def connect() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.setblocking(False)
        socks[sock.fileno()] = sock
        sent[sock.fileno()] = 0
        poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    received = 0
    for _ in range(clients):
        connect()
    print("floods", flush=True)
    while not stop.is_set():
        for fd, events in poll.poll(0.1):
            sock = socks[fd]
            try:
                if events & ~select.EPOLLOUT:
                    data = sock.recv(1 << 18)
                    received += len(data)
                    if not data:
                        raise ConnectionResetError
                if events & select.EPOLLOUT:
                    sent[fd] = (sent[fd] + sock.send(memoryview(payload)[sent[fd] :])) % len(payload)
            except BlockingIOError:
                continue
            except OSError:
                sock.close()
                del socks[fd]
                connect()
    return received


def connects(path: str, clients: int, stop: threading.Event) -> int:
    """The same for connections that are made, greeted and given up."""
    received = [0] * clients

    def again_and_again(number: int) -> None:
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.settimeout(5.0)
                sock.connect(path)
                received[number] += len(sock.recv(1 << 16))

    threads = [threading.Thread(target=again_and_again, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    print("floods", flush=True)
    for thread in threads:
        thread.join()
    return sum(received)


def main(path: str, kind: str, clients: str, seconds: str) -> None:
    """See above."""
    stop = threading.Event()
    threading.Timer(float(seconds), stop.set).start()
    began = time.monotonic()
    number = int(clients)
    received = connects(path, number, stop) if kind == "connects" else flood(path, kind, number, stop)
    cpu = time.process_time() / (time.monotonic() - began)
    print(json.dumps({"received": received, "cpu_cores": round(cpu, 3)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
