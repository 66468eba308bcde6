"""Children that nobody owns any more.

The hub is a child subreaper: what a dead worker leaves behind becomes the hub's child. Mostly that
is the warden of an `exec:` source, which ends its command and all that came of it by itself; so an
orphan is given a moment before it is killed. One that is killed may leave children of its own, which
become the hub's in turn: looking once is never enough.

    orphans = Orphans()
    orphans.sweep(owned, now_s)          # often
    orphans.end(owned)                   # repeatedly, when the hub itself is to end
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path

GRACE_S = 1.0
"""A warden is through with a polite command in 0.2 s and with any other at once."""


def children() -> list[int]:
    """This process's children, by /proc/self/task/*/children; empty where the kernel lacks it."""
    pids: list[int] = []
    try:
        tasks = list(Path("/proc/self/task").iterdir())
    except OSError:  # no descriptor or no memory is left: those that there are will be there at the next look
        return []
    for task in tasks:
        try:
            pids.extend(int(pid) for pid in (task / "children").read_text().split())
        except OSError:
            continue
    return pids


class Orphans:
    """Remembers since when each has been an orphan."""

    def __init__(self) -> None:
        self._since_s: dict[int, float] = {}

    def sweep(self, owned: Collection[int], now_s: float) -> list[int]:
        """Reap children that are not in `owned`; kill those that have been there for GRACE_S. Returns the killed."""
        orphans = _living(owned)
        self._since_s = {pid: self._since_s.get(pid, now_s) for pid in orphans}
        overdue = [pid for pid, since_s in self._since_s.items() if now_s - since_s >= GRACE_S]
        return [pid for pid in overdue if _kill(pid)]


def end(owned: Collection[int]) -> bool:
    """Kill and reap all children that are not in `owned`; whether there are none (call again until it is so)."""
    orphans = _living(owned)
    for pid in orphans:
        _kill(pid)
    return not orphans


def _living(owned: Collection[int]) -> list[int]:
    """Children not in `owned` that have not ended; those that have are reaped."""
    living = []
    for pid in children():
        if pid in owned:
            continue
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None:
                living.append(pid)
        except OSError:  # ECHILD: somebody else has reaped it
            continue
    return living


def _kill(pid: int) -> bool:
    """With its process group, unless that is ours."""
    try:
        group = os.getpgid(pid)
        if group not in (0, os.getpgrp()):
            os.killpg(group, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    except OSError:  # gone, or not ours to kill (a set-uid program)
        return False
    return True
