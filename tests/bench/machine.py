"""The machine: what it is, and how much of it others used while something was measured.

    watch = Load()
    ...                      # measure
    load = watch.stop()      # load.foreign: cores that were busy, but not with our own processes

The kernel's busy time (/proc/stat, time stolen by the hypervisor included) minus the CPU time of this
process and all its descendants. The former comes in ticks of 10 ms per core, so a window of a second
is good to about 0.03 cores.
"""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: clock id of another process is (~pid << 3) | CPUCLOCK_SCHED
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LIBRARIES = re.compile(rb"/(?:cv2|numpy|ai_edge_litert|tflite_runtime)/")


def process_cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, the ended ones included (ns resolution). Raises OSError."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def cpu_of(pids: list[int]) -> dict[int, float]:
    """CPU seconds by process; the ones that are gone are left out."""
    found: dict[int, float] = {}
    for pid in pids:
        try:
            found[pid] = process_cpu_s(pid)
        except OSError:
            continue
    return found


def spent_s(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two `cpu_of`; a process that is new counts in full."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def _busy_s() -> tuple[float, float]:
    """(busy, stolen by the hypervisor) in core seconds since boot, all cores together."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S, steal / _TICKS_PER_S


@dataclass(frozen=True)
class Used:
    """Who used the machine during a window, in cores."""

    seconds: float
    own: float
    foreign: float
    """Busy, but not with our processes; `stolen` included. Slightly negative values are rounding."""
    stolen: float


class Load:
    """Measures from its construction to `stop`."""

    def __init__(self) -> None:
        self._own = cpu_of(tree(os.getpid()))
        self._busy, self._stolen = _busy_s()
        self._start = time.monotonic()

    def stop(self) -> Used:
        seconds = time.monotonic() - self._start
        busy, stolen = _busy_s()
        own = spent_s(self._own, cpu_of(tree(os.getpid())))
        busy -= self._busy
        return Used(seconds, own / seconds, (busy - own) / seconds, (stolen - self._stolen) / seconds)


def idle_load(seconds: float = 1.0) -> Used:
    """What others use while we do nothing."""
    load = Load()
    time.sleep(seconds)
    return load.stop()


def wait_until_quiet(cores: float, at_most_s: float) -> None:
    """Return once others use no more than this, or when the time is over."""
    deadline = time.monotonic() + at_most_s
    while time.monotonic() < deadline and idle_load().foreign > cores:
        continue


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process. Raises OSError when it is gone."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss line")


def _libraries(pid: int) -> set[bytes]:
    """Files of NumPy, OpenCV and the TFLite runtimes that a process maps."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_bytes()
    except OSError:
        return set()
    return {line.split(None, 5)[5] for line in maps.splitlines() if _LIBRARIES.search(line)}


def foreign_users_of_libraries(pids: list[int]) -> list[str]:
    """Processes outside our tree that map the same libraries as these: they share the pages, which makes our Pss
    look smaller. Another copy of a library (another environment) shares nothing."""
    ours = set(tree(os.getpid()))
    wanted = set().union(*map(_libraries, pids))
    return [f"{_name(pid)} ({pid})" for pid in _pids() if pid not in ours and wanted & _libraries(pid)]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def facts() -> dict[str, str]:
    """The machine and the software, for the head of the report."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    packages = {}
    for package in ("vigild", "ai-edge-litert", "tflite-runtime", "numpy", "opencv-python-headless"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{memory_kib / 2**20:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {number}" for name, number in packages.items()),
    }
