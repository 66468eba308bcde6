"""Clients that check every line they get, served by one thread.

crowd = Crowd(path)
crowd.join(20)
crowd.pump(0.1)                      # take in what comes for so long
crowd.latest["front"]                # the capture time of the newest frame that any of them was told of
crowd.wrong                          # what nobody can explain
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

SILENCE_S = 6.0
"""Heartbeats come every 2 s; on a machine that does other things as well, one or two may be late."""


class Watcher:
    """One connection that watches everything. Its books: seq, dropped, and the frames of each camera."""

    def __init__(self, number: int, path: Path, wrong: Callable[[str], None]) -> None:
        self.number = number
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.sock.sendall(b'{"type":"watch","empty":true,"events":["detections","health","event"]}\n')
        self.sock.setblocking(False)
        self.lines = 0
        self.dropped = 0
        self.frames: dict[str, int] = {}
        self.heard_s: dict[str, float] = {}
        self._seq = 0
        self._rest = b""
        self._wrong = wrong

    def read(self) -> list[dict[str, Any]]:
        """What has come; raises EOFError at the end."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError(str(error)) from None
        if not data:
            raise EOFError("closed")
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        for message in messages:
            self._book(message)
        return messages

    def _book(self, message: dict[str, Any]) -> None:
        self.lines += 1
        if message["type"] in ("detections", "heartbeat"):
            self.heard_s[message["camera"]] = time.monotonic()
        if message["type"] != "detections":
            return
        missing = message["seq"] - self._seq - 1
        said = message["dropped"] - self.dropped
        if missing != said:
            self._wrong(f"client {self.number}: {missing} lines are missing before seq {message['seq']}, told: {said}")
        self._seq, self.dropped = message["seq"], message["dropped"]
        camera, frame, before = message["camera"], message["frame"], self.frames.get(message["camera"], 0)
        if frame <= before:
            self._wrong(f"client {self.number}: {camera}: frame {frame} after {before}")
        self.frames[camera] = frame


class Crowd:
    """All of them. The first keeps what was told."""

    def __init__(self, path: Path) -> None:
        self.wrong: list[str] = []
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.latest: dict[str, int] = defaultdict(int)
        """Capture time (monotonic ns) of the newest frame of each camera that was told."""
        self.told: dict[str, list[int]] = defaultdict(list)
        """Numbers of the frames of each camera that the first client was told of."""
        self.lines = 0
        self.members: list[Watcher] = []
        self.longest_silence_s: dict[str, float] = defaultdict(float)
        self._path = path
        self._selector = selectors.DefaultSelector()
        self.excused_until_s = 0.0
        """Silence is explained until then: the hub itself was stopped."""

    def join(self, count: int) -> None:
        for _ in range(count):
            member = Watcher(len(self.members) + 1, self._path, self.wrong.append)
            self.members.append(member)
            self._selector.register(member.sock, selectors.EVENT_READ, member)

    def pump(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take in what comes for so long, or until this is true; whether it became true."""
        end_s = time.monotonic() + seconds
        while not (done := until()) and (left_s := end_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left_s, 0.1)):
                self._take(key.data)
            self._listen_for_silence()
        return done

    def _take(self, member: Watcher) -> None:
        try:
            messages = member.read()
        except EOFError as end:
            self._selector.unregister(member.sock)
            self.members.remove(member)
            self.wrong.append(f"client {member.number} lost its connection after {member.lines} lines ({end})")
            return
        self.lines += len(messages)
        first = self.members and member is self.members[0]
        for message in messages:
            if message["type"] == "detections":
                camera = message["camera"]
                self.latest[camera] = max(self.latest[camera], message["captured_ns"])
                if first:
                    self.told[camera].append(message["frame"])
            elif message["type"] == "event" and first:
                self.events.append((time.monotonic(), message))

    def _listen_for_silence(self) -> None:
        now_s = time.monotonic()
        for member in self.members:
            for camera, heard_s in member.heard_s.items():
                silence_s = now_s - heard_s
                if now_s > self.excused_until_s:
                    self.longest_silence_s[camera] = max(self.longest_silence_s[camera], silence_s)
                    if silence_s > SILENCE_S:
                        self.wrong.append(f"client {member.number}: not a word of {camera} for {silence_s:.1f} s")
                        member.heard_s[camera] = now_s

    def close(self) -> None:
        self._selector.close()
        for member in self.members:
            member.sock.close()
