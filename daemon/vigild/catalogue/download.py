"""HTTP to a file: resumed, bounded, with a time-out, following redirects by rule.

    with Partial(path) as partial:
        Download("https://...", partial, max_bytes=..., progress=print).run()
        partial.path                       # all of it, whatever went wrong on the way

A connection that breaks or stalls is opened again where it ended, while it brings something. Bytes
of an earlier run are only continued when the server says by its validator (If-Range) that they are
of the same file, or when the caller can check the whole by its hash.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urljoin, urlsplit

import msgspec

from vigild import __version__
from vigild.decoding import decoded

CHUNK_BYTES = 64 * 1024
MAX_REDIRECTS = 8
"""Two are usual (github.com to raw.githubusercontent.com); curl's own limit is 50."""
ATTEMPTS = 4
"""Without a single new byte in between."""
ATTEMPTS_IN_ALL = 50
TIMEOUT_S = 30.0
"""For a connection, and for each wait for bytes."""
STALL_S = 60.0
STALL_BYTES = 16 * 1024
"""Slower than this many bytes in STALL_S is taken for a stall: a model of 4 MiB would need over four hours."""

Progress = Callable[[int, int], object]
"""Told (bytes here, bytes in all; 0 when not known)."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class DownloadError(Exception):
    """A download failed; the message is a sentence without its end."""


class _Again(Exception):
    """It broke, and may go on when asked again."""


_texts = msgspec.json.Decoder(dict[str, str])


class Partial:
    """A file being downloaded, locked against a second download, with what is known of its source."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._about = target.with_name(target.name + ".part.json")
        self._made: list[Path] = []
        """Folders that were not there before, the innermost first."""
        self.file: BinaryIO

    def __enter__(self) -> Partial:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            try:
                self._make_folders()
                self.file = os.fdopen(os.open(self.path, flags, 0o644), "r+b", buffering=0)
            except OSError as error:
                raise disk_fault(self.path, error) from None
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.file.close()
                raise DownloadError(f"{self.path} is being written by another download; wait for it") from None
            # Between open and lock another download may have finished, and given this file its name.
            if self.path.exists() and os.path.samestat(self.path.stat(), os.fstat(self.file.fileno())):
                return self
            self.file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        empty = self.size() == 0
        self.file.close()
        if empty:
            self.remove()
        for folder in self._made:
            with contextlib.suppress(OSError):  # what holds something stays
                folder.rmdir()

    def _make_folders(self) -> None:
        parents = self.path.parent
        self._made += [folder for folder in (parents, *parents.parents) if not folder.exists()]
        parents.mkdir(parents=True, exist_ok=True)

    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def write(self, data: bytes) -> None:
        """Add all of it. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.file.write(rest) :]

    def cut(self, size: int = 0) -> None:
        """Keep only the first `size` bytes."""
        self.file.seek(size)
        self.file.truncate()

    def source(self) -> dict[str, str]:
        """{"url", "validator"} of what is there; empty when not known."""
        try:
            return decoded(_texts.decode, self._about.read_bytes()[:8192])
        except (OSError, msgspec.DecodeError):
            return {}

    def set_source(self, url: str, validator: str) -> None:
        self._about.write_text(json.dumps({"url": url, "validator": validator}))

    def forget_source(self) -> None:
        """What is there must not be continued."""
        self._about.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget it all."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        """Make it durable and give it its name, in one step."""
        os.fsync(self.file.fileno())
        self.path.replace(target)
        self._about.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Download:
    """One address into one partial file. `run` raises DownloadError, and OSError for the file's own faults."""

    def __init__(
        self,
        url: str,
        partial: Partial,
        *,
        expected_bytes: int = 0,
        max_bytes: int,
        hash_known: bool = False,
        progress: Progress = lambda here, total: None,
        timeout_s: float = TIMEOUT_S,
        stall_s: float = STALL_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._url = url
        self._partial = partial
        self._expected = expected_bytes
        self._max = expected_bytes or max_bytes
        self._hash_known = hash_known
        self._progress = progress
        self._timeout_s = timeout_s
        self._stall_s = stall_s
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirects)
        self.resumed = False
        """Whether bytes of an earlier run were continued."""

    def run(self) -> None:
        """Fetch all of it into the partial file."""
        self._adopt()
        self.resumed = self._partial.size() > 0
        if self._hash_known and self._expected == self._partial.size() > 0:
            return
        failures = 0
        for attempt in range(1, ATTEMPTS_IN_ALL + 1):
            before = self._partial.size()
            try:
                self._attempt()
                return
            except _Again as broken:
                failures = 1 if self._partial.size() > before else failures + 1
                if failures >= ATTEMPTS or attempt == ATTEMPTS_IN_ALL:
                    raise DownloadError(f"{self._url}: {broken}; given up after {attempt} attempts") from None
                self._sleep(2.0 ** (failures - 1))

    def _adopt(self) -> None:
        """Keep what an earlier run left only if it can be of the same file."""
        source = self._partial.source()
        same = source.get("url") == self._url and (self._hash_known or source.get("validator"))
        if not same or self._partial.size() > self._max:
            self._partial.cut()
            self._partial.set_source(self._url, "")

    def _attempt(self) -> None:
        start = self._partial.size()
        validator = self._partial.source().get("validator", "")
        if start and not (validator or self._hash_known):
            start = 0
        headers = {"User-Agent": f"vigild/{__version__}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        response = self._open(headers)
        with response:
            total = self._accept(response, start)
            self._receive(response, total)

    def _open(self, headers: dict[str, str]) -> Any:
        """The response that is not a redirect: 200, 206 or 416."""
        url = self._url
        seen = {url}
        for _ in range(MAX_REDIRECTS + 1):
            request = urllib.request.Request(url, headers=headers)
            try:
                return self._opener.open(request, timeout=self._timeout_s)
            except urllib.error.HTTPError as answer:
                with answer:
                    if answer.code == 416:
                        self._partial.cut()
                        raise _Again("the server has no such part of the file") from None
                    if answer.code not in (301, 302, 303, 307, 308):
                        self._refuse(answer.code, answer.reason)
                    url = next_url(url, answer.headers.get("Location", ""))
            except urllib.error.URLError as error:
                self._unreachable(url, error.reason)
            except (OSError, http.client.HTTPException) as error:
                self._unreachable(url, error)
            except ValueError as error:  # a host name that cannot be encoded
                raise DownloadError(f"{url}: {error}") from None
            if url in seen:
                raise DownloadError(f"{self._url}: the server redirects in a circle, back to {url}")
            seen.add(url)
        raise DownloadError(f"{self._url}: the server redirects more than {MAX_REDIRECTS} times")

    def _refuse(self, status: int, reason: str) -> NoReturn:
        text = f"the server answers {status} {reason}"
        if status in (408, 425, 429) or status >= 500:
            raise _Again(text)
        raise DownloadError(f"{self._url}: {text}")

    def _unreachable(self, url: str, reason: object) -> NoReturn:
        host = urlsplit(url).hostname
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{self._url}: the certificate of {host} is not valid: {reason.verify_message}")
        if isinstance(reason, TimeoutError):
            raise _Again(f"{host} does not answer within {self._timeout_s:g} s")
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        raise _Again(f"{host} cannot be reached: {text or type(reason).__name__}")

    def _accept(self, response: Any, start: int) -> int:
        """Check the answer's headers and set the file to where its bytes go; the size of all, 0 if not told."""
        headers: Message = response.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(f"{self._url}: the server sends it as {headers['Content-Encoding']}, unasked")
        length = headers.get("Content-Length", "")
        if length and not length.isdecimal():
            raise DownloadError(f"{self._url}: the server gives the length {length!r}; expected a number")
        if start and response.status == 206:
            found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                self._partial.cut()
                raise _Again(f"the server sends {headers.get('Content-Range', 'no range')} when asked from {start} on")
            known = self._partial.source().get("validator", "")
            if known and _validator(headers) not in (known, ""):
                self._partial.cut()
                raise _Again("the file changed meanwhile")
            total = int(found[3]) if found[3] != "*" else 0
        elif response.status == 200:
            start = 0
            total = int(length) if length else 0
        else:
            raise DownloadError(f"{self._url}: the server answers {response.status}; expected 200 with the file")
        if not (total or self._expected or self._hash_known or response.chunked):
            raise DownloadError(f"{self._url}: the server does not say how large the file is, so its end is unknown")
        self._check_size(total)
        self._partial.cut(start)
        if start == 0:
            self._partial.set_source(self._url, _validator(headers))
        self._check_space((total or self._expected) - start)
        return total

    def _check_size(self, total: int) -> None:
        if self._expected and total and total != self._expected:
            raise DownloadError(
                f"{self._url}: the server has {total} bytes, but the manifest says {self._expected}; it is another file"
            )
        if total > self._max:
            raise DownloadError(f"{self._url}: the server has {total} bytes; up to {self._max} are expected")

    def _check_space(self, needed: int) -> None:
        room = os.statvfs(self._partial.path.parent)
        if needed > room.f_bavail * room.f_frsize:
            raise DownloadError(
                f"{self._partial.path.parent} has {room.f_bavail * room.f_frsize // 2**20} MiB left, "
                f"but the file needs {max(needed // 2**20, 1)} MiB; make room"
            )

    def _receive(self, response: Any, total: int) -> None:
        here = self._partial.file.tell()
        since, since_bytes = time.monotonic(), here
        self._progress(here, total or self._expected)
        while True:
            try:
                data = response.read1(CHUNK_BYTES)
            except TimeoutError:
                raise _Again(f"the server sent nothing for {self._timeout_s:g} s") from None
            except (OSError, http.client.HTTPException) as error:
                raise _Again(f"the connection broke after {here} bytes ({error or type(error).__name__})") from None
            if not data:
                break
            here += len(data)
            if here > self._max or (total and here > total):
                self._partial.cut()
                raise DownloadError(f"{self._url}: the server sends more than the {total or self._max} bytes expected")
            self._partial.write(data)
            self._progress(here, total or self._expected)
            now = time.monotonic()
            if now - since > self._stall_s:
                if here - since_bytes < STALL_BYTES:
                    raise _Again(f"only {here - since_bytes} bytes came in {now - since:.0f} s")
                since, since_bytes = now, here
        wanted = total or self._expected
        if wanted and here < wanted:
            raise _Again(f"the connection ended after {here} of {wanted} bytes")


def next_url(url: str, location: str) -> str:
    """Where a redirect leads. Raises DownloadError for what must not be followed."""
    try:
        target = urljoin(url, location).partition("#")[0]
        old, new, given = urlsplit(url), urlsplit(target), urlsplit(location)
        fits = bool(location and new.hostname and new.scheme in ("http", "https") and not new.username)
        # urljoin takes "http://" and "//" for empty references.
        fits = fits and (new.port is None or new.port > 0) and (bool(given.netloc) or "//" not in location[:8])
    except ValueError:
        fits = False
    if not fits or not target.isascii() or any(c <= " " for c in target):
        raise DownloadError(f"{url}: the server redirects to {location[:200]!r}, which is no http or https address")
    if old.scheme == "https" and new.scheme == "http":
        raise DownloadError(f"{url}: the server redirects from https to unencrypted {target}; that is not followed")
    return target


def _validator(headers: Message) -> str:
    """What If-Range may say: a strong ETag. (A date is too coarse, RFC 9110 section 13.1.5.)"""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') and len(etag) < 1000 else ""


def disk_fault(path: Path, error: OSError) -> DownloadError:
    """Why a file cannot be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(f"{path.parent} is full; make room, or name another folder by $VIGILD_MODELS")
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "; run it as root (sudo), or name a folder of your own by $VIGILD_MODELS"
    return DownloadError(f"{path} cannot be written: {error.strerror or error}{hint}")
