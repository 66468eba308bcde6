"""What people are told of a move. Pure."""

from __future__ import annotations

from vigild.budget.operating_points import Ladder, Rung, gone_still


def temperature(sensor: str, celsius: float, slope: float, budget: float) -> str:
    """ "cpu-thermal 74.1 °C, +0.21 °C/s, budget 75 °C" """
    return f"{sensor} {celsius:.1f} °C, {slope:+.2f} °C/s, budget {budget:g} °C"


def rates(before: float, after: float) -> str:
    """ "from 15.0 to 11.2 fps" """
    return f"from {before:.1f} to {after:.1f} fps"


def rung_change(ladder: Ladder, old: Rung, new: Rung) -> str:
    """ "int8-300 on 4 threads becomes int8-300 on 2 threads" and the like. `ladder`: that `new` is on."""
    parts = []
    if old.point.settings != new.point.settings:
        parts.append(f"{old.point} becomes {new.point}")
    before = gone_still(ladder, old)
    if gone := [name for name in new.without if name not in before]:
        parts.append(f"without {', '.join(gone)}" if new.cameras else "pause")
    if back := [name for name in new.cameras if name in before]:
        parts.append(f"with {', '.join(back)} again")
    return "; ".join(parts) or "another step"


def given_up(first: Rung, rung: Rung, rate: float) -> str:
    """ "11.2 of 15.0 fps, int8-256 on 2 threads, without back". `first`: all that is wanted."""
    if not rung.cameras and first.cameras:
        return "paused"
    parts = [f"{rate:.1f} of {first.full_fps:.1f} fps"]
    if rung.point.settings != first.point.settings:
        parts.append(f"{rung.point} instead of {first.point}")
    if rung.without:
        parts.append(f"without {', '.join(rung.without)}")
    return ", ".join(parts)
