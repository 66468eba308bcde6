"""Answers that clients share: built once, and only the request's `id` is put in front for each.

    answers = SharedAnswers(api, limits)
    line = answers.status(id)          # encoded at most once per tick, whoever asks
    answers.clear()                    # something has changed, or the next tick is here

An answer is as old as the tick at most. Nothing here knows clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from vigild.wire.framing import SharedAnswer, encode_line, share
from vigild.wire.messages import Hello, Limits, RequestId, SnapshotAnswer, StatusAnswer

SNAPSHOT_TICKS = 2
"""Ticks that a picture is handed out for after it was made: five a second of each kind are enough for people, and
what makes them has frames to deliver."""


class Answering(Protocol):
    """What is asked when an answer has to be built (part of `requests.HubApi`)."""

    def hello(self) -> Hello: ...
    def cameras(self) -> list[str]: ...
    def status(self) -> StatusAnswer: ...
    async def snapshot(self, camera: str | None, annotate: bool) -> SnapshotAnswer: ...


class _Picture:
    """One that is being made, or was."""

    def __init__(self, task: asyncio.Task[SharedAnswer]) -> None:
        self.task = task
        self.ticks = 0
        """Since it was made."""


class SharedAnswers:
    """The answers of this tick."""

    def __init__(self, source: Answering, limits: Callable[[], Limits]) -> None:
        self._source = source
        self._limits = limits
        self._status: SharedAnswer | None = None
        self._hello: bytes | None = None
        self._pictures: dict[tuple[str | None, bool], _Picture] = {}

    def clear(self) -> None:
        """What was built may no longer be so. A picture stays what it was."""
        self._status = None
        self._hello = None

    def tick(self) -> None:
        """The next tick is here."""
        self.clear()
        for key, picture in list(self._pictures.items()):
            picture.ticks += picture.task.done()
            if picture.ticks > SNAPSHOT_TICKS or (picture.ticks and _failed(picture.task)):
                del self._pictures[key]

    def hello(self) -> bytes:
        """The first line of a connection."""
        if self._hello is None:
            self._hello = encode_line(msgspec.structs.replace(self._source.hello(), limits=self._limits()))
        return self._hello

    def status(self, id: RequestId | None) -> bytes:
        """The line that answers `status`."""
        if self._status is None:
            self._status = share(self._source.status())
        return self._status.line(id)

    async def snapshot(self, camera: str | None, annotate: bool, id: RequestId | None) -> bytes:
        """The line that answers `snapshot`; all who ask for the same picture at a time get the same.

        Raises what `source.snapshot` raises.
        """
        if camera is None and len(cameras := self._source.cameras()) == 1:
            camera = cameras[0]
        picture = self._pictures.get((camera, annotate))
        if picture is None:
            task = asyncio.ensure_future(self._take(camera, annotate))
            picture = self._pictures[camera, annotate] = _Picture(task)
        # Shielded: one client that goes away must not take the picture from the others.
        return (await asyncio.shield(picture.task)).line(id)

    def _take(self, camera: str | None, annotate: bool) -> Coroutine[Any, Any, SharedAnswer]:
        async def take() -> SharedAnswer:
            return share(await self._source.snapshot(camera, annotate))

        return take()

    def close(self) -> None:
        """End what is under way."""
        for picture in self._pictures.values():
            picture.task.cancel()


def _failed(task: asyncio.Task[SharedAnswer]) -> bool:
    return task.cancelled() or task.exception() is not None
