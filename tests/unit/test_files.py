"""A file is written whole, or what was there before stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vigild import files
from vigild.files import CannotWrite, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_new_file_has_the_usual_mode(tmp_path: Path):
    path = tmp_path / "front.jpg"
    before = os.umask(0o027)
    try:
        write_whole(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["front.jpg"]


def test_an_old_one_keeps_its_mode_and_its_link(tmp_path: Path):
    path, link = tmp_path / "old", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o604)
    link.symlink_to("old")
    write_whole(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_full_disk_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "front.jpg"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CannotWrite) as refused:
        write_whole(path, b"new")
    assert (
        str(refused.value)
        == f"{path} cannot be written: No space left on device; make room there, or name another folder"
    )
    assert path.read_bytes() == b"old" and names(tmp_path) == ["front.jpg"]


def test_what_is_no_plain_file_is_written_to_as_it_is(tmp_path: Path):
    with pytest.raises(CannotWrite, match=r"^/dev/full cannot be written: No space left on device"):
        write_whole(Path("/dev/full"), b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    write_whole(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("", "Is a directory; name a file in it"), ("no/x.jpg", "No such file or directory; make its folder first")],
)
def test_a_place_that_is_none_is_told_with_what_to_do(tmp_path: Path, name: str, hint: str):
    with pytest.raises(CannotWrite, match=hint):
        write_whole(tmp_path / name, b"x")
    assert names(tmp_path) == []
