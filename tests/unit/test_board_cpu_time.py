"""How busy others keep the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardkit import write
from vigild.board.cpu_time import CpuClocks, CpuTime

S = 10**9
TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: Path, busy: int, idle: int = 0, stolen: int = 70, **own: int) -> None:
    """`busy`, `own` (p100=...): ticks so far."""
    write(root / "proc/stat", f"cpu  {busy} 0 0 {idle} 50 0 0 {stolen} 0 0\ncpu0 1 2 3\nintr 17 0 0\n")
    for name, ticks in own.items():
        pid = name.removeprefix("p")
        write(root / f"proc/{pid}/stat", f"{pid} (a) b ({pid})) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 5 0 0 20 0 1 0 100\n")


def test_all_that_is_busy_less_what_is_ours(tmp_path: Path) -> None:
    cpu_time = CpuTime(CpuClocks(tmp_path))
    tree(tmp_path, 1000, p100=400, p101=300)
    assert cpu_time.busy(S, [100, 101]) is None, "there is nothing to compare with yet"
    tree(tmp_path, 1000 + 3 * TICKS, idle=TICKS, stolen=70 + TICKS // 2, p100=400 + TICKS, p101=300 + TICKS // 2)
    assert cpu_time.busy(2 * S, [100, 101]) == pytest.approx((1.5, 1.5, 0.5))
    assert cpu_time.busy(2 * S + S // 10, [100, 101]) == pytest.approx((1.5, 1.5, 0.5)), "too soon for ticks"


def test_a_worker_that_began_since_and_one_that_has_ended(tmp_path: Path) -> None:
    cpu_time = CpuTime(CpuClocks(tmp_path))
    tree(tmp_path, 0, p100=10)
    cpu_time.busy(S, [100])
    tree(tmp_path, 2 * TICKS, p100=10, p102=TICKS - 5)
    assert cpu_time.busy(2 * S, [100, 102]) == pytest.approx((1.0, 1.0, 0.0))
    tree(tmp_path, 2 * TICKS + 50, p100=10)
    assert cpu_time.busy(3 * S, [100, 102, 999]) is not None


@pytest.mark.parametrize("content", [None, "", "cpu\n", "cpu a b c d e f g\n", "intr 1\n", "cpu 1 2\n"])
def test_where_nothing_is_known_nothing_is_said(tmp_path: Path, content: str | None) -> None:
    cpu_time = CpuTime(CpuClocks(tmp_path))
    for second in range(1, 4):
        if content is not None:
            write(tmp_path / "proc/stat", content)
        assert cpu_time.busy(second * S, [100]) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=2, max_size=6))
def test_whatever_the_counters_do_it_is_no_less_than_nothing(
    tmp_path_factory: pytest.TempPathFactory, counts: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("root")
    cpu_time = CpuTime(CpuClocks(root))
    for second, (busy, own) in enumerate(counts):
        tree(root, busy, p100=own)
        found = cpu_time.busy(second * S, [100])
        assert found is None or min(found) >= 0


def test_on_this_machine_a_process_that_is_not_ours_counts() -> None:
    """Ours, the same one, does not."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        theirs, ours = CpuTime(CpuClocks(Path("/"))), CpuTime(CpuClocks(Path("/")))
        before = time.monotonic_ns()
        theirs.busy(before, [])
        ours.busy(before, [spinning.pid])
        used = 0.0
        while used < 0.5:
            used = sum(int(ticks) for ticks in Path(f"/proc/{spinning.pid}/stat").read_text().split()[13:15]) / TICKS
        after = time.monotonic_ns()
        seconds = (after - before) / 1e9
        without, counted = ours.busy(after, [spinning.pid]), theirs.busy(after, [])
        spinning.kill()
    assert counted is not None
    assert without is not None
    assert (counted.foreign - without.foreign) * seconds == pytest.approx(used, abs=0.2)
    assert without.own * seconds == pytest.approx(used, abs=0.2)
