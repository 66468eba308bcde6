"""Memory, and what the kernel offers for limiting it and for feeling its pressure.

Without the memory controller systemd's MemoryMax= has no effect, and without PSI nobody is told
that memory gets short; vigild goes on with the plain numbers of /proc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vigild.doctor.finding import Finding, note, ok, problem
from vigild.doctor.machine import is_raspberry_pi
from vigild.figures import mebibytes
from vigild.files import text

_MEMINFO = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)


def checks(root: Path, budget_bytes: int) -> Iterator[Finding]:
    """`budget_bytes`: the configured budget.memory."""
    yield _memory(text(root / "proc/meminfo"), budget_bytes)
    yield _controller(root)
    yield _pressure(root)


def _memory(meminfo: str, budget_bytes: int) -> Finding:
    sizes = {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(meminfo)}
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    if not total:
        return note("memory", "/proc/meminfo cannot be read")
    swap = sizes.get("SwapTotal", 0)
    found = f"{mebibytes(total)}, {mebibytes(available)} available, {mebibytes(swap) if swap else 'no'} swap"
    if available < budget_bytes:
        return problem(
            "memory",
            f"{found}; less than budget.memory, {mebibytes(budget_bytes)}",
            "end other programs, take a smaller model, or lower budget.memory; "
            'isolation = "shared" lets several cameras share one process',
        )
    return ok("memory", found)


def _controller(root: Path) -> Finding:
    groups = root / "sys/fs/cgroup"
    v2 = text(groups / "cgroup.controllers").split()
    if "memory" in v2:
        return ok("memory controller", "cgroup v2")
    if (groups / "memory").is_dir():
        return ok("memory controller", "cgroup v1: MemoryMax= works, MemoryHigh= does not")
    off = "cgroup_disable=memory" in text(root / "proc/cmdline").split()
    why = "switched off on the kernel's command line" if off else "there is none"
    return note("memory controller", f"{why}; MemoryMax= of a unit has no effect", _command_line(root, _ENABLE_MEMORY))


_ENABLE_MEMORY = "cgroup_enable=memory cgroup_memory=1"


def _pressure(root: Path) -> Finding:
    path = root / "proc/pressure/memory"
    if match := re.match(r"some avg10=([\d.]+)", text(path)):
        return ok("memory pressure", f"PSI, {match[1]} % of the last ten seconds")
    why = "PSI answers nothing" if path.exists() else "the kernel has no PSI, or has it switched off"
    return note("memory pressure", f"{why}; available memory is watched instead", _command_line(root, "psi=1"))


def _command_line(root: Path, options: str) -> str:
    if is_raspberry_pi(root):
        return f"add {options} to the one line of /boot/firmware/cmdline.txt and restart, if you want it"
    return f"add {options} to the kernel's command line and restart, if you want it"
