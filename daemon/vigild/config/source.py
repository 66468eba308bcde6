"""What a camera's `source` means, and how it may be shown.

    source = parse_source("rtsp://user:secret@10.0.0.7/stream")
    source.kind                      # "rtsp"
    source.target                    # the address, with its credentials: for the reader only
    source.filled()                  # the same, with secrets in the place of ${credential:NAME}
    redact("cannot open rtsp://user:secret@10.0.0.7/stream")   # "cannot open rtsp://***@10.0.0.7/stream"

Everything that is logged, sent to a client or shown in an error goes through `redact`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from vigild import plain
from vigild.closest import closest
from vigild.config import credentials

SourceKind = Literal["v4l2", "file", "images", "rtsp", "http", "exec", "testcard"]

REPLAYABLE: frozenset[str] = frozenset({"file", "images", "testcard"})
"""Kinds whose frames wait until they are read: only they can be read one by one, or again from the start."""

FORMS = "/dev/video0, a video file, images:FOLDER, rtsp://..., http(s)://..., exec:COMMAND or testcard"

_SCHEMES: dict[str, SourceKind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")


class SourceError(ValueError):
    """The text names no source; the message (without credentials) says what would."""


class SourceSpec(msgspec.Struct, frozen=True):
    """A parsed source. Its text form hides credentials; `target` holds them."""

    kind: SourceKind
    target: str
    """The device, file, folder, URL or command; empty for the test card."""

    @property
    def replayable(self) -> bool:
        """Frames wait until they are read (files, folders, the test card)."""
        return self.kind in REPLAYABLE

    def filled(self) -> str:
        """The target with its secrets, which `redact` hides from now on. Raises SourceError."""
        try:
            target, secrets = credentials.fill(self.target)
        except credentials.CredentialError as error:
            raise SourceError(str(error)) from None
        _secrets.update(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS)
        try:
            parse_source(target)
        except SourceError:  # whose words may show what they complain of
            raise SourceError(
                "with its credentials filled in this is no valid address; look into their files"
            ) from None
        return target

    def __repr__(self) -> str:
        return f"SourceSpec({self.kind!r}, {redact(self.target)!r})"

    __str__ = __repr__


def parse_source(text: str) -> SourceSpec:
    """Tell what kind of source `text` names. Does not look at the file system.

    Raises SourceError.
    """
    text = text.strip()
    if not text:
        raise SourceError(f"empty; expected {FORMS}")
    if "\0" in text:
        raise SourceError("contains a NUL character")
    if not plain.is_text(text):
        raise SourceError("contains bytes that are no UTF-8; rename it, or name a link to it")
    if text == "testcard":
        return SourceSpec("testcard", "")
    scheme = _SCHEME.match(text)
    if scheme:
        return _url(scheme[1].lower(), text)
    if credentials.names(text):
        raise SourceError(_MISPLACED)
    for prefix in ("images", "exec"):
        if text.startswith(prefix + ":"):
            target = text[len(prefix) + 1 :].strip()
            if not target:
                raise SourceError(f"{prefix}: needs a {'folder' if prefix == 'images' else 'command'} behind the colon")
            return SourceSpec("images" if prefix == "images" else "exec", target)
    if text.isdecimal() and text.isascii():
        raise SourceError(f'a bare number; write "/dev/video{text}" for that device')
    if text.startswith("/dev/") and not text.startswith("/dev/shm/"):
        if text.endswith("/"):
            raise SourceError("a folder of devices; name one device")
        return SourceSpec("v4l2", text)
    if text.endswith("/"):
        raise SourceError(f'a folder; write "images:{text}" to read the pictures in it')
    return SourceSpec("file", text)


_MISPLACED = (
    f"{credentials.FORM} belongs into the address of an rtsp:// or http:// camera; a command would show it to "
    "everybody who lists processes: let the command read the file itself, below $CREDENTIALS_DIRECTORY"
)


def absent(text: str) -> str | None:
    """Why the file or folder that `text` names cannot be read now, as a sentence; None for what can, and for sources
    of other kinds, which may come later by themselves. Looks at the file system. Raises SourceError."""
    source = parse_source(text)
    path = Path(source.target)
    if source.kind == "file":
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
            return f'{path} is a folder; write "images:{path}" to read the pictures in it'
        return _unreadable(path, "video file")
    if source.kind == "images":
        if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
            return f"images:{path} is no folder; name the folder that the pictures are in, or the video file alone"
        return _unreadable(path, "folder")
    return None


def _unreadable(path: Path, what: str) -> str | None:
    if not os.path.exists(path):  # noqa: PTH110
        try:
            near = closest(path.name, os.listdir(path.parent))  # noqa: PTH208
        except OSError:
            near = None
        hint = f"did you mean {plain.name(near)}?" if near else "correct the source"
        return f"there is no {what} {path}; {hint}"
    if not os.access(path, os.R_OK):
        return f"the {what} {path} may not be read by this user; change its permissions"
    return None


def _url(scheme: str, text: str) -> SourceSpec:
    kind = _SCHEMES.get(scheme)
    try:
        shape = credentials.without(text)
    except credentials.CredentialError as error:
        raise SourceError(str(error)) from None
    if kind is None:
        raise SourceError(f"{scheme}:// is not read by the daemon itself (expected {FORMS}); exec: with ffmpeg can")
    try:
        parts = urlsplit(shape)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise SourceError("the address is not a valid URL; check host and port") from None
    if not host:
        raise SourceError(f"the URL names no host; write {scheme}://HOST/PATH")
    if re.search(r"[\s\x00-\x1f]", shape):
        raise SourceError("the URL contains white space; write it as %20")
    return SourceSpec(kind, text)


HIDDEN = "***"

MIN_SECRET_CHARACTERS = 4
"""Hiding each "a" would make a secret of every text."""

_secrets: set[str] = set()
"""What this process has read; hidden wherever it turns up."""

MAX_SCHEME_CHARACTERS = 16
SEPARATORS = frozenset(" \t\r\n,;|\"'=()<>[]{}")
"""In front of a scheme, these begin a new URL."""

_SPACE = re.compile(r"\s")
_SCHEME_END = re.compile(r"(^|[^A-Za-z0-9+.\-])[A-Za-z0-9+.\-]+$")
_PORT = re.compile(r"[0-9]{1,5}")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+(?:%[\w.~\-]+)?\]")
_AUTHORITY_END = re.compile(r"[/?#]")
_PARAMETER = re.compile(r"(?<![\w.\-])([\w.\-]+)=(\"[^\"]*\"|'[^']*'|[^&;#\s'\"]+)")
_SECRET_NAME = re.compile(
    r"pass|pwd|token|secret|auth|key|sig|cred|session|^-*(?:user|usr|username|login|loginuse|loginpas|http-user)$|^-*user_",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"(?<!\S)(--?(?:[\w\-]*(?:password|passwd|token|secret)|user|proxy-user|u)\s+)(\"[^\"]*\"|'[^']*'|\S+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"((?:proxy-)?authorization|cookie|x-api-key|x-auth-token)(\s*:\s*)[^'\"\r\n]+", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` without credentials: each is replaced by "***".

    Covers user:password@ in URLs, name=value with a name like password, token, auth or user (in a
    query, a path or a command), a command's --password VALUE or -u USER:PASSWORD, and authorization
    headers, and every secret that a reference was filled with. When in doubt it hides too much.
    """
    for secret in _secrets:
        text = text.replace(secret, HIDDEN).replace(unquote(secret), HIDDEN)
    text = _userinfo(text)
    text = _PARAMETER.sub(_parameter, text)
    text = _OPTION.sub(rf"\g<1>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<1>\g<2>{HIDDEN}", text)


def _parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if _SECRET_NAME.search(match[1]) else match[0]


def _userinfo(text: str) -> str:
    """Hide what stands before the @ of each URL in `text`."""
    pieces: list[str] = []
    done = 0
    starts = _url_starts(text)
    begun: int | None = None
    for start, following in zip(starts, [*starts[1:], len(text)], strict=False):
        space = _SPACE.search(text, start, following)
        start = start if begun is None else begun
        rest = text[start : space.start() if space else following]
        # Where credentials begin and do not end, what looks like a further URL may be in the password.
        begun = start if space is None and following < len(text) and _begins_credentials(rest) else None
        at = _credentials_end(rest) if begun is None else -1
        if at >= 0:
            pieces += [text[done:start], HIDDEN]
            done = start + at
    return "".join(pieces) + text[done:]


def _url_starts(text: str) -> list[int]:
    """Where each URL's authority begins. A :// inside a URL is part of it unless something separates it."""
    starts: list[int] = []
    looked_at = 0
    separated = True
    at = text.find("://")
    while at >= 0:
        separated = separated or _SPACE.search(text, looked_at, at) is not None
        looked_at = at
        scheme = _SCHEME_END.search(text[max(0, at - MAX_SCHEME_CHARACTERS - 1) : at])
        if scheme and (separated or scheme[1] in SEPARATORS):
            starts.append(at + 3)
            separated = False
        at = text.find("://", at + 3)
    return starts


def _credentials_end(rest: str) -> int:
    """Where in `rest` (a URL behind its ://) the @ stands that ends the credentials; -1 for none.

    People write passwords with unescaped / ? # and @. So with credentials present everything up to
    the last @ is hidden, and "user:word/..." counts as credentials when "word" is no port.
    """
    authority = _authority(rest)
    return rest.rfind("@") if "@" in authority or not _may_be_host(authority) else -1


def _begins_credentials(rest: str) -> bool:
    return "@" not in rest and not _may_be_host(_authority(rest))


def _authority(rest: str) -> str:
    end = _AUTHORITY_END.search(rest)
    return rest[: end.start()] if end else rest


def _may_be_host(authority: str) -> bool:
    """Whether nothing speaks against HOST or HOST:PORT: what stands behind a colon is a port, or an IPv6 address's."""
    _, colon, port = authority.rpartition(":")
    return not colon or _PORT.fullmatch(port) is not None or _IPV6.fullmatch(authority) is not None
