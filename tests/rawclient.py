"""A client that knows nothing: a socket, bytes out, lines in."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


class RawClient:
    """Connects at once. Reads wait up to 30 s, which only a hang needs."""

    def __init__(self, path: Path, greet: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(path))
        self._rest = b""
        if greet:
            self.hello = self.read()
            assert self.hello["type"] == "hello"

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes | dict[str, Any]) -> None:
        self.sock.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """The next line. EOFError at the end."""
        while b"\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        value: dict[str, Any] = json.loads(line)
        return value

    def until(self, kind: str) -> dict[str, Any]:
        """The next line of this type; others are passed over."""
        while (line := self.read())["type"] != kind:
            pass
        return line

    def ask(self, request: bytes | dict[str, Any]) -> dict[str, Any]:
        """Send, and the next line."""
        self.send(request)
        return self.read()

    def watch(self, **policy: Any) -> dict[str, Any]:
        answer = self.ask({"type": "watch", **policy})
        assert answer["type"] == "watching", answer
        return answer

    def at_end(self) -> bool:
        """Whether the server has closed (lines that still come are passed over)."""
        try:
            while True:
                self.read()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return True
