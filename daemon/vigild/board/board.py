"""The one place where everything about a board below a root is found.

board = Board(Path("/"))
board.model, board.is_raspberry_pi
board.sensors.read(now_ns), board.trips(), board.slowed_at()
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from vigild.board.cgroup import Group, own_group
from vigild.board.firmware import Firmware
from vigild.board.identity import is_raspberry_pi, model_name
from vigild.board.sensors import Sensors
from vigild.board.thermal import CoolingDevice, Trip
from vigild.board.tree import folders
from vigild.files import text

PI_SLOWS_CELSIUS = 80.0
"""Where a Raspberry Pi's firmware begins to slow it; no trip of the kernel says so (documentation,
frequency-management.adoc)."""
PI_SOFT_CELSIUS = 60.0
"""Where that of a 3 B+ or 3 A+ goes from 1.4 to 1.2 GHz (the same; overclocking.adoc)."""

_SOFT_LIMIT_MODELS = re.compile(r"Raspberry Pi 3 Model [AB] Plus")
_MEMINFO = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)
_CONFIG_LIMIT = re.compile(r"^\s*(temp_limit|temp_soft_limit)\s*=\s*(\d{2})\s*$", re.MULTILINE)


class Cooler(msgspec.Struct, frozen=True):
    """A cooling device."""

    kind: str
    """ "pwm-fan" """
    state: int
    """0: does nothing now."""
    most: int


class Slowed(NamedTuple):
    """A temperature from which the board slows itself down."""

    celsius: float
    what: str
    """In words: "cpu-thermal's passive trip"."""
    seen: bool
    """A cooling device that slows a processor is bound to it, or a vendor says so; False: it is only likely."""


def meminfo(root: Path) -> dict[str, int]:
    """/proc/meminfo in bytes, by the kernel's names; empty when it cannot be read."""
    return {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(text(root / "proc/meminfo"))}


class Board:
    """A board; `root` is "/", or a folder of tests."""

    def __init__(self, root: Path, pid: int | None = None) -> None:
        """`pid`: the hub's, where that is another process than this one."""
        self.root = root
        self._pid = pid

    @cached_property
    def model(self) -> str:
        """ "Raspberry Pi 4 Model B Rev 1.4"; empty when it does not say."""
        return model_name(self.root)

    @cached_property
    def is_raspberry_pi(self) -> bool:
        return is_raspberry_pi(self.root)

    @cached_property
    def sensors(self) -> Sensors:
        return Sensors(self.root)

    @cached_property
    def firmware(self) -> Firmware:
        return Firmware(self.root)

    def trips(self) -> dict[str, list[Trip]]:
        """Sensor -> its trips, of those that count for the budget."""
        return {name: sensor.trips() for name, sensor in self.sensors.found.items() if sensor.counted}

    def slowed_at(self) -> list[Slowed]:
        """All temperatures from which it is slowed, the lowest first."""
        found = [self._firmware_limit()] if self.is_raspberry_pi else []
        for name, trips in self.trips().items():
            for trip in trips:
                if trip.slows:
                    found.append(Slowed(trip.celsius, f"{name}'s {trip.kind} trip", bool(trip.coolers)))
        return sorted(found)

    def coolers(self) -> list[Cooler]:
        """All cooling devices, and what they do now."""
        found = []
        for path in folders(self.root / "sys/class/thermal", "cooling_device"):
            device = CoolingDevice(path)
            kind, state = device.kind, device.state
            if kind and state is not None and state >= 0:
                found.append(Cooler(kind, state, device.max_state or 0))
        return found

    def _firmware_limit(self) -> Slowed:
        """What config.txt may lower (temp_limit) or, of a soft limit, raise up to 70 °C."""
        limits = {
            key: float(value)
            for name in ("boot/config.txt", "boot/firmware/config.txt")
            for key, value in _CONFIG_LIMIT.findall(text(self.root / name))
        }
        slows = min(PI_SLOWS_CELSIUS, limits.get("temp_limit", PI_SLOWS_CELSIUS))
        if _SOFT_LIMIT_MODELS.match(self.model):
            soft = min(max(limits.get("temp_soft_limit", PI_SOFT_CELSIUS), PI_SOFT_CELSIUS), 70.0)
            if soft < slows:
                return Slowed(soft, f"the soft limit of a {self._short_model()}", True)
        return Slowed(slows, "where a Raspberry Pi's firmware slows it", True)

    def _short_model(self) -> str:
        return self.model.partition(" Rev")[0]

    @property
    def memory_bytes(self) -> int:
        """MemTotal; 0 when it cannot be read."""
        return meminfo(self.root).get("MemTotal", 0)

    def group(self) -> Group | None:
        """The hub's control group, if it has the memory controller."""
        return own_group(self.root, self._pid)
