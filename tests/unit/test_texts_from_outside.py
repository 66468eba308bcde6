"""Bytes that are no text, escape sequences and line ends, in every file, name and variable that is read from outside.

Nothing of it stops anything, steers a terminal or begins a line of its own, and all of it can be sent.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from boardkit import NASTY, STEERS, cgroup, every_board
from vigild import files, plain, v4l2
from vigild.board.board import Board
from vigild.board.budgets import Budgets, resolve
from vigild.board.reader import BoardReader
from vigild.catalogue import profile
from vigild.cli import sensors
from vigild.config.schema import BudgetConfig
from vigild.delegates import edgetpu
from vigild.doctor import cameras, machine, memory, report, thermal
from vigild.doctor.examine import guarded
from vigild.doctor.finding import Finding
from vigild.hub.systemd import one_line

EVIL = [NASTY, b"", b"\n\n", b"\0", b"5" * 5000, b"x" * 100_000, b"\x1b]0;title\x07", "caf\u00e9\u2028".encode()]


def look(root: Path) -> Iterator[str]:
    """All lines that are made of a board; what could not be encoded raises."""
    board = Board(root)
    budgets = resolve(BudgetConfig(), board)
    reader = BoardReader(board, budgets)
    try:
        for now_s in (1, 100, 200):
            readings = reader.read(int(now_s * 1e9), {"hub": os.getpid()})
    finally:
        reader.close()
    shown = sensors.Shown(
        board=board.model, daemon="", readings=readings, budgets=budgets, trips=board.trips(),
        coolers=board.coolers(), firmware="",
    )  # fmt: skip
    msgspec.json.encode(shown)
    msgspec.json.encode(profile.this_board(root))
    msgspec.json.encode([board.slowed_at(), edgetpu.devices(root), edgetpu.diagnosis(root)], enc_hook=str)
    yield from sensors.table(shown).split("\n")
    yield sensors.line(readings)
    found: list[Finding] = []
    groups: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: machine.checks(root),
        lambda: thermal.checks(board, budgets),
        lambda: memory.checks(board, Budgets(temperature=60.0, memory=1)),
        lambda: cameras.connected(root),
    )
    for checks in groups:
        found += guarded("board", checks)
    assert not [finding for finding in found if finding.name == "doctor"], found
    json.loads(report.as_json(found))
    for finding in found:
        yield finding.name
        yield finding.found
        yield finding.todo
    yield from report.lines(found)


def files_below(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]


def assert_plain(lines: Iterator[str]) -> None:
    for line in lines:
        assert not STEERS.search(line) and "\n" not in line, line
        line.encode()


@pytest.fixture(autouse=True)
def _without_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("content", EVIL, ids=lambda content: repr(content[:12]))
def test_a_board_whose_every_file_is_odd(tmp_path: Path, content: bytes) -> None:
    root = every_board(tmp_path / "root")
    for path in files_below(root):
        path.write_bytes(content)
    assert_plain(look(root))


def test_a_board_with_one_odd_file(tmp_path: Path) -> None:
    """Each in turn: where all are odd, what is behind the first is never read."""
    root = every_board(tmp_path / "root")
    assert_plain(look(root))
    for path in files_below(root):
        whole = path.read_bytes()
        for content in (NASTY, whole.rstrip(b"\n\0") + NASTY):
            path.write_bytes(content)
            assert_plain(look(root))
        path.write_bytes(whole)


def test_one_name_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(NASTY)
    assert files.word(tmp_path / "name") == "\ufffd\ufffd\ufffd[31m \ufffd2J\ufffd bad"
    (tmp_path / "name").write_bytes(b"x" * 1000)
    assert files.word(tmp_path / "name") == "x" * plain.MAX_WORD_CHARACTERS
    assert files.word(tmp_path / "no\0name") == files.word(tmp_path / "nothing") == ""


def test_a_control_group_is_found_by_the_bytes_of_its_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"/caf\xe9\x1b.slice")
    folder = cgroup(tmp_path, "/x", current=1).with_name(name[1:])
    (tmp_path / "sys/fs/cgroup/x").rename(folder)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::" + os.fsencode(name) + b"\n")
    group = Board(tmp_path).group()
    assert group is not None and group.current == 1
    assert group.shown == "/caf\ufffd\ufffd.slice"


def test_the_name_of_a_camera(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()

    def driver(fd: int, number: int, request: bytes) -> bytes:
        answer = bytearray(request)
        answer[0:3] = b"\xff\x1b\n"
        answer[16:48] = NASTY[:20] + b"\xc3" * 12  # as long as the field is: without its zero
        struct.pack_into("=II", answer, 84, 0x84A00001, 0x04200001)
        return bytes(answer)

    device = v4l2.query(tmp_path / "video0", driver)
    assert not STEERS.search(device.card + device.driver) and "\n" not in device.card + device.driver


def test_a_name_begins_no_assignment_of_systemds_protocol() -> None:
    assert one_line("m\x1b[31m\nWATCHDOG=trigger \udcff") == "m\ufffd[31m WATCHDOG=trigger \ufffd"
