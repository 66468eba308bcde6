"""Temperatures, the trips at which the kernel slows the board down, and what slows it now."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from vigild.board.board import Board
from vigild.board.budgets import Budgets
from vigild.board.firmware import ask_mailbox, flags_before, flags_now, parse_vcgencmd, start_vcgencmd
from vigild.doctor.finding import Finding, note, ok, problem

_VCGENCMD_S = 3.0

_COOL = "cool it better (heat sink, fan, a case with openings), or lower budget.temperature"
_POWER = "use a stronger power supply (5 V at 3 A for a Pi 4, 5 A for a Pi 5) and a short, thick cable"


def checks(board: Board, budgets: Budgets) -> Iterator[Finding]:
    """`budgets`: those in force."""
    temperatures = board.sensors.temperatures()
    counted = board.sensors.counted
    budget = budgets.temperature
    for name, celsius in temperatures.items():
        trips = board.sensors.found[name].trips()
        slowing = [trip.celsius for trip in trips if trip.slows]
        listed = ", ".join(f"{trip.kind} {trip.celsius:g} °C" for trip in trips if trip.kind != "active")
        found = f"{celsius:.1f} °C" + (f"; trips: {listed}" if listed else "")
        if slowing and celsius >= min(slowing):
            yield problem(name, f"{found}; the kernel slows the board now", _COOL)
        elif name in counted and celsius >= budget:
            yield problem(name, f"{found}; above budget.temperature, {budget:g} °C", _COOL)
        else:
            yield ok(name, found)
    if not temperatures:
        yield note("temperature", "no sensor can be read: the temperature budget is not held (a virtual machine?)")
    else:
        yield _budget(board, budgets)
    yield _alarms(board.sensors.flags())
    if board.is_raspberry_pi:
        yield _firmware(board)


def _budget(board: Board, budgets: Budgets) -> Finding:
    budget = budgets.temperature
    lowest = min(board.slowed_at(), default=None)
    if lowest is None or budget < lowest.celsius:
        return ok("budget", f"{budget:g} °C: {budgets.temperature_why}")
    return note(
        "budget",
        f"budget.temperature is {budget:g} °C, but the board slows itself from {lowest.celsius:g} °C ({lowest.what})",
        f'set budget.temperature below it, such as "{lowest.celsius - 5:g} °C"',
    )


def _alarms(flags: list[str]) -> Finding:
    if not flags:
        return ok("throttling", "none reported by the kernel")
    found = f"the kernel reports {', '.join(flags).replace('_', ' ')}"
    return problem("throttling", found, _POWER if "under_voltage" in flags else _COOL)


def _firmware(board: Board) -> Finding:
    """A Raspberry Pi's firmware also remembers."""
    try:
        said = ask_mailbox(board.root / "dev/vcio")
    except OSError:
        said = None  # no member of the group video, or an old kernel: vcgencmd says why
    if said is not None:
        return firmware_finding(said.bits)
    try:
        process = start_vcgencmd()
        if process is None:
            return note("firmware", "vcgencmd is not installed, so what slowed the board since its start is not known")
        with process:
            try:
                output, _ = process.communicate(timeout=_VCGENCMD_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        return note("firmware", f"vcgencmd get_throttled does not answer ({error})")
    bits = parse_vcgencmd(output)
    if bits is None:
        words = " ".join(output.decode(errors="replace").split())[:200]
        return note(
            "firmware",
            f"vcgencmd get_throttled says {words!r}",
            "if it is a matter of permission: sudo usermod -aG video $USER, then log in again",
        )
    return firmware_finding(bits)


def firmware_finding(bits: int) -> Finding:
    """What the bits say, in words."""
    now, before = (
        [name.replace("_", " ").replace("under voltage", "under-voltage") for name in names]
        for names in (flags_now(bits), flags_before(bits))
    )
    if not now and not before:
        return ok("firmware", "nothing has slowed the board since its start")
    parts = ([f"now: {', '.join(now)}"] if now else []) + ([f"since its start: {', '.join(before)}"] if before else [])
    todo = _POWER if "under-voltage" in (*now, *before) else _COOL
    return problem("firmware", "; ".join(parts), todo) if now else note("firmware", "; ".join(parts), todo)
