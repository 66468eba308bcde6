"""A client of the daemon's socket, as small as the gate needs it (the protocol is in docs/clients.md).

with Talk(path) as talk:
    talk.listen()                 # hello, watching, status are asked for and read as they come
    talk.frames["front"]          # numbers of the frames that were inferred since
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

_MAX_LINE_BYTES = 4 << 20
_KEPT_FRAMES = 50


class Talk:
    """One connection. Nothing raises but the constructor (OSError): a lost connection shows in `lost`."""

    def __init__(self, path: Path, timeout_s: float = 2.0) -> None:
        self.hello: dict[str, Any] | None = None
        self.status: dict[str, Any] | None = None
        self.frames: dict[str, list[int]] = {}
        self.cameras: dict[str, str] = {}
        self.lost = ""
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
            self._socket.sendall(b'{"type":"watch","events":["detections"],"empty":true}\n{"type":"status"}\n')
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask_status(self) -> None:
        try:
            self._socket.settimeout(1.0)
            self._socket.sendall(b'{"type":"status"}\n')
        except OSError as error:
            self.lost = str(error)

    def listen(self, seconds: float) -> None:
        """Take in what has come, waiting `seconds` for the first of it."""
        self._socket.settimeout(seconds)
        while not self.lost:
            try:
                data = self._socket.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                return
            except OSError as error:
                self.lost = str(error)
                return
            if not data:
                self.lost = "the daemon closed the connection"
                return
            self._take(data)
            self._socket.setblocking(False)

    def _take(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > _MAX_LINE_BYTES:
            self.lost = f"a line of more than {_MAX_LINE_BYTES} bytes"
        for line in lines:
            try:
                self._understand(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self.lost = f"it does not speak the protocol ({error!r})"

    def _understand(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "hello":
                self.hello = message
            case "status":
                self.status = message
                self.cameras = {name: str(camera["status"]) for name, camera in message["health"]["cameras"].items()}
            case "detections":
                frames = self.frames.setdefault(str(message["camera"]), [])
                frames.append(int(message["frame"]))
                del frames[:-_KEPT_FRAMES]
            case "heartbeat":
                self.cameras[str(message["camera"])] = str(message["status"])
