"""What a worker is doing right now, in one shared page that the hub reads when it likes.

    progress = Progress.create()                 # hub; progress.fd goes to the worker
    lane = progress.lane(0)                      # worker
    lane.enter(Stage.INVOKE)                     # ... and the hub: lane.read() -> (Stage, since_ns)

A message per step would cost a system call each and would not arrive from a process that hangs.
Each lane is one aligned 64-bit word (stage in the low byte, monotonic time above it), stored and
loaded as a whole, so there is nothing to tear; the hub only compares it with a deadline.
"""

from __future__ import annotations

import enum
import mmap
import os
import time

PAGE_BYTES = 4096
LANES = PAGE_BYTES // 8


class Stage(enum.IntEnum):
    """The steps of a worker; the names appear in messages to people."""

    START = 0
    LOAD = 1
    FIRST_INVOKE = 2
    WAIT = 3
    COPY = 4
    INVOKE = 5
    DECODE = 6
    OPEN = 7
    GRAB = 8
    RETRIEVE = 9
    CONVERT = 10
    ENCODE = 11
    BACKOFF = 12
    PUBLISH = 13
    ENDED = 14
    LITERT = 15
    TFLITE_RUNTIME = 16


_NUMBERS = frozenset(Stage)

STAGE_TEXT = {
    Stage.START: "while starting",
    Stage.LOAD: "while loading the model",
    Stage.FIRST_INVOKE: "in the first invoke()",
    Stage.WAIT: "while waiting for work",
    Stage.COPY: "while copying a frame",
    Stage.INVOKE: "in invoke()",
    Stage.DECODE: "while decoding the outputs",
    Stage.OPEN: "while opening the source",
    Stage.GRAB: "while waiting for a frame",
    Stage.RETRIEVE: "while decoding a frame",
    Stage.CONVERT: "while converting a frame",
    Stage.ENCODE: "while encoding a snapshot",
    Stage.BACKOFF: "while waiting to reopen the source",
    Stage.PUBLISH: "while handing a result over",
    Stage.ENDED: "after the source's end",
    Stage.LITERT: "while starting litert with the model",
    Stage.TFLITE_RUNTIME: "while starting tflite-runtime with the model",
}

RUNTIME_STAGES = {"litert": Stage.LITERT, "tflite-runtime": Stage.TFLITE_RUNTIME}
"""By the names of `model.runtime`: importing it, and making an interpreter with nothing but its own kernels."""


class Lane:
    """One thread's word. Only that thread writes it."""

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self._index = index

    def enter(self, stage: Stage) -> int:
        """Say what happens from now on; returns now (monotonic ns)."""
        now = time.monotonic_ns()
        self._words[self._index] = (now << 8 | stage) & 0xFFFF_FFFF_FFFF_FFFF
        return now

    def read(self) -> tuple[Stage, int]:
        """The stage and when it was entered (monotonic ns; 0 before the first, and where no stage was written)."""
        word = self._words[self._index]
        number = word & 0xFF
        if number not in _NUMBERS:  # native code wrote where it should not
            return Stage.START, 0
        return Stage(number), word >> 8


class Progress:
    """The page. Lane 0 is the worker's main thread; a camera worker says whose the others are (CameraLane)."""

    def __init__(self, fd: int) -> None:
        """Maps the page; `fd` stays open as `self.fd`, for passing on."""
        self.fd = fd
        self._map = mmap.mmap(fd, PAGE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, name: str) -> Progress:
        """Raises OSError when no descriptor or no memory is left."""
        fd = os.memfd_create(f"vigild-progress-{name}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, PAGE_BYTES)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def lane(self, index: int) -> Lane:
        if not 0 <= index < LANES:
            raise ValueError(f"lane {index}: there are {LANES}")
        return Lane(self._words, index)

    def close(self) -> None:
        """Unmap and close; lanes must not be used afterwards."""
        self._words.release()
        self._map.close()
        os.close(self.fd)
