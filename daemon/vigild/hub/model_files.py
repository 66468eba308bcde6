"""The files that the running model is made of: whether a reload has to load them again, and whether they changed.

    files = ModelFiles()
    files.taken(config.model, ready)               # a detector serves
    await files.changed(config.model)              # at a reload: the names of what holds something else now
    for sentence in await files.look(): ...        # every few seconds; each change is told once

Reading a large network takes a small board half a second: it is done in a thread, never in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from vigild.catalogue.contents import Contents, Fingerprint, Watcher
from vigild.config.schema import ModelConfig
from vigild.ipc.messages import ModelReady

LOOK_S = 5.0
"""Between two looks; each costs a few system calls."""


T = TypeVar("T")


async def _aside(call: Callable[[], T]) -> T:
    """In a thread that nobody waits for at the end: a disk that does not answer must not keep the daemon from stopping.

    In the event loop where no thread can be started (TasksMax=, no memory): better late than not at all.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def tell(set_outcome: Callable[[Any], None], value: object) -> None:
        if not outcome.done():  # whoever asked may be gone
            set_outcome(value)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], object] = (outcome.set_result, call())
        except Exception as error:
            told = (outcome.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon has stopped meanwhile
            loop.call_soon_threadsafe(tell, *told)

    try:
        threading.Thread(target=run, name="model files", daemon=True).start()
    except RuntimeError:
        return call()
    return await outcome


class ModelFiles:
    """Of the model in service."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._taken: tuple[ModelConfig, ModelReady] | None = None
        self._watcher: Watcher | None = None
        self._in_force: Fingerprint | None = None
        self._reading = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """They are being read; from a disk that does not answer that may last."""
        return self._reading.locked()

    def taken(self, config: ModelConfig, ready: ModelReady) -> None:
        """This model serves from now on; its files are read at the next look."""
        self._taken = config, ready
        self._watcher, self._in_force = None, None

    async def look(self) -> list[str]:
        """What has changed since the last look, as sentences."""
        async with self._reading:
            return await _aside(self._look)

    def _look(self) -> list[str]:
        taken = self._taken
        if taken is None:
            return []
        if self._watcher is None:
            config, ready = taken
            running = {ready.path: ready.sha256}
            in_force = self._contents.fingerprint(config, ready.path) | running
            watcher = Watcher(self._contents, config, ready.path, running)
            if self._taken is taken:  # else another one has taken over meanwhile
                self._in_force, self._watcher = in_force, watcher
            return []
        return self._watcher.look()

    async def changed(self, config: ModelConfig) -> list[str]:
        """Files whose contents are others than those of the model in service, which `config` names too."""
        async with self._reading:
            return await _aside(lambda: self._changed(config))

    def _changed(self, config: ModelConfig) -> list[str]:
        taken = self._taken
        if taken is None:
            return []
        if self._in_force is None:
            self._look()
        before, now = self._in_force or {}, self._contents.fingerprint(config, taken[1].path)
        return sorted(path for path in {**before, **now} if before.get(path, "") != now.get(path, ""))
