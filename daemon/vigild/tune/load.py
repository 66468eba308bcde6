"""A setting that runs at the rate that is asked for, in a process that may die of it.

    with Load(task) as load:                # loaded, and at rest
        load.loaded                         # what runs, as the daemon names it
        load.ask(12.5)                      # frames a second, from now on
        load.frames()                       # since the last call; raises CannotMeasure when it died or hangs

The process belongs to `tasks.load`. It ends with this one, and rests when this one does not ask for seconds.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from vigild.sandbox import parent
from vigild.tune.measure import MODULE, CannotMeasure
from vigild.tune.meter import Meter
from vigild.tune.tasks import Loaded, LoadTask

HANGS_S = 60.0
"""Without a frame that is due."""
LOOK_S = 0.05


class Load:
    """One process; it is there from the beginning of the `with` to its end."""

    def __init__(self, task: LoadTask) -> None:
        """Raises CannotMeasure."""
        self._meter = Meter.made(Path(task.meter))
        self._fps = 0.0
        self._seen_s = time.monotonic()
        self._running = parent.Running(MODULE, "load", task)
        try:
            self.loaded = self._wait(Path(task.ready))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The load ends at once. May be called twice."""
        self._running.end()
        self._meter.close()

    def ask(self, fps: float) -> None:
        """To be called again within meter.ASKED_S."""
        if self._fps <= 0:
            self._seen_s = time.monotonic()
        self._fps = fps
        self._meter.ask(fps)

    def frames(self) -> int:
        """Done since the last call. Raises CannotMeasure."""
        self._check()
        frames, now_s = self._meter.frames(), time.monotonic()
        if frames:
            self._seen_s = now_s
        elif self._fps > 0 and now_s - self._seen_s > HANGS_S + 1 / self._fps:
            raise CannotMeasure(f"the load hangs: no frame in {HANGS_S:g} s")
        return frames

    def _wait(self, ready: Path) -> Loaded:
        until_s = time.monotonic() + parent.LIMIT_S
        while not ready.exists():
            self._check()
            if time.monotonic() > until_s:
                raise CannotMeasure(f"the load did not start within {parent.LIMIT_S:g} s")
            time.sleep(LOOK_S)
        return msgspec.json.decode(ready.read_bytes(), type=Loaded)

    def _check(self) -> None:
        ended = self._running.ended()
        if ended is not None:
            refused = str((ended.answer or {}).get("refused", "")).rstrip(".")
            raise CannotMeasure(f"the load ended: {ended.death or refused or 'it says nothing'}")
