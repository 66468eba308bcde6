"""One HTTP request, up to the answer's head; the content is read from the socket by whoever asked.

    answer = get("http://user:secret@camera.lan/video", deadline_s)
    answer.head.status, answer.body, answer.socket

http.client would refuse what browsers forgive (see `response`), and keep bytes of the content to itself.
"""

from __future__ import annotations

import base64
import functools
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from vigild import __version__
from vigild.camera.sources.response import BadHead, Head, parse_head

_READ_BYTES = 2**14
_LEAST_TIMEOUT_S = 0.1
_PORTS = {"http": 80, "https": 443}
_KEPT = "%/:=&?~+!$,;'@()*[]"
"""What stands in paths and queries as it is, escapes of the user's own included."""


class Exchange(NamedTuple):
    """The answer so far."""

    socket: socket.socket
    head: Head
    body: bytes
    """What came along with the head."""


def get(url: str, deadline_s: float) -> Exchange:
    """Connect, ask, and read the head. Raises OSError, ValueError (a URL that cannot be used), BadHead."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    port = parts.port or _PORTS[parts.scheme]
    sock = socket.create_connection((host, port), timeout=_left(deadline_s))
    try:
        if parts.scheme == "https":
            sock.settimeout(_left(deadline_s))
            sock = _context().wrap_socket(sock, server_hostname=host)
        sock.settimeout(_left(deadline_s))
        sock.sendall(_request(parts, host))
        return _answer(sock, deadline_s)
    except BaseException:
        sock.close()
        raise


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _left(deadline_s: float) -> float:
    return max(deadline_s - time.monotonic(), _LEAST_TIMEOUT_S)


def _request(parts: SplitResult, host: str) -> bytes:
    path = quote(parts.path or "/", _KEPT, errors="surrogateescape")
    query = f"?{quote(parts.query, _KEPT, errors='surrogateescape')}" if parts.query else ""
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"GET {path}{query} HTTP/1.1",
        f"Host: {shown}:{parts.port}" if parts.port else f"Host: {shown}",
        "Accept-Encoding: identity",
        f"User-Agent: vigild/{__version__}",
        "Accept: multipart/x-mixed-replace, image/jpeg, */*",
    ]
    if parts.username is not None:
        userinfo = b"%b:%b" % (_bytes(parts.username), _bytes(parts.password or ""))
        lines.append("Authorization: Basic " + base64.b64encode(userinfo).decode())
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _bytes(text: str) -> bytes:
    """Of a part of the user's URL, its escapes resolved."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape"))


def _answer(sock: socket.socket, deadline_s: float) -> Exchange:
    data = b""
    while True:
        # The time-out is of one recv: a server that sends a byte now and then must not stretch it.
        if time.monotonic() >= deadline_s:
            raise TimeoutError
        sock.settimeout(_left(deadline_s))
        more = sock.recv(_READ_BYTES)
        data += more
        if not data and not more:
            raise BadHead("the server closed the connection without an answer")
        parsed = parse_head(data, ended=not more)
        if parsed is not None:
            return Exchange(sock, parsed.head, parsed.body)


def words(error: Exception) -> str:
    """An exception in words for people."""
    if isinstance(error, socket.gaierror):
        return "the host's name cannot be resolved"
    if isinstance(error, UnicodeError):
        return "the host's name is not a valid one"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is the server running, and on this port?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__} {error}".strip()
