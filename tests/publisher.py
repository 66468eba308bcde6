"""A web server that publishes files, and does what servers do when things go wrong.

with Publisher() as publisher:
    publisher.files["/model.tflite"] = data
    publisher.script("/model.tflite", Drop(after=1000), Stall())   # the first two requests, in order
    publisher.requests                    # [("/model.tflite", {"range": "bytes=1000-"}), ...]
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """One answer. As it stands: the whole file, or the range that was asked for."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ranges: bool = True
    """Honour Range and If-Range."""
    if_range: bool = True
    etag: bool = True
    length: bool = True
    """Say Content-Length."""
    chunked: bool = False
    drop_after: int | None = None
    """Close the connection after this many bytes of the body."""
    stall_after: int | None = None
    """Send this many bytes and then nothing, until the server ends."""
    trickle_s: float = 0.0
    """Wait this long between single bytes."""
    wrong_range: bool = False
    """Answer 206 with a range that was not asked for."""


class Publisher:
    """HTTP on 127.0.0.1; `url(path)` is an address on it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()
        self._scripts: dict[str, list[Reply]] = {}
        self._usual: dict[str, Reply] = {}
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                publisher._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def script(self, path: str, *replies: Reply) -> None:
        """What the next requests get; those after them, the usual."""
        self._scripts[path] = list(replies)

    def always(self, path: str, reply: Reply) -> None:
        """What every request gets."""
        self._usual[path] = reply

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self._usual[path] = Reply(status=status, headers={"Location": location}, body=b"")

    def ranges(self, path: str) -> list[str]:
        """The Range header of each request for a path; "" where there was none."""
        return [headers.get("range", "") for found, headers in self.requests if found == path]

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path
        headers = {key.lower(): value for key, value in handler.headers.items()}
        self.requests.append((path, headers))
        script = self._scripts.get(path)
        reply = script.pop(0) if script else self._usual.get(path, Reply())
        handler.close_connection = True
        if reply.status == 0 and path not in self.files and reply.body is None:
            reply = Reply(status=404, body=b"no such file")
        with contextlib.suppress(OSError):  # the client went away, as some tests want
            self._send(handler, headers, reply, self.files.get(path, b"") if reply.body is None else reply.body)

    def _send(
        self, handler: http.server.BaseHTTPRequestHandler, asked: dict[str, str], reply: Reply, body: bytes
    ) -> None:
        status, total = reply.status or 200, len(body)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        extra = dict(reply.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
        same = asked.get("if-range", etag) == etag or not reply.if_range
        if reply.ranges and wanted and same and not reply.status:
            start = int(wanted[1])
            if start >= total:
                status, body, extra["Content-Range"] = 416, b"", f"bytes */{total}"
            else:
                status, body = 206, body[start:]
                shown = start + 1 if reply.wrong_range else start
                extra["Content-Range"] = f"bytes {shown}-{total - 1}/{total}"
        if reply.etag:
            extra.setdefault("ETag", etag)
        if reply.chunked:
            extra["Transfer-Encoding"] = "chunked"
        elif reply.length:
            extra.setdefault("Content-Length", str(len(body)))
        handler.send_response(status)
        for key, value in extra.items():
            handler.send_header(key, value)
        handler.end_headers()
        ends = [end for end in (reply.drop_after, reply.stall_after) if end is not None]
        part = body[: min([len(body), *ends])]
        if reply.chunked:
            part = b"".join(
                b"%x\r\n%s\r\n" % (len(part[i : i + 999]), part[i : i + 999]) for i in range(0, len(part), 999)
            )
            part += b"" if ends else b"0\r\n\r\n"
        while reply.trickle_s and part and not self.ended.wait(reply.trickle_s):
            handler.wfile.write(part[:1])
            part = part[1:]
        handler.wfile.write(part)
        handler.wfile.flush()
        if reply.stall_after is not None:
            self.ended.wait()
