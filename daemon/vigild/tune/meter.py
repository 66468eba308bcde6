"""What a load and its parent tell each other while it runs: a rate one way, a count of frames the other.

    meter = Meter.made(folder / "meter")       # the parent
    meter.ask(12.5)                            # frames a second; again and again, see ASKED_S
    meter.frames()                             # done since it was asked for the last time
    with Meter(path) as meter: ...             # the load: asked(now), count()

A file of a few numbers in shared memory: neither ever waits for the other. Each number is of 32 bits, which any
processor that vigild runs on writes at once.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path

ASKED_S = 5.0
"""A load whose parent has not asked for so long does nothing: whoever watches the temperature may be stopped."""

_ASKED, _TURN, _DONE, _NUMBERS = 0, 1, 2, 3
_MOST = 1 << 32
_MILLI = 1000


class Meter:
    """One side of it. Both map the same file."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4 * _NUMBERS)
        self._numbers = memoryview(self._map).cast("I")
        self._counted = self._numbers[_DONE]
        self._turn = self._numbers[_TURN]
        self._turned_s = time.monotonic()

    @classmethod
    def made(cls, path: Path) -> Meter:
        """A new one, of a load that is asked for nothing. Raises OSError."""
        path.write_bytes(bytes(4 * _NUMBERS))
        return cls(path)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self._numbers.release()
        self._map.close()

    # ---- the parent

    def ask(self, fps: float) -> None:
        """0: rest."""
        self._numbers[_ASKED] = min(round(fps * _MILLI), _MOST - 1)
        self._numbers[_TURN] = (self._numbers[_TURN] + 1) % _MOST

    def frames(self) -> int:
        """Done since the last call."""
        done = self._numbers[_DONE]
        frames, self._counted = (done - self._counted) % _MOST, done
        return frames

    # ---- the load

    def asked(self, now_s: float) -> float:
        """Frames a second. `now_s`: monotonic."""
        turn = self._numbers[_TURN]
        if turn != self._turn:
            self._turn, self._turned_s = turn, now_s
        return self._numbers[_ASKED] / _MILLI if now_s - self._turned_s < ASKED_S else 0.0

    def count(self) -> None:
        """One more frame is done."""
        self._numbers[_DONE] = (self._numbers[_DONE] + 1) % _MOST
