"""The head of an HTTP answer, as servers in cameras write it. No I/O.

    parsed = parse_head(data)             # None: more bytes are needed
    parsed.head.status, parsed.head.get("content-type"), parsed.body

Browsers forgive much, and cameras are tried with browsers: a status line that is missing or says ICY (SHOUTcast's),
lines that end with LF alone, header lines without a name, no blank line in front of the content.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
"""As browsers and servers limit it, or more."""

_STATUS = re.compile(r"(?:HTTP(?:/\d(?:\.\d)?)?|ICY)\s+(\d{3})\b\s*(.*)", re.IGNORECASE)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*:")
"""A token and a colon (RFC 9110, 5.1)."""
_CONTENT = (b"--", b"\xff\xd8\xff", b"\x89PNG", b"<")
"""What begins a line of content, never of a head."""


class BadHead(ValueError):
    """What came cannot be the head of an answer; the message says why."""


class Head(NamedTuple):
    """Status and headers."""

    status: int
    """200 where the server sent no status line."""
    reason: str
    headers: list[tuple[str, str]]
    """Names in small letters."""

    def get(self, name: str) -> str:
        """The first header of that name; empty when there is none."""
        return next((value for header, value in self.headers if header == name), "")

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]

    @property
    def type(self) -> str:
        """The content type without its parameters, in small letters."""
        return self.get("content-type").partition(";")[0].strip().lower()


class Parsed(NamedTuple):
    head: Head
    body: bytes
    """What came behind the head."""


def parse_head(data: bytes, ended: bool = False) -> Parsed | None:
    """The head at the begin of `data`; None while it may go on. `ended`: nothing more comes. Raises BadHead."""
    at = 0
    while True:
        parsed = _one(data, at, ended)
        if parsed is None or parsed.head.status >= 200:
            return parsed
        at = len(data) - len(parsed.body)  # 1xx: the answer proper follows


def _one(data: bytes, start: int, ended: bool) -> Parsed | None:
    status, reason = 0, ""
    headers: list[tuple[str, str]] = []
    at = start
    while True:
        if data.startswith(_CONTENT, at):
            return Parsed(Head(status or 200, reason, headers), data[at:])
        end = data.find(b"\n", at)
        if end < 0:
            return _unfinished(data, at, ended, Head(status or 200, reason, headers))
        line = data[at:end].decode("latin-1").rstrip("\r")
        first = at == start
        if first and (found := _STATUS.match(line)) is not None:
            status, reason = int(found[1]), found[2].strip()
        elif not line.strip():
            if not first:
                return Parsed(Head(status or 200, reason, headers), data[end + 1 :])
            start = end + 1  # RFC 9112, 2.2: an empty line in front is to be passed over
        elif line[0] in " \t" and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
        elif _HEADER.match(line) is not None:
            name, _, value = line.partition(":")
            headers.append((name.strip().lower(), value.strip()))
        elif first:
            return Parsed(Head(200, "", []), data[at:])  # no head at all, as in HTTP/0.9
        at = end + 1


def _unfinished(data: bytes, at: int, ended: bool, head: Head) -> Parsed | None:
    if ended:
        return Parsed(head, data[at:])
    if len(data) > MAX_HEAD_BYTES:
        raise BadHead(f"its header has no end within {MAX_HEAD_BYTES // 1024} KiB")
    return None
