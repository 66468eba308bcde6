"""Log entries with fields, in journald's native protocol (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md).

    handler = JournalHandler("vigild")
    journalctl -u vigild VIGILD_CAMERA=front         # what was said of one camera
    journalctl -u vigild VIGILD_EVENT=camera_lost    # each time that any was lost

Each entry has MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, CODE_FILE, CODE_LINE, CODE_FUNC and VIGILD_PART (the part of the
daemon: "hub", "camera.front"); where they apply VIGILD_CAMERA, VIGILD_EVENT and VIGILD_REASON. Entries that
journald does not take at once are dropped and counted, and the first one that gets through says how many.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Mapping

from vigild.datagrams import Datagrams

SOCKET = "/run/systemd/journal/socket"

MAX_VALUE_BYTES = 16 * 1024
"""Of a field; what is longer is cut. A datagram must fit the socket's buffer (net.core.wmem_default, 208 KiB)."""

PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""syslog's, of Python's levels."""

_LENGTH = struct.Struct("<Q")


def encode(fields: Mapping[str, str]) -> bytes:
    """An entry. A value of several lines is written with its length, as the protocol wants."""
    parts: list[bytes] = []
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")[:MAX_VALUE_BYTES]
        if b"\n" in data:
            parts += [name.encode(), b"\n", _LENGTH.pack(len(data)), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Sends records to journald. Fields beyond the usual come with `extra={"fields": {"VIGILD_EVENT": ...}}`."""

    def __init__(self, root: str, datagrams: Datagrams | None = None) -> None:
        """`root`: the name above those of the parts, left out in what people read."""
        super().__init__()
        self._prefix = root + "."
        self._datagrams = datagrams or Datagrams(SOCKET)
        self._told = 0
        """How many of the dropped ones have been spoken of."""

    @property
    def dropped(self) -> int:
        return self._datagrams.dropped

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = encode(self._fields(record))
        except Exception:  # a record whose arguments do not fit its text: say nothing rather than stop the daemon
            self.handleError(record)
            return
        dropped = self.dropped
        if self._datagrams.send(entry) and dropped > self._told:
            self._told = dropped
            self._datagrams.send(encode(self._loss(dropped)))

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: the usual would write to stderr, which is journald's too, and waits."""

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        part = record.name.removeprefix(self._prefix)
        fields = {
            "MESSAGE": self._text(record, part),
            "PRIORITY": str(PRIORITIES.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "vigild",
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            "VIGILD_PART": part,
        }
        if part.startswith("camera."):
            fields["VIGILD_CAMERA"] = part.removeprefix("camera.")
        extra = getattr(record, "fields", None)
        if isinstance(extra, Mapping):
            fields.update({str(name): str(value) for name, value in extra.items()})
        return fields

    def _text(self, record: logging.LogRecord, part: str) -> str:
        return f"{part}: {self.format(record)}"

    def _loss(self, dropped: int) -> dict[str, str]:
        return {
            "MESSAGE": f"log: journald did not take everything; {dropped} entries were dropped since the start",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "vigild",
            "VIGILD_PART": "log",
            "VIGILD_DROPPED": str(dropped),
        }


def available() -> bool:
    """Whether this system has a journald."""
    return os.path.exists(SOCKET)  # noqa: PTH110 - False also where it cannot be looked at
