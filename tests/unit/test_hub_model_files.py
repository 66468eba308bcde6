"""The files of the model in service, where no thread can be had to read them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from vigild.hub.model_files import ModelFiles


def test_where_no_thread_can_be_started_they_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    files, looked = ModelFiles(), []
    monkeypatch.setattr(files, "_look", lambda: looked.append(threading.current_thread()) or ["changed"])
    assert asyncio.run(files.look()) == ["changed"]
    assert looked == [threading.main_thread()]


def test_busy_while_a_look_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    files, may_end, seen = ModelFiles(), threading.Event(), []

    def slow() -> list[Any]:
        may_end.wait()
        return []

    monkeypatch.setattr(files, "_look", slow)

    async def main() -> None:
        looking = asyncio.ensure_future(files.look())
        while not files.busy:
            await asyncio.sleep(0)
        seen.append(files.busy)
        may_end.set()
        await looking
        seen.append(files.busy)

    asyncio.run(main())
    assert seen == [True, False]
