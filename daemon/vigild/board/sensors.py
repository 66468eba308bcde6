"""The temperatures of a board and what the kernel says slows it, from files below a root.

    sensors = Sensors(Path("/"))
    sensors.read(now_ns)           # {"cpu-thermal": 54.5}
    sensors.flags()                # ["under_voltage"]
    sensors.lost(now_ns)           # ["cpu-thermal"]: it could be read and cannot any more

What is there is found once, again every minute (a driver that came late, an Edge TPU that was plugged in), and
every few seconds while a sensor is lost.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from vigild.board.readings import LOST_S
from vigild.board.thermal import CoolingDevice, Hwmon, Sensor, sensors
from vigild.board.tree import File, Folder, Trouble, folders

FIND_S = 60.0
FIND_LOST_S = 5.0

OVER_CURRENT_S = 10.0
"""A counter that grew keeps its flag up for so long."""


class OverCurrent:
    """A Jetson's over-current throttling (hwmon "soctherm_oc"): counters, so a flag while one has just grown.

    It is a matter of power, not of heat: told apart from the other flags.
    """

    def __init__(self) -> None:
        self._counters: list[tuple[Folder, File[int]]] = []
        self._seen: list[int | None] = []
        self._until_ns = 0

    def find(self, chips: list[Hwmon]) -> None:
        counters: list[tuple[Folder, File[int]]] = [
            (chip, File(f"oc{index}_event_cnt", int, kept=True))
            for chip in chips
            if chip.kind == "soctherm_oc"
            for index in (1, 2, 3)
        ]
        if [folder.path for folder, _ in counters] != [folder.path for folder, _ in self._counters]:
            self._counters, self._seen = counters, []

    def raised(self, now_ns: int) -> bool:
        if not self._counters:
            return False
        counts = [value if isinstance(value := file.read(chip), int) else None for chip, file in self._counters]
        if any(
            before is not None and now is not None and now > before
            for before, now in zip(self._seen, counts, strict=False)
        ):
            self._until_ns = now_ns + int(OVER_CURRENT_S * 1e9)
        self._seen = counts
        return now_ns < self._until_ns


class Sensors:
    """All sensors of a board."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: dict[str, Sensor] = {}
        """By name. The name of a zone is its type; the second one of a type has its number too."""
        self.searches = 0
        """How often they were looked for."""
        self._alarms: list[tuple[str, Folder, File[int]]] = []
        self._over_current = OverCurrent()
        self._known: dict[str, Sensor] = {}
        self._good_ns: dict[str, int] = {}
        """Counted sensors that have been read, and when the last time."""
        self._trouble: dict[str, Trouble] = {}
        self._next_find_ns: int | None = None
        self.find()

    def find(self) -> None:
        """Look for sensors (again)."""
        self.searches += 1
        self.found = {}
        for sensor in sensors(self.root):
            label = sensor.label()
            name = label if label not in self.found else f"{label}-{re.sub(r'^[^0-9]*', '', sensor.name)}"
            self.found[name] = sensor
        chips = [Hwmon(path) for path in folders(self.root / "sys/class/hwmon", "hwmon")]
        self._alarms = [("under_voltage", chip, Hwmon.under_voltage) for chip in chips if chip.kind == "rpi_volt"]
        for path in folders(self.root / "sys/class/thermal", "cooling_device"):
            device = CoolingDevice(path)
            if flag := device.flag():
                self._alarms.append((flag, device, CoolingDevice.state))
        self._over_current.find(chips)

    @property
    def counted(self) -> tuple[str, ...]:
        """The sensors that the temperature budget is for; also those that are lost."""
        here = [name for name, sensor in self.found.items() if sensor.counted]
        return (*here, *(name for name in self._good_ns if name not in here))

    def read(self, now_ns: int) -> dict[str, float]:
        """°C of all that can be read now. `now_ns`: CLOCK_MONOTONIC."""
        if self._next_find_ns is None:
            self._next_find_ns = now_ns + int(FIND_S * 1e9)
        elif now_ns >= self._next_find_ns:
            self.find()
            self._next_find_ns = now_ns + int((FIND_LOST_S if self.lost(now_ns) else FIND_S) * 1e9)
        readings: dict[str, float] = {}
        self._trouble = dict.fromkeys(self._good_ns, Trouble.GONE)
        for name, sensor in self.found.items():
            value = sensor.read()
            if isinstance(value, Trouble):
                self._trouble[name] = value
                continue
            self._trouble.pop(name, None)
            readings[name] = value
            if sensor.counted:
                self._good_ns[name] = now_ns
                self._known[name] = sensor
        self._forget_unplugged()
        if self._trouble and self.lost(now_ns):
            self._next_find_ns = min(self._next_find_ns, now_ns + int(FIND_LOST_S * 1e9))
        return readings

    def _forget_unplugged(self) -> None:
        for name, trouble in list(self._trouble.items()):
            sensor = self._known.get(name)
            if trouble is Trouble.GONE and sensor and sensor.removable and not Path(sensor.path).exists():
                del self._trouble[name], self._good_ns[name], self._known[name]

    def lost(self, now_ns: int) -> list[str]:
        """Counted sensors that could be read and have not for LOST_S, as of the last `read`. One that sleeps is
        lost only while no other can be read: the GPU of a Jetson that has nothing to do is no fault."""
        silent = [name for name, good_ns in self._good_ns.items() if now_ns - good_ns >= LOST_S * 1e9]
        blind = all(name in self._trouble for name in self._good_ns)
        return sorted(name for name in silent if blind or self._trouble.get(name) is not Trouble.ASLEEP)

    def trouble(self) -> dict[str, Trouble]:
        """Sensor -> why the last `read` left it out."""
        return dict(self._trouble)

    def temperatures(self) -> dict[str, float]:
        """°C by sensor, now."""
        return self.read(time.monotonic_ns())

    def flags(self, now_ns: int | None = None) -> list[str]:
        """What limits the board now, by name: "under_voltage", "cpu_throttle", ..."""
        raised = {name for name, folder, file in self._alarms if _above_zero(file.read(folder))}
        if self._over_current.raised(time.monotonic_ns() if now_ns is None else now_ns):
            raised.add("over_current")
        return sorted(raised)


def _above_zero(value: int | Trouble) -> bool:
    return isinstance(value, int) and value > 0
