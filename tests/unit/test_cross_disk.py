"""Changes to the disk: cut off after any of them, what is there has what it had or what it should get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cross.board.disk import Disk


class Cut(BaseException):
    """The power went."""


def every_cut(work: Callable[[Disk], None], prepare: Callable[[], None], check: Callable[[], None]) -> int:
    """Do the work again and again, cut off one change later each time; returns how many changes there are."""
    for survive in range(100):
        prepare()
        left = survive

        def changed(what: str) -> None:
            nonlocal left
            if left == 0:
                raise Cut(what)
            left -= 1

        try:
            work(Disk(changed))
        except Cut:
            check()
            continue
        return survive
    raise AssertionError("it never ends")


def test_a_file_has_its_old_or_its_new_bytes(tmp_path: Path):
    path = tmp_path / "journal.json"
    seen = set()
    changes = every_cut(
        lambda disk: disk.write(path, b"new"), lambda: path.write_bytes(b"old"), lambda: seen.add(path.read_bytes())
    )
    assert seen == {b"old", b"new"}
    assert changes == 2


def test_a_link_points_at_the_old_or_at_the_new_release(tmp_path: Path):
    link, seen = tmp_path / "current", set()

    def prepare() -> None:
        Disk().link(link, "releases/old")

    every_cut(lambda disk: disk.link(link, "releases/new"), prepare, lambda: seen.add(str(link.readlink())))
    assert seen == {"releases/old", "releases/new"}


def test_a_folder_that_is_half_removed_has_another_name(tmp_path: Path):
    folder = tmp_path / "release"

    def prepare() -> None:
        folder.mkdir(exist_ok=True)
        (folder / "complete.json").touch()
        (folder / "venv").touch()

    def check() -> None:
        assert not folder.exists() or sorted(path.name for path in folder.iterdir()) == ["complete.json", "venv"]

    every_cut(lambda disk: disk.remove(folder), prepare, check)
    assert not folder.exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path):
    Disk(lambda what: pytest.fail(what)).remove(tmp_path / "nothing")
