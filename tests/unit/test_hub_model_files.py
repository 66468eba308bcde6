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


def test_what_goes_wrong_in_the_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ModelFiles()

    def fails() -> list[str]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(files, "_look", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(files.look())
    assert not files.busy


def test_a_disk_that_does_not_answer_keeps_nobody_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    files, never, began = ModelFiles(), threading.Event(), threading.Event()

    def hangs() -> list[str]:
        began.set()
        never.wait()
        return []

    monkeypatch.setattr(files, "_look", hangs)

    async def main() -> None:
        looking = asyncio.ensure_future(files.look())
        while not began.is_set():
            await asyncio.sleep(0)
        looking.cancel()

    asyncio.run(main())  # comes back, though the thread does not
    never.set()
