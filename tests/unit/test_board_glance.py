"""What other programs take just now, and when it is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardkit import process, raspberry_pi_4, write
from vigild.board.board import Board
from vigild.board.budgets import resolve
from vigild.board.cpu_time import CpuClocks
from vigild.board.glance import Glance
from vigild.board.reader import BoardReader
from vigild.config.schema import BudgetConfig

S = 10**9
QUARTER = S // 4
TICKS = os.sysconf("SC_CLK_TCK")


def busy(root: Path, seconds: float, **own: float) -> None:
    """CPU seconds so far, of all and of processes (p100=...)."""
    write(root / "proc/stat", f"cpu  {round(seconds * TICKS)} 0 0 0 50 0 0 0 0 0\ncpu0 1 2 3\n")
    for name, used in own.items():
        pid = name.removeprefix("p")
        write(root / f"proc/{pid}/stat", f"{pid} (a) S 1 1 1 0 -1 0 0 0 0 0 {round(used * TICKS)} 0 0 0 20 0 1 0 100\n")


def looks(root: Path, *cores: float, own: float = 0.0) -> list[float | None]:
    """What is told in the quarters of a second in which others kept so many cores busy, and ours `own`."""
    glance, found, total, ours = Glance(CpuClocks(root)), [], 0.0, 0.0
    for at, taken in enumerate((0.0, *cores)):
        total += (taken + own) / 4
        ours += own / 4
        busy(root, total, p100=ours)
        found.append(glance.foreign(at * QUARTER, [100]))
    return found


def test_a_jump_is_told_when_it_has_lasted_for_two_looks(tmp_path: Path) -> None:
    assert looks(tmp_path, 0, 0, 0.4, 1, 1, own=2.0) == [None, None, 0, 0, pytest.approx(0.4), pytest.approx(1)]


def test_what_was_there_in_one_look_alone_is_not_told(tmp_path: Path) -> None:
    assert looks(tmp_path, 0, 4, 0, 0)[2:] == [0, 0, 0]


def test_asked_too_soon_it_tells_the_same_and_counts_on(tmp_path: Path) -> None:
    glance = Glance(CpuClocks(tmp_path))
    for at, seconds in enumerate((0.0, 0.25, 0.5)):
        busy(tmp_path, seconds)
        found = glance.foreign(at * QUARTER, [])
    assert found == pytest.approx(1.0)
    busy(tmp_path, 1.5)
    assert glance.foreign(2 * QUARTER + S // 20, []) == found
    assert glance.foreign(3 * QUARTER, []) == pytest.approx(1.0), "the lesser of 1 and 4"


def test_after_a_gap_it_begins_anew(tmp_path: Path) -> None:
    glance = Glance(CpuClocks(tmp_path))
    for at in range(3):
        busy(tmp_path, at)
        glance.foreign(at * QUARTER, [])
    late = 60 * S
    busy(tmp_path, 120.0)
    assert glance.foreign(late, []) is None
    busy(tmp_path, 120.25)
    assert glance.foreign(late + QUARTER, []) is None
    busy(tmp_path, 120.5)
    assert glance.foreign(late + 2 * QUARTER, []) == pytest.approx(1.0)


@pytest.mark.parametrize("content", [None, "", "cpu\n", "cpu a b c d e f g\n"])
def test_where_nothing_is_known_nothing_is_said(tmp_path: Path, content: str | None) -> None:
    glance = Glance(CpuClocks(tmp_path))
    for at in range(4):
        if content is not None:
            write(tmp_path / "proc/stat", content)
        assert glance.foreign(at * QUARTER, [100]) is None


@given(st.lists(st.tuples(st.integers(0, 3 * S), st.floats(0, 1e4), st.floats(0, 1e4)), max_size=8))
def test_whatever_is_counted_and_when_it_is_no_less_than_nothing(
    tmp_path_factory: pytest.TempPathFactory, counts: list[tuple[int, float, float]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    glance, now = Glance(CpuClocks(root)), 0
    for later, everyone, own in counts:
        now += later
        busy(root, everyone, p100=own)
        found = glance.foreign(now, [100])
        assert found is None or found >= 0


def test_the_reader_looks_near_the_budget_only_and_leaves_its_own_figures_alone(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    process(root, 100, 1000)

    def after(temperature: float) -> list[tuple[float | None, float | None]]:
        board = Board(root)
        reader = BoardReader(board, resolve(BudgetConfig(temperature=temperature), board))
        found = []
        for tenth in range(31):
            busy(root, tenth / 10, p100=0.0)
            readings = reader.read(tenth * S // 10, {"hub": 100})
            found.append((readings.foreign_cores, readings.foreign_cores_lately))
        return found

    assert {lately for _, lately in after(90.0)} == {None}
    near = after(55.0)
    assert near[-1] == (pytest.approx(1.0), pytest.approx(1.0))
    assert [told for told, _ in near[20:]] == [pytest.approx(1.0)] * 11


def test_a_glance_that_came_late_does_not_put_off_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked every tenth of a second, four times a second it is."""
    looked: list[int] = []
    monkeypatch.setattr(Glance, "foreign", lambda self, now_ns, pids: looked.append(now_ns))
    root = raspberry_pi_4(tmp_path)
    board = Board(root)
    reader = BoardReader(board, resolve(BudgetConfig(temperature=55.0), board))
    for tenth in range(1, 101):
        reader.read(tenth * S // 10, {})
    assert 39 <= len(looked) <= 41
