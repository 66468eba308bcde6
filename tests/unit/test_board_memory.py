"""Memory: what is counted, what is estimated, whose it is, and how short it gets."""

from __future__ import annotations

import base64
import os
import select
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardkit import cgroup, jetson_orin, process, raspberry_pi_4, write
from vigild.board.board import Board
from vigild.board.memory import MemoryReader, Processes
from vigild.board.pace import MemoryPace, is_near
from vigild.board.pressure import PressureWatch, Stall, read_pressure
from vigild.board.readings import MemoryEvents

S = 10**9
MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")
PIDS = {"hub": 100, "detector": 101}


def two(root: Path) -> Path:
    process(root, 100, 14 * 1024, resident=4000, shared=2000)
    process(root, 101, 40 * 1024, resident=12000, shared=3000, parent=100)
    return root


# ---- processes


def test_between_two_counts_a_process_grows_by_pages_of_its_own(tmp_path: Path) -> None:
    processes = Processes(two(tmp_path) / "proc")
    assert processes.exact(PIDS) == ({"hub": 14 * MIB, "detector": 40 * MIB}, "pss")
    assert processes.swap_bytes == 16 * 1024
    process(tmp_path, 101, 1, resident=12000 + 5120, shared=3000)
    assert processes.estimate(PIDS).processes == {"hub": 14 * MIB, "detector": 40 * MIB + 5120 * PAGE}
    process(tmp_path, 101, 1, resident=0, shared=0)
    assert processes.estimate(PIDS).processes["detector"] == 40 * MIB - 9000 * PAGE


def test_a_process_that_was_not_counted_yet_and_one_that_has_ended(tmp_path: Path) -> None:
    processes = Processes(two(tmp_path) / "proc")
    processes.exact({"hub": 100})
    assert processes.estimate({**PIDS, "gone": 999}).processes == {"hub": 14 * MIB, "detector": 9000 * PAGE}


def test_a_new_process_under_an_old_name_has_no_past(tmp_path: Path) -> None:
    processes = Processes(two(tmp_path) / "proc")
    processes.exact(PIDS)
    process(tmp_path, 102, 1, resident=500, shared=100)
    assert processes.estimate({"detector": 102}).processes == {"detector": 400 * PAGE}


def test_this_process_by_both_ways() -> None:
    """The estimate follows what is really taken: 32 MiB."""
    processes = Processes(Path("/proc"))
    pids = {"self": os.getpid()}
    before = processes.exact(pids).total_bytes
    taken = bytearray(b"x") * (32 * MIB)
    estimated = processes.estimate(pids).total_bytes - before
    exact = processes.exact(pids).total_bytes - before
    assert len(taken) == 32 * MIB
    assert estimated == pytest.approx(exact, abs=4 * MIB)
    assert exact == pytest.approx(32 * MIB, abs=8 * MIB)


# ---- sources


def test_raspberry_pi_os_has_neither_psi_nor_the_controller(tmp_path: Path) -> None:
    memory = MemoryReader(Board(two(raspberry_pi_4(tmp_path)))).read(0, PIDS, None)
    assert memory.used_bytes == 54 * MIB and memory.source == "pss" and not memory.estimated
    assert (memory.available_bytes, memory.total_bytes) == (610 * MIB, 906 * MIB)
    assert memory.pids == PIDS
    assert (memory.limit_bytes, memory.pressure_percent, memory.pressure_source, memory.events) == (
        None, None, "none", None
    )  # fmt: skip
    assert memory.words == (
        "Pss of the hub and its workers and MemAvailable; there is no memory control group of its own and no PSI"
    )


def test_psi_of_the_board(tmp_path: Path) -> None:
    memory = MemoryReader(Board(two(jetson_orin(tmp_path)))).read(0, PIDS, None)
    assert (memory.pressure_percent, memory.pressure_source) == (1.5, "psi")
    assert "the board's PSI" in memory.words


def service(root: Path, procs: str = "100\n101") -> Path:
    return cgroup(
        two(root),
        "/system.slice/vigild.service",
        current=90 * MIB,
        stat=f"anon {50 * MIB}\nfile {40 * MIB}\ninactive_file {30 * MIB}\nactive_file 1",
        high=200 * MIB,
        max="max",
        swap_current=MIB,
        events="low 0\nhigh 7\nmax 2\noom 1\noom_kill 1\noom_group_kill 0",
        pressure="some avg10=12.50 avg60=0.00 avg300=0.00 total=812000\nfull avg10=3.00 avg60=0 avg300=0 total=5",
        procs=procs,
    )


def test_a_service_s_own_control_group(tmp_path: Path) -> None:
    service(tmp_path)
    memory = MemoryReader(Board(tmp_path)).read(0, PIDS, None)
    assert memory.source == "cgroup"
    assert memory.used_bytes == 60 * MIB, "the file cache that goes at once is not used"
    assert memory.processes == {"hub": 14 * MIB, "detector": 40 * MIB}
    assert memory.limit_bytes == 200 * MIB and memory.swap_bytes == MIB
    assert memory.events == MemoryEvents(high=7, max=2, oom_kill=1)
    assert (memory.pressure_percent, memory.pressure_stall_us, memory.pressure_source) == (12.5, 812000, "cgroup")
    assert memory.words == "the control group /system.slice/vigild.service and its memory.pressure"


def test_a_camera_s_command_belongs_to_the_daemon(tmp_path: Path) -> None:
    service(tmp_path, procs="100\n101\n102\n103")
    process(tmp_path, 102, 1, parent=101)  # ffmpeg; 103 has just ended
    assert MemoryReader(Board(tmp_path)).read(0, PIDS, None).source == "cgroup"


def test_a_session_s_group_holds_others_too_but_its_limit_counts(tmp_path: Path) -> None:
    service(tmp_path, procs="90\n100\n101")
    process(tmp_path, 90, 1, parent=1)  # the shell
    memory = MemoryReader(Board(tmp_path)).read(0, PIDS, None)
    assert memory.source == "pss" and memory.used_bytes == 54 * MIB
    assert memory.limit_bytes == 200 * MIB and memory.events is None


def test_one_that_is_in_the_group_for_a_moment_changes_neither_source_nor_counters(tmp_path: Path) -> None:
    """systemd runs `vigild reload` (ExecReload=) in the unit's own group."""
    folder = service(tmp_path)
    reader = MemoryReader(Board(tmp_path))
    before = reader.read(0, PIDS, None)
    process(tmp_path, 500, 25 * 1024, parent=1)
    write(folder / "cgroup.procs", "100\n101\n500")
    write(folder / "memory.current", f"{115 * MIB}\n")
    process(tmp_path, 101, 42 * 1024, resident=12000, shared=3000, parent=100)
    during = reader.read(10 * S, PIDS, None)
    assert (during.source, during.used_bytes, during.estimated) == ("cgroup", before.used_bytes + 2 * MIB, True)
    assert during.events == before.events and during.pressure_source == "cgroup"
    write(folder / "cgroup.procs", "100\n101")
    write(folder / "memory.current", f"{92 * MIB}\n")
    after = reader.read(11 * S, PIDS, None)
    assert (after.used_bytes, after.estimated) == (62 * MIB, False)


def test_one_that_stays_in_the_group_makes_it_another_source(tmp_path: Path) -> None:
    folder = service(tmp_path)
    reader = MemoryReader(Board(tmp_path))
    reader.read(0, PIDS, None)
    process(tmp_path, 500, 25 * 1024, parent=1)
    write(folder / "cgroup.procs", "100\n101\n500")
    assert [reader.read(second * S, PIDS, None).source for second in (10, 11, 19, 20, 21, 30)] == [
        "cgroup", "cgroup", "cgroup", "pss", "pss", "pss"
    ]  # fmt: skip
    write(folder / "cgroup.procs", "100\n101")
    assert reader.read(40 * S, PIDS, None).source == "cgroup"


def test_a_group_without_the_memory_controller(tmp_path: Path) -> None:
    cgroup(two(tmp_path), "/system.slice/vigild.service", procs="100\n101")
    assert MemoryReader(Board(tmp_path)).read(0, PIDS, None).source == "pss"


def test_the_group_moves_between_two_exact_counts(tmp_path: Path) -> None:
    folder = service(tmp_path)
    reader = MemoryReader(Board(tmp_path))
    reader.read(0, PIDS, 256 * MIB)
    reader.read(1 * S, PIDS, 256 * MIB)
    write(folder / "memory.current", f"{130 * MIB}\n")
    assert reader.read(int(1.5 * S), PIDS, 256 * MIB).used_bytes == 60 * MIB
    memory = reader.read(2 * S, PIDS, 256 * MIB)
    assert memory.used_bytes == 100 * MIB and not memory.estimated


@pytest.mark.parametrize(
    "text", ["", "some", "some avg10=x avg60=0 total=1", "full avg10=1.0 total=2", "some avg10=1.2.3 a total=4"]
)
def test_psi_that_says_something_else(tmp_path: Path, text: str) -> None:
    write(tmp_path / "memory", text)
    assert read_pressure(tmp_path / "memory") is None


def test_psi(tmp_path: Path) -> None:
    write(tmp_path / "memory", "some avg10=1.50 avg60=0.90 avg300=0.20 total=4\nfull avg10=0.00 total=0\n")
    assert read_pressure(tmp_path / "memory") == Stall(1.5, 4)
    assert read_pressure(tmp_path / "none") is None


# ---- pace


def test_near_is_five_degrees_under_the_budget_and_above() -> None:
    assert [is_near(celsius, 75.0) for celsius in (20.0, 69.9, 70.0, 90.0)] == [False, False, True, True]
    assert not is_near(None, 75.0) and not is_near(90.0, None)


def counts(seconds: int, used: int, budget: int | None, pids: set[int]) -> dict[str, int]:
    """How often each kind of count is made in so many seconds of ticks each 100 ms."""
    pace = MemoryPace()
    made = {"exact": 0, "estimate": 0}
    for tick in range(seconds * 10):
        now_ns = tick * S // 10
        if how := pace.due(now_ns, pids):
            made[how] += 1
            pace.counted(now_ns, how, pids, used, budget)
    return made


def test_exact_counts_are_rare() -> None:
    made = counts(600, 50, 100, {1, 2})
    assert 60 <= made["exact"] <= 62 and 520 <= made["estimate"] <= 540


def test_near_the_budget_exact_counts_are_made_each_second_and_never_cost_more_than_a_share() -> None:
    assert counts(600, 95, 100, {1, 2})["exact"] > 590
    many = counts(600, 95, 100, set(range(20)))["exact"]
    assert many * 20 * 0.0007 / 600 <= 0.0021  # 0.7 ms each: 0.2 % of a core
    assert counts(600, 95, None, {1, 2})["exact"] <= 62


def test_after_a_process_came_it_is_counted_at_once_and_again_soon() -> None:
    pace = MemoryPace()
    pace.counted(0, "exact", {1}, 1, 100)
    pace.counted(1 * S, "exact", {1}, 1, 100)
    assert pace.due(int(1.5 * S), {1}) is None
    assert pace.due(int(1.5 * S), {1, 2}) == "exact"
    pace.counted(int(1.5 * S), "exact", {1, 2}, 1, 100)
    assert pace.due(2 * S, {1, 2}) is None
    assert pace.due(int(2.5 * S), {1, 2}) == "exact"
    pace.counted(int(2.5 * S), "exact", {1, 2}, 1, 100)
    assert pace.due(int(3.5 * S), {1, 2}) == "estimate"


@given(st.lists(st.tuples(st.integers(0, 5 * S), st.sets(st.integers(1, 3))), max_size=40))
def test_no_count_is_older_than_its_pace(steps: list[tuple[int, set[int]]]) -> None:
    pace, now_ns, exact_ns, counted = MemoryPace(), 0, -(10**18), set()
    for wait_ns, pids in steps:
        now_ns += wait_ns
        how = pace.due(now_ns, pids)
        if how is None:
            assert now_ns - exact_ns < 10 * S and counted == pids
        else:
            pace.counted(now_ns, how, pids, 1, 100)
            if how == "exact":
                exact_ns, counted = now_ns, pids


# ---- systemd's wake-up


def test_systemd_s_watch_by_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "pressure"
    os.mkfifo(fifo)
    text = b"some 200000 2000000\0"
    watch = PressureWatch.of(
        {"MEMORY_PRESSURE_WATCH": str(fifo), "MEMORY_PRESSURE_WRITE": base64.b64encode(text).decode()}
    )
    assert watch is not None and watch.threshold == "some 200000 2000000"

    def readable() -> bool:
        return bool(select.select([watch.fileno()], [], [], 0)[0])

    assert not readable()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"!" * 10000)
        assert readable() and watch.woken()
        assert not readable(), "what is there is taken out"
        writer.write(b"!")
    assert readable() and watch.woken() and not readable()
    watch.close()


@pytest.mark.parametrize("path", ["", "/dev/null", "/no/such/file", "/proc", "/dev/zero"])
def test_nothing_to_watch(path: str) -> None:
    assert PressureWatch.of({"MEMORY_PRESSURE_WATCH": path} if path else {}) is None


def test_a_threshold_that_is_no_base64(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    assert PressureWatch.of({"MEMORY_PRESSURE_WATCH": str(tmp_path / "f"), "MEMORY_PRESSURE_WRITE": "!"}) is None


def test_systemd_s_watch_by_the_kernel_s_own_file() -> None:
    """It always looks readable; what is watched does not, while nothing waits for memory."""
    write = base64.b64encode(b"some 1900000 2000000\0").decode()
    watch = PressureWatch.of({"MEMORY_PRESSURE_WATCH": "/proc/pressure/memory", "MEMORY_PRESSURE_WRITE": write})
    if watch is None:
        pytest.skip("this kernel has no PSI, or lets nobody set a trigger")
    assert not select.select([watch.fileno()], [], [], 0)[0]
    watch.close()
