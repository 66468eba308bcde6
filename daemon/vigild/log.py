"""Logging: levelled lines that fit where they go.

    log = logger("camera.front")
    log.warning("lost: %s", reason)

People get a time and a level, in colours on a terminal; journald, and the hub reading a worker, get
one line a message with systemd's priority in front: "<4>camera.front: lost: ...".
`Condition` keeps a repeating fault to one line when it begins, changes or ends.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_LEVELS = {7: logging.DEBUG, 6: logging.INFO, 5: logging.INFO, 4: logging.WARNING, 3: logging.ERROR}
_COLORS = {logging.DEBUG: "2", logging.INFO: "32", logging.WARNING: "33", logging.ERROR: "31"}
_PREFIXED = re.compile(r"^<([0-7])>(?:([\w.\-]+): )?(.*)$", re.DOTALL)

_ROOT = "vigild"


def logger(name: str) -> logging.Logger:
    """The logger of a part, e.g. "hub", "camera.front", "detector"."""
    return logging.getLogger(f"{_ROOT}.{name}")


class _Prefixed(logging.Formatter):
    """<priority>part: message; further lines carry the priority too, as journald wants."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        text = f"{record.name.removeprefix(_ROOT + '.')}: {super().format(record)}"
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


class _Readable(logging.Formatter):
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
    handler = _Handler(sys.stderr)
    colored = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ
    handler.setFormatter(_Prefixed() if worker or to_journal() else _Readable(colored))
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    set_level("debug" if worker else level)


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
        logger(fallback).debug("%s", line)
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
