"""Temperatures, the trips at which the kernel slows the board down, and what slows it now.

Trips and their coolers: Documentation/driver-api/thermal/sysfs-api.rst. A trip of type "passive" or
"hot" slows the board if a cooler other than a fan or an alert is bound to it; where no binding is
visible it is taken to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vigild.board.sensors import Sensors
from vigild.doctor.finding import Finding, note, ok, problem
from vigild.doctor.machine import is_raspberry_pi
from vigild.files import number, text

PI_SOFT_CELSIUS = 80.0
"""Where a Raspberry Pi's firmware begins to slow it (documentation, frequency-management.adoc); no trip says so."""

_HARMLESS_COOLERS = re.compile(r"hot-surface-alert|.*fan.*", re.IGNORECASE)

# vcgencmd get_throttled (documentation, graphics-utilities.adoc): the bit for now; 16 further up: since the start.
_FIRMWARE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16
_VCGENCMD_S = 3.0

_COOL = "cool it better (heat sink, fan, a case with openings), or lower budget.temperature"
_POWER = "use a stronger power supply (5 V at 3 A for a Pi 4, 5 A for a Pi 5) and a short, thick cable"


class Trip(NamedTuple):
    celsius: float
    kind: str
    """passive, hot, critical or active."""
    slows: bool


def checks(root: Path, budget_celsius: float) -> Iterator[Finding]:
    """`budget_celsius`: the configured budget.temperature."""
    sensors = Sensors(root)
    temperatures = sensors.temperatures()
    limits = [PI_SOFT_CELSIUS] if is_raspberry_pi(root) else []
    zones = sensors.zones
    for name, celsius in temperatures.items():
        trips = read_trips(zones[name])
        slowing = [trip.celsius for trip in trips if trip.slows]
        limits += slowing
        listed = ", ".join(f"{trip.kind} {trip.celsius:g} °C" for trip in trips if trip.kind != "active")
        found = f"{celsius:.1f} °C" + (f"; trips: {listed}" if listed else "")
        if slowing and celsius >= min(slowing):
            yield problem(name, f"{found}; the kernel slows the board now", _COOL)
        elif celsius >= budget_celsius:
            yield problem(name, f"{found}; above budget.temperature, {budget_celsius:g} °C", _COOL)
        else:
            yield ok(name, found)
    if not temperatures:
        yield note("temperature", "no sensor can be read: the temperature budget is not held (a virtual machine?)")
    elif limits and budget_celsius >= min(limits):
        yield note(
            "budget",
            f"budget.temperature is {budget_celsius:g} °C, but the board slows itself from {min(limits):g} °C",
            f'set budget.temperature below it, such as "{min(limits) - 5:g} °C"',
        )
    yield _alarms(sensors.flags())
    if is_raspberry_pi(root):
        yield from _firmware()


def read_trips(zone: Path) -> list[Trip]:
    """The trips of a thermal zone's folder; switched-off ones (0 °C and below, above 150 °C) are left out."""
    bound: dict[int, list[str]] = {}
    for link in zone.glob("cdev*_trip_point"):
        index = number(link)
        if index is not None and index >= 0:
            bound.setdefault(index, []).append(text(zone / link.name.removesuffix("_trip_point") / "type"))
    trips = []
    for path in zone.glob("trip_point_*_temp"):
        index_text = path.name.split("_")[2]
        millicelsius = number(path)
        if millicelsius is None or not 0 < millicelsius <= 150_000 or not index_text.isdigit():
            continue
        kind = text(zone / f"trip_point_{index_text}_type")
        coolers = bound.get(int(index_text), [])
        slows = kind in ("passive", "hot") and not (coolers and all(map(_HARMLESS_COOLERS.fullmatch, coolers)))
        trips.append(Trip(millicelsius / 1000, kind, slows))
    return sorted(trips)


def _alarms(flags: list[str]) -> Finding:
    if not flags:
        return ok("throttling", "none reported by the kernel")
    found = f"the kernel reports {', '.join(flags).replace('_', ' ')}"
    return problem("throttling", found, _POWER if "under_voltage" in flags else _COOL)


def _firmware() -> Iterator[Finding]:
    """A Raspberry Pi's firmware also remembers. (Its file in /sys is deprecated and warns when read.)"""
    command = shutil.which("vcgencmd")
    if command is None:
        yield note("firmware", "vcgencmd is not installed, so what slowed the board since its start is not known")
        return
    try:
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, timeout=_VCGENCMD_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield note("firmware", f"vcgencmd get_throttled does not answer ({error})")
        return
    answer = re.match(rb"throttled=0x([0-9a-fA-F]{1,8})\s*$", done.stdout)
    if answer is None:
        said = " ".join((done.stdout + done.stderr).decode(errors="replace").split())[:200]
        yield note(
            "firmware",
            f"vcgencmd get_throttled says {said!r}",
            "if it is a matter of permission: sudo usermod -aG video $USER, then log in again",
        )
        return
    yield firmware_finding(int(answer[1], 16))


def firmware_finding(bits: int) -> Finding:
    """What `vcgencmd get_throttled` says, in words."""
    now = [name for bit, name in _FIRMWARE_BITS.items() if bits >> bit & 1]
    before = [name for bit, name in _FIRMWARE_BITS.items() if bits >> (bit + _SINCE_START) & 1 and name not in now]
    if not now and not before:
        return ok("firmware", "nothing has slowed the board since its start")
    parts = ([f"now: {', '.join(now)}"] if now else []) + ([f"since its start: {', '.join(before)}"] if before else [])
    todo = _POWER if "under-voltage" in (*now, *before) else _COOL
    return problem("firmware", "; ".join(parts), todo) if now else note("firmware", "; ".join(parts), todo)
