"""Snapshots that clients wait for."""

from __future__ import annotations

import asyncio
import itertools
import mmap
import os
from collections.abc import Sequence

from vigild.fleet.clock import Clock
from vigild.fleet.process import Worker
from vigild.ipc.messages import Overlay, Snapshot, TakeSnapshot
from vigild.perception.observation import Observation

TIMEOUT_S = 5.0


TRIES = 3
"""The camera goes on while it is asked: of a fast one, the frames that were asked for may be gone by then."""


class SnapshotFailed(Exception):
    """Why there is no picture, as a sentence. `passed`: because the frames asked for had been let go."""

    def __init__(self, message: str, passed: bool = False) -> None:
        super().__init__(message)
        self.passed = passed


class Snapshots:
    """Asks camera workers for pictures and matches their answers to the questions."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Snapshot, bytes]]] = {}

    async def take(
        self, camera: str, process: Worker, recent: Sequence[Observation], annotate: bool
    ) -> tuple[Snapshot, bytes]:
        """The newest of the `recent` frames that the worker still holds, as JPEG. Raises SnapshotFailed."""
        request = next(self._numbers)
        results = [
            Overlay(frame=seen.frame, boxes=[(d.box, d.label, d.score) for d in seen.detections]) for seen in recent
        ]
        future: asyncio.Future[tuple[Snapshot, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        timer = self._clock.call_later(TIMEOUT_S, lambda: self._late(request, camera))
        try:
            if not process.send(TakeSnapshot(request=request, camera=camera, results=results, annotate=annotate)):
                raise SnapshotFailed(f"camera {camera}'s worker is being restarted; ask again in a second")
            return await future
        finally:
            timer.cancel()
            del self._waiting[request]

    def _late(self, request: int, camera: str) -> None:
        future = self._waiting.get(request)
        if future is not None and not future.done():
            future.set_exception(SnapshotFailed(f"camera {camera} gave no picture within {TIMEOUT_S:.0f} s"))

    def arrived(self, snapshot: Snapshot, memfd: int | None) -> None:
        """A camera worker's answer; takes over `memfd`."""
        try:
            future = self._waiting.get(snapshot.request)
            if future is None or future.done():
                return
            if snapshot.error or memfd is None:
                why = snapshot.error or "the camera worker sent no picture"
                future.set_exception(SnapshotFailed(why, snapshot.passed))
                return
            with mmap.mmap(memfd, snapshot.bytes_, mmap.MAP_SHARED, mmap.PROT_READ) as pixels:
                future.set_result((snapshot, pixels[:]))
        except (OSError, ValueError) as error:
            if future is not None and not future.done():
                future.set_exception(SnapshotFailed(f"the picture cannot be read ({error})"))
        finally:
            if memfd is not None:
                os.close(memfd)
