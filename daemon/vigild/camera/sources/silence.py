"""Bytes come, but no picture: when that is to be said, and how.

    silence = Silence(open_timeout_s=10.0, read_timeout_s=1.5, now_s=...)
    silence.check(splitter, now_s)       # raises SourceFailed once it is plain

A stream that brings nothing at all is noticed by whoever reads it (`live`).
"""

from __future__ import annotations

from vigild.camera.sources.base import POLL_S, SourceFailed
from vigild.camera.sources.mjpeg import Splitter

ENOUGH_PARTS = 8
"""So many parts without a picture, and none with one: there will be none."""
ENOUGH_S = 1.5


class Silence:
    """Since the last picture, or since the stream was opened. The clock is the caller's."""

    def __init__(self, open_timeout_s: float, read_timeout_s: float, now_s: float) -> None:
        # A little before the reader's own time-out, which can say less.
        self._open_s = open_timeout_s - 2 * POLL_S
        self._read_s = max(read_timeout_s - 2 * POLL_S, POLL_S)
        self._since_s = now_s
        self._others = 0
        self._pictures = False

    def picture(self, splitter: Splitter, now_s: float) -> None:
        """One came."""
        self._since_s = now_s
        self._others = splitter.other_parts
        self._pictures = True

    def check(self, splitter: Splitter, now_s: float) -> None:
        """Raises SourceFailed when something else came for too long."""
        silent_s = now_s - self._since_s
        others = splitter.other_parts - self._others
        if self._pictures:
            if others and silent_s >= self._read_s:
                raise SourceFailed("read", f"no frame for {silent_s:.1f} s, but {splitter.came()}")
            return
        plain = others >= ENOUGH_PARTS and silent_s >= ENOUGH_S
        if splitter.total and (plain or silent_s >= self._open_s):
            raise SourceFailed("open", f"it opened, but gave no frame for {silent_s:.1f} s: {splitter.came()}")
