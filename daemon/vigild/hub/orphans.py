"""Children that nobody owns any more.

The hub is a child subreaper: what a dead worker leaves behind (the program of an `exec:` source, if
even its warden was killed) becomes the hub's child, and is killed and reaped here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path


def children() -> list[int]:
    """This process's children, by /proc/self/task/*/children; empty where the kernel lacks it."""
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids.extend(int(pid) for pid in (task / "children").read_text().split())
        except OSError:
            continue
    return pids


def sweep(owned: Collection[int]) -> list[int]:
    """Kill every child that is not in `owned`, with its process group, and reap what has ended.

    Returns the pids that were killed now.
    """
    killed = []
    for pid in children():
        if pid in owned:
            continue
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None:
                continue
            group = os.getpgid(pid)
            if group not in (0, os.getpgrp()):
                os.killpg(group, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        except (ChildProcessError, ProcessLookupError):
            continue
    return killed
