"""The text between the pictures of a stream: multipart delimiters and headers, as cameras write them.

    parts = Parts()
    parts.line(b"--frame"); parts.line(b"Content-Type: image/jpeg"); parts.line(b"")
    parts.in_body                    # what follows is the part's content

Cameras announce one boundary and write another, with or without its dashes, end lines with LF alone, and leave
out headers or the blank line. So the delimiter is taken from the stream itself: the last line that begins with
two dashes. What came instead of pictures is counted, to be said.
"""

from __future__ import annotations

import re
from collections import Counter

from vigild import plain

MAX_TYPES = 16
"""Content types that are counted apart; what a sender makes up beyond them is counted together."""

_TYPES_TOLD = 3
_NO_TYPE = "no type"
MAX_DELIMITER_BYTES = 80
"""Its mark's: RFC 2046 allows 70 for the boundary; dashes and line ends come on top."""
_MAX_LENGTH_DIGITS = 10
_QUOTED = 60
_PAGE = re.compile(r"\s*(?:<!doctype|<html|<head|<body|<\?xml)", re.IGNORECASE)
_UNSEEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)|<[^>]*(?:>|$)", re.IGNORECASE | re.DOTALL)


def _mark(line: bytes) -> re.Pattern[bytes] | None:
    """What ends a part, if `line` stood in front of it; None for a line that is too long to be a delimiter."""
    if len(line) > MAX_DELIMITER_BYTES - 6:
        return None
    # The last delimiter of all has two more dashes; one of dashes alone needs its line end to be told from data.
    bare = line.removesuffix(b"--")
    return re.compile(rb"\r?\n" + (re.escape(bare) if bare.strip(b"-") else re.escape(line) + rb"\r?\n"))


class Parts:
    """What is known of the parts so far. No I/O."""

    def __init__(self) -> None:
        self._delimiter = b""
        self.mark: re.Pattern[bytes] | None = None
        """The line in front of each part, with the line end before it; None until one was seen."""
        self.in_headers = False
        self.in_body = False
        self.type = ""
        self.length: int | None = None
        """Of the part's content, as announced: often wrong."""
        self._gave = False
        self._without: Counter[str] = Counter()
        """Parts that gave no picture, by content type."""
        self._text = b""
        """The begin of the first of those parts that is text."""

    def line(self, line: bytes) -> None:
        """A line outside of pictures, without its end."""
        if line.startswith(b"--"):
            self.close()
            if self._delimiter and line == self._delimiter + b"--":
                return  # the last of all: no part follows it
            if line != self._delimiter:
                self._delimiter, self.mark = line, _mark(line)
            self.in_headers, self.in_body = True, False
            self.type, self.length, self._gave = "", None, False
        elif self.in_headers and not line:
            self.in_headers, self.in_body = False, True
        elif self.in_headers:
            self._header(line)

    def _header(self, line: bytes) -> None:
        name, _, value = line.decode("latin-1").partition(":")
        match name.strip().lower():
            case "content-type":
                self.type = value.partition(";")[0].strip().lower()
            case "content-length":
                digits = value.strip()
                plain_number = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_LENGTH_DIGITS
                self.length = int(digits) if plain_number else None

    def picture(self) -> None:
        """The part is, or holds, a picture that is taken."""
        self._gave = True
        self.in_headers = False

    def failed(self) -> None:
        """It was none after all."""
        self._gave = False
        self.in_body = True

    @property
    def is_other(self) -> bool:
        """The part is of a type that holds no picture, and is to be passed over."""
        if "jpeg" in self.type or "jpg" in self.type or self.type == "application/octet-stream":
            return False
        return self.in_body and self.type.partition("/")[0] in ("text", "audio", "video", "application")

    def content(self, data: bytes) -> None:
        """The begin of a part that is passed over."""
        if not self._text:
            self._text = data[:2048]

    def close(self) -> None:
        """The part is over."""
        if (self.in_body or self.type) and not self._gave:
            known = self.type in self._without or len(self._without) < MAX_TYPES
            self._without[(self.type or _NO_TYPE) if known else "other types"] += 1
        self.in_body = self.in_headers = False
        self._gave = True

    @property
    def without(self) -> int:
        """Parts that gave no picture."""
        return self._without.total()

    def words(self) -> str:
        """What came instead of pictures, as "12 parts of image/png"; empty when nothing did."""
        without = self._without.copy()
        if self.in_body and not self._gave:  # the one that is not over yet
            without[self.type or _NO_TYPE] += 1
        kinds = [
            f"{count} part{'s' if count > 1 else ''} of {plain.name(kind)}"
            for kind, count in without.most_common(_TYPES_TOLD)
        ]
        begin = quoted(self._text)
        begins = f' (the first begins "{begin}")' if kinds and begin else ""
        return " and ".join(kinds) + begins


def quoted(data: bytes) -> str:
    """The first words of a text or a web page, fit to be shown; empty for what is no text."""
    text = data.decode(errors="replace")
    if "\0" in text or text.count("\ufffd") > len(text) // 8 or not text.strip():
        return ""
    if is_page(data) and (seen := _UNSEEN.sub(" ", text)).strip():
        text = seen  # of a page without words, its marks say what it is
    return " ".join(plain.name(text).split())[:_QUOTED].strip().replace('"', "'")


def is_page(data: bytes) -> bool:
    """Whether it begins as a web page does."""
    return _PAGE.match(data.decode("latin-1").lstrip("\ufeff\xef\xbb\xbf")) is not None


def describe(begin: bytes, total: int) -> str:
    """What `total` bytes are that hold no picture, from their begin."""
    words = quoted(begin)
    if is_page(begin):
        return f'a web page that begins "{words}"'
    if words:
        return f'text that begins "{words}"'
    return f"{total} bytes with no JPEG in them" if total else "nothing"
