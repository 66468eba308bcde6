"""Many clients in one process: `python -m bench.readers SOCKET READING SILENT SECONDS`.

Says "ready" when all are connected and watching; when a line comes in, says "begins", reads for SECONDS, says "done",
then prints what arrived as one JSON object. While it measures it only receives and stamps.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time

SETTLE_S = 1.0
AFTER_WAITING_S = 0.1
"""What came in while nobody read has no time of arrival."""


def connect(path: str) -> socket.socket:
    """A connection that watches."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(b'{"type":"watch","events":["detections"],"empty":true}\n')
    return sock


def read(poll: select.epoll, socks: dict[int, socket.socket], seconds: float) -> list[tuple[int, int, bytes]]:
    """(received_ns, fd, bytes) of everything that comes in."""
    pieces: list[tuple[int, int, bytes]] = []
    clock, deadline = time.monotonic_ns, time.monotonic_ns() + int(seconds * 1e9)
    while (left := deadline - clock()) > 0:
        for fd, _ in poll.poll(left / 1e9):
            data = socks[fd].recv(1 << 20)
            if not data:
                raise RuntimeError("the daemon closed a connection")
            pieces.append((clock(), fd, data))
    return pieces


def main(path: str, reading: str, silent: str, seconds: str) -> None:
    """See above."""
    gc.disable()  # a pause of this process would be taken for the hub's
    quiet = [connect(path) for _ in range(int(silent))]
    socks: dict[int, socket.socket] = {}
    poll = select.epoll()
    for _ in range(int(reading)):
        sock = connect(path)
        sock.setblocking(False)
        socks[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
    rest = dict.fromkeys(socks, b"")

    def skip(seconds: float) -> None:
        """Read, and forget it."""
        for _, fd, data in read(poll, socks, seconds):
            rest[fd] = (rest[fd] + data).rpartition(b"\n")[2]

    skip(SETTLE_S)
    print("ready", flush=True)
    sys.stdin.readline()
    skip(AFTER_WAITING_S)
    print("begins", flush=True)
    cpu = time.process_time()
    pieces = read(poll, socks, float(seconds))
    cpu = time.process_time() - cpu
    print("done", flush=True)
    numbers: dict[int, list[int]] = {fd: [] for fd in socks}
    beyond_ms = []
    gaps_ms = []
    last_ns: dict[int, int] = {}
    infer_ms = []
    for received_ns, fd, data in pieces:
        *lines, rest[fd] = (rest[fd] + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["type"] == "detections":
                numbers[fd].append(message["seq"])
                if fd in last_ns:
                    gaps_ms.append(round((received_ns - last_ns[fd]) / 1e6, 3))
                last_ns[fd] = received_ns
                infer_ms.append(message["infer_ms"])
                beyond_ms.append(round((received_ns - message["captured_ns"]) / 1e6 - message["infer_ms"], 3))
    # Meant for a client: every number from its first to its last; what is missing in between was lost.
    meant = sum(seen[-1] - seen[0] + 1 for seen in numbers.values() if seen)
    received = sum(map(len, numbers.values()))
    deaf = sum(not seen for seen in numbers.values())
    if deaf:
        raise RuntimeError(f"{deaf} of {len(numbers)} clients got nothing")
    answer = {
        "meant": meant,
        "received": received,
        "beyond_ms": beyond_ms,
        "gaps_ms": gaps_ms,
        "infer_ms": sorted(infer_ms),
        "cpu_s": cpu,
    }
    print(json.dumps(answer), flush=True)
    del quiet


if __name__ == "__main__":
    main(*sys.argv[1:])
