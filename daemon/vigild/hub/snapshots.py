"""Snapshots that clients wait for."""

from __future__ import annotations

import asyncio
import itertools
import mmap
import os

from vigild.fleet.cameras import Camera
from vigild.fleet.process import WorkerProcess
from vigild.ipc.messages import Overlay, Snapshot, TakeSnapshot

TIMEOUT_S = 5.0


class SnapshotFailed(Exception):
    """Why there is no picture, as a sentence."""


class Snapshots:
    """Asks camera workers for pictures and matches their answers to the questions."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Snapshot, bytes]]] = {}

    async def take(self, camera: Camera, process: WorkerProcess | None, annotate: bool) -> tuple[Snapshot, bytes]:
        """The last inferred frame as JPEG. Raises SnapshotFailed."""
        if process is None or not camera.recent:
            raise SnapshotFailed(f"camera {camera.name} has no inferred frame yet ({camera.reason or 'just started'})")
        request = next(self._numbers)
        results = [
            Overlay(frame=result.frame, boxes=[(d.box, d.label, d.score) for d in result.detections])
            for result in camera.recent
        ]
        future: asyncio.Future[tuple[Snapshot, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            if not process.send(TakeSnapshot(request=request, camera=camera.name, results=results, annotate=annotate)):
                raise SnapshotFailed(f"camera {camera.name}'s worker is being restarted; ask again in a second")
            return await asyncio.wait_for(future, TIMEOUT_S)
        except asyncio.TimeoutError:
            raise SnapshotFailed(f"camera {camera.name} gave no picture within {TIMEOUT_S:.0f} s") from None
        finally:
            del self._waiting[request]

    def arrived(self, snapshot: Snapshot, memfd: int | None) -> None:
        """A camera worker's answer; takes over `memfd`."""
        try:
            future = self._waiting.get(snapshot.request)
            if future is None or future.done():
                return
            if snapshot.error or memfd is None:
                future.set_exception(SnapshotFailed(snapshot.error or "the camera worker sent no picture"))
                return
            with mmap.mmap(memfd, snapshot.bytes_, mmap.MAP_SHARED, mmap.PROT_READ) as pixels:
                future.set_result((snapshot, pixels[:]))
        finally:
            if memfd is not None:
                os.close(memfd)
