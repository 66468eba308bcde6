"""A ceiling on the load while the board says that it is limited: under-voltage, throttling.

    limit, why = step(limit, {"under_voltage"}, ran, full, dwell, now)

The flags say that a load is too much, not which one is right. So each time they go up, the load that ran is
remembered as one that failed, and a part of it is cut, again every CUT_S while they stay up. Once they have been down
for a while the load comes back to just below the one that failed; beyond that only after a wait that doubles each time
it fails again: a board on a weak supply is not to be browned out once a minute. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Set

import msgspec

SHEDS = {
    "under_voltage": "the supply's voltage is too low",
    "throttled": "the firmware has slowed the board down",
    "frequency_capped": "the firmware has capped the clock",
    "soft_temperature_limit": "the firmware's soft temperature limit is active",
    "over_current": "the board takes more current than its supply may give",
}
"""Flags that are a reason to shed load, and what they mean (Raspberry Pi, Jetson)."""
SHEDS_SUFFIXES = {"_throttle": "is throttled", "_slowed": "is slowed by the kernel"}
"""A Jetson's cpu_throttle, gpu_throttle, ... and the kernel's cpu_slowed are reasons as well."""

CUT = 0.9
CUT_S = 5.0
"""The kernel looks for under-voltage every 2 s (raspberrypi-hwmon.c); a cut must have shown before the next."""
BELOW_FAILED = 0.97
RISE = 0.1
"""Of all the work, added a dwell beyond a load that failed."""
LEAST_QUIET_S = 15.0
"""Without flags before anything comes back."""
MOST_QUIET_S = 300.0
"""Without flags before a load that failed is tried again, at the most."""
STRIKES_S = 900.0
"""Without flags for so long, earlier failures are forgotten."""
MOST_STRIKES = 6


class Ceiling(msgspec.Struct, frozen=True):
    """Of the load, reference frames a second."""

    load: float = math.inf
    failed: float = math.inf
    """The least load at which flags went up lately."""
    cut_at: float = -math.inf
    seen_at: float = -math.inf
    """When a flag was last up."""
    raised_at: float = -math.inf
    strikes: int = 0
    why: str = ""


def reasons(flags: Set[str]) -> str:
    """Those of the flags that load is shed for, in words; empty when there is none."""
    known = [words for flag, words in SHEDS.items() if flag in flags]
    for suffix, words in SHEDS_SUFFIXES.items():
        known += [f"{flag.removesuffix(suffix)} {words}" for flag in sorted(flags) if flag.endswith(suffix)]
    return "; ".join(known)


def step(limit: Ceiling, flags: Set[str], ran: float, full: float, dwell: float, now: float) -> tuple[Ceiling, str]:
    """(the ceiling, why there is one: empty while there is none). `ran`: the load that really ran."""
    why = reasons(flags)
    if why:
        return _flagged(limit, why, ran, full, now), why
    if math.isinf(limit.load):
        forget = now - limit.seen_at >= STRIKES_S and limit.strikes
        return (Ceiling() if forget else limit), ""
    quiet = now - limit.seen_at
    if quiet >= LEAST_QUIET_S and now - limit.raised_at >= dwell:
        load = max(limit.load, limit.failed * BELOW_FAILED)
        if load <= limit.load and quiet >= min(LEAST_QUIET_S * 2**limit.strikes, MOST_QUIET_S):
            load = limit.load + RISE * full
        if load > limit.load:
            limit = msgspec.structs.replace(limit, load=math.inf if load >= full else load, raised_at=now)
    return limit, "" if math.isinf(limit.load) else f"{limit.why} above {limit.failed:.1f} reference fps"


def _flagged(limit: Ceiling, why: str, ran: float, full: float, now: float) -> Ceiling:
    if now - limit.seen_at > CUT_S:
        strikes = min(limit.strikes + 1, MOST_STRIKES)
        # A first failure says most; later ones while it is tried again say the same.
        limit = msgspec.structs.replace(limit, strikes=strikes, failed=max(ran, 0.02 * full))
    if now - limit.cut_at >= CUT_S:
        load = CUT * min(limit.load, max(ran, 0.02 * full))
        limit = msgspec.structs.replace(limit, load=load, cut_at=now, raised_at=now)
    return msgspec.structs.replace(limit, seen_at=now, why=why)
