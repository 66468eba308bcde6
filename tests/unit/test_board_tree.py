"""Files that stay open are read as if they were opened each time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from boardkit import flip
from vigild.board.tree import File, Folder, Kept, Trouble


def descriptors(path: Path) -> int:
    """How many of this process are open on `path`."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of this very look
            found += str(descriptor.readlink()).startswith(str(path))
    return found


def test_what_is_written_over_replaced_removed_and_made_again_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "temp"
    kept = Kept(str(path))
    assert kept.fetch() is Trouble.GONE
    path.write_text("1\n")
    assert kept.fetch() == kept.fetch() == b"1"
    path.write_text("22\n")
    assert kept.fetch() == b"22"
    flip(path, "3\n")
    assert kept.fetch() == b"3"
    path.unlink()
    assert kept.fetch() is kept.fetch() is Trouble.GONE
    path.write_text("")
    assert kept.fetch() is Trouble.ASLEEP
    path.write_text("4")
    assert kept.fetch() == b"4"


def test_one_descriptor_is_open_while_somebody_has_it(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("1\n")

    class Zone(Folder):
        celsius = File("temp", int, kept=True)

    zone = Zone(tmp_path)
    assert [zone.celsius, zone.celsius, descriptors(tmp_path)] == [1, 1, 1]
    del zone
    assert descriptors(tmp_path) == 0


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        kept = Kept(f"/proc/{process.pid}/statm")
        assert isinstance(kept.fetch(), bytes)
        process.communicate(b"\n")
    assert kept.fetch() is Trouble.GONE


def test_a_device_that_fails_to_be_read_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file of /sys whose driver was unbound: what stayed open never answers again."""
    path = tmp_path / "temp"
    path.write_text("1\n")
    kept = Kept(str(path))
    assert kept.fetch() == b"1"

    def unbound(*_: object) -> bytes:
        raise OSError(19, "No such device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", unbound)
        assert kept.fetch() is Trouble.GONE
    assert descriptors(tmp_path) == 0
    assert kept.fetch() == b"1"
