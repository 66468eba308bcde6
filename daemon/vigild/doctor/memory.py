"""Memory, and what the kernel offers for limiting it and for feeling its pressure.

Without the memory controller systemd's MemoryMax= has no effect, and without PSI nobody is told
that memory gets short; vigild goes on with the plain numbers of /proc.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vigild.board.board import Board, meminfo
from vigild.board.budgets import Budgets
from vigild.board.pressure import read_pressure
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.figures import mebibytes
from vigild.files import text


def checks(board: Board, budgets: Budgets) -> Iterator[Finding]:
    """`budgets`: those in force."""
    yield _memory(meminfo(board.root), budgets)
    yield _controller(board)
    yield _pressure(board)


def _memory(sizes: dict[str, int], budgets: Budgets) -> Finding:
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    if not total:
        return note("memory", "/proc/meminfo cannot be read")
    swap = sizes.get("SwapTotal", 0)
    found = f"{mebibytes(total)}, {mebibytes(available)} available, {mebibytes(swap) if swap else 'no'} swap"
    budget = f"budget.memory, {mebibytes(budgets.memory)} ({budgets.memory_why})"
    if available < budgets.memory:
        return problem(
            "memory",
            f"{found}; less than {budget}",
            "end other programs, take a smaller model, or lower budget.memory; "
            'isolation = "shared" lets several cameras share one process',
        )
    return ok("memory", f"{found}; {budget}")


def _controller(board: Board) -> Finding:
    root = board.root
    groups = root / "sys/fs/cgroup"
    v2 = text(groups / "cgroup.controllers").split()
    if "memory" in v2:
        return ok("memory controller", "cgroup v2")
    if (groups / "memory").is_dir():
        return ok("memory controller", "cgroup v1: MemoryMax= works, MemoryHigh= does not")
    off = "cgroup_disable=memory" in text(root / "proc/cmdline").split()
    why = "switched off on the kernel's command line" if off else "there is none"
    return note("memory controller", f"{why}; MemoryMax= of a unit has no effect", _command_line(board, _ENABLE_MEMORY))


_ENABLE_MEMORY = "cgroup_enable=memory cgroup_memory=1"


def _pressure(board: Board) -> Finding:
    path: Path = board.root / "proc/pressure/memory"
    if stall := read_pressure(path):
        return ok("memory pressure", f"PSI, {stall.percent:.2f} % of the last ten seconds")
    why = "PSI answers nothing" if path.exists() else "the kernel has no PSI, or has it switched off"
    return note("memory pressure", f"{why}; available memory is watched instead", _command_line(board, "psi=1"))


def _command_line(board: Board, options: str) -> str:
    if board.is_raspberry_pi:
        return f"add {options} to the one line of /boot/firmware/cmdline.txt and restart, if you want it"
    return f"add {options} to the kernel's command line and restart, if you want it"
