"""Logging: levelled lines that fit where they go.

    log = logger("camera.front")
    log.warning("lost: %s", reason)

People get a time and a level, in colours on a terminal. The hub reading a worker gets one line a message
with systemd's priority in front: "<4>camera.front: lost: ...". journald gets entries with fields, when
stderr is its own (see `journal`); then nothing here can wait for it.
`Condition` keeps a repeating fault to one line when it begins, changes or ends.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from typing import Any

from vigild import journal, plain
from vigild.config.source import redact

_LEVELS = {7: logging.DEBUG, 6: logging.INFO, 5: logging.INFO, 4: logging.WARNING, 3: logging.ERROR}
_COLORS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}
_PREFIXED = re.compile(r"^<([0-7])>(?:([\w.\-]+): )?(.*)$", re.DOTALL)

_ROOT = "vigild"

_events = logging.getLogger(f"{_ROOT}.event")
_events.propagate = False
_events.addHandler(logging.NullHandler())


def logger(name: str) -> logging.Logger:
    """The logger of a part, e.g. "hub", "camera.front", "detector"."""
    return logging.getLogger(f"{_ROOT}.{name}")


class _Plain(logging.Formatter):
    """A message is a line, whatever it quotes; only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return plain.spelt(record.message)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(plain.spelt, super().formatException(ei).splitlines()))


class _Prefixed(_Plain):
    """<priority>part: message; further lines carry the priority too, as journald wants."""

    def format(self, record: logging.LogRecord) -> str:
        priority = journal.PRIORITIES.get(record.levelno, 6)
        text = f"{record.name.removeprefix(_ROOT + '.')}: {super().format(record)}"
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class _Readable(_Plain):
    def __init__(self, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        clock = self._paint(time.strftime("%H:%M:%S", time.localtime(record.created)), "2")
        level = self._paint(f"{record.levelname.lower():7}", _COLORS.get(record.levelno, "0"))
        return f"{clock} {level} {record.name.removeprefix(_ROOT + '.')}: {super().format(record)}"

    def _paint(self, text: str, color: str) -> str:
        return f"\033[{color}m{text}\033[0m" if self._colored else text


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr; a full disk or a closed terminal must not stop the daemon."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


def setup(level: str = "info", worker: bool = False) -> None:
    """Send this process's log to stderr. Call once, early; `set_level` changes the level later."""
    if to_journal() and not worker and journal.available():
        _to_journald(level)
        return
    handler = _Handler(sys.stderr)
    colored = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ
    handler.setFormatter(_Prefixed() if worker or to_journal() else _Readable(colored))
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    set_level("debug" if worker else level)


def _to_journald(level: str) -> None:
    handler = journal.JournalHandler(_ROOT)
    handler.setFormatter(_Plain())
    vigild, everything = logging.getLogger(_ROOT), logging.getLogger()
    vigild.handlers[:] = [handler]
    vigild.propagate = False
    # asyncio's too, which would otherwise write to stderr, and wait there.
    everything.handlers[:] = [handler]
    _events.handlers[:] = [handler]
    set_level(level)


def event(kind: str, text: str, *, camera: str | None = None, level: int = logging.INFO) -> None:
    """Something that clients are told as an event, for those who search the journal: VIGILD_EVENT=kind.

    Goes to journald alone; the parts say in their own words what happened, and that is what people read elsewhere.
    """
    fields = {"VIGILD_EVENT": kind, "VIGILD_REASON": text, **({"VIGILD_CAMERA": camera} if camera else {})}
    where = f" {camera}" if camera else ""
    _events.log(level, "%s", f"{kind}{where}: {text}", extra={"fields": fields})


def dropped() -> int:
    """Entries that journald did not take, since the start."""
    handlers = logging.getLogger(_ROOT).handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, journal.JournalHandler))


def to_journal() -> bool:
    """Whether stderr is journald's: it says so by device and inode in $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def set_level(level: str) -> None:
    """The least severe level written: "debug", "info", "warning" or "error"."""
    logging.getLogger(_ROOT).setLevel(level.upper())


def relay(line: str, fallback: str) -> bool:
    """Log a line that a worker wrote to its stderr.

    Returns False when the line is not in our form: a native library's words, logged at debug level
    under the part `fallback`.
    """
    match = _PREFIXED.match(line)
    if match is None:
        logger(fallback).debug("%s", redact(line))
        return False
    level = _LEVELS.get(int(match[1]), logging.ERROR)
    logger(match[2] or fallback).log(level, "%s", match[3])
    return True


class Condition:
    """A state that may last: logged when it begins, when its text changes, and when it ends."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._text: str | None = None

    def begin(self, text: str, level: int = logging.WARNING) -> bool:
        """Returns whether this was new."""
        if text == self._text:
            return False
        self._text = text
        self._log.log(level, "%s", text)
        return True

    def end(self, text: str) -> bool:
        """Returns whether there was something to end."""
        if self._text is None:
            return False
        self._text = None
        self._log.info("%s", text)
        return True
