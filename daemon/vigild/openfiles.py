"""How many files may be open, and whether that is enough.

    plan = plan_for(soft, hard, cameras=1, clients=64)
    plan.soft                # the soft limit to set
    plan.refusal             # one sentence, or empty
    plan.warning

Pure, but for `arrange` and `to_begin`, which ask the kernel and carry the plan out.
"""

from __future__ import annotations

import resource
from typing import NamedTuple

HUB = 60
"""Descriptors of the hub without cameras and clients. Counted in /proc/PID/fd: 7 of its own (the standard streams, the
event loop's three, the socket) and 7 for a detector (its channel, stderr, process and progress page, twice, and its
statm), which a swap doubles. What is read of /proc and /sys every second stays open (`board.tree.Kept`): some 10 files
of a Raspberry Pi, some 25 of a Jetson with its zones. The rest is room for starting a worker and for other files."""
PER_CAMERA = 9
"""7 counted, as for a detector, and a ring's memory and socket pair while it is handed over."""
FEWEST_CLIENTS = 2
TO_BEGIN = 16
"""For Python itself, an import from a ZIP, a connection, a file. With fewer, an import fails as if a module
were not there."""


class Plan(NamedTuple):
    """What follows from the limits."""

    soft: int
    """The soft limit that should be in force."""
    refusal: str = ""
    """Why nothing can run like this; empty: it can."""
    warning: str = ""


def plan_for(soft: int, hard: int, cameras: int, clients: int) -> Plan:
    """What to do with RLIMIT_NOFILE at (soft, hard), -1 for none.

    The soft limit is raised no further than needed: it is inherited, and some programs close every
    descriptor up to it one by one.
    """
    least = HUB + PER_CAMERA * cameras + FEWEST_CLIENTS
    needed = least - FEWEST_CLIENTS + clients
    reachable = hard if hard != resource.RLIM_INFINITY else max(needed, soft)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Plan(soft)
    wanted = min(needed, reachable)
    many = f"{cameras} camera{'' if cameras == 1 else 's'}"
    if wanted < least:
        return Plan(
            soft,
            refusal=f"at most {reachable} files may be open here, and {many} with {clients} clients "
            f"(daemon.max_clients) need {needed}; raise the limit: ulimit -n {needed} in a shell, "
            f"LimitNOFILE={needed} in a systemd unit",
        )
    if wanted < needed:
        return Plan(
            wanted,
            warning=f"at most {reachable} files may be open here, which is enough for {many} but not for "
            f"{clients} clients (daemon.max_clients); for those {needed} are needed (ulimit -n, LimitNOFILE=)",
        )
    return Plan(wanted)


def arrange(cameras: int, clients: int) -> Plan:
    """Ask for the limits, raise the soft one as planned, and say what was planned."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    plan = plan_for(soft, hard, cameras, clients)
    if not plan.refusal and plan.soft != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (plan.soft, hard))
    return plan


def to_begin() -> str:
    """See to it that a command can open a few files; why it cannot, or an empty text."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= TO_BEGIN:
        return ""
    if hard != resource.RLIM_INFINITY and hard < TO_BEGIN:
        return (
            f"at most {hard} files may be open here, and {TO_BEGIN} are needed; raise the limit: ulimit -n {TO_BEGIN}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (TO_BEGIN, hard))
    return ""
