"""Thermal zones, their trips and what cools them: the model of the files.

    for sensor in sensors(root):
        sensor.label, sensor.read()       # "cpu-thermal", 54.5
        sensor.trips()                    # [Trip(80.0, "passive", ("cpufreq-cpu0",), ...), ...]

Sources: Documentation/driver-api/thermal/sysfs-api.rst (zones, trips, their links to coolers and "cdev0_trip_point"),
Documentation/hwmon/sysfs-interface.rst, gasket-driver's apex_driver.c for the Edge TPU on PCIe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from vigild import plain
from vigild.board.tree import File, Folder, Trouble, folders, milli

SANE_CELSIUS = (-40.0, 150.0)
"""Outside of this a sensor is off or lying (a switched-off Edge TPU reads -89.7 °C)."""

_FANS = re.compile(r".*fan.*|emc2305.*", re.IGNORECASE)
# Told of at 70 °C on an Orin, for the skin of the box; nothing is slowed down.
_ALERTS = re.compile(r"hot-surface-alert")
# What slows processors: cpufreq ("cpufreq-cpu0", before 5.9 "thermal-cpufreq-0"), devfreq for a GPU, ACPI's
# "Processor", Intel's powerclamp and TCC offset, idle injection, a Jetson's firmware ("cpu-throttle-alert").
_SLOWERS = re.compile(
    r".*cpufreq.*|.*devfreq.*|processor|intel_powerclamp|.*tcc.*|.*cpu.?idle.*|.*(cpu|gpu|soc|cv\d?).*throttle.*|.*gpu.*",
    re.IGNORECASE,
)
# Not what this daemon's work heats, or (a PMIC of older Jetsons: 100 °C for ever) not a measurement at all.
_OTHERS = re.compile(
    r"pmic.*|(.*\b)?bat.*|.*charg.*|.*wifi.*|iwl.*|.*wlan.*|nvme.*|pch_.*|int34.*|.*modem.*|.*skin.*|"
    r".*usb.*|.*backlight.*|tskn|sen\d.*|tmem|tdimm|.*ambient.*|.*pcb.*",
    re.IGNORECASE,
)


class Trip(msgspec.Struct, frozen=True, order=True):
    """A temperature at which the kernel, or what it speaks for, does something."""

    celsius: float
    kind: str
    """active (a fan), passive (slows down), hot (tells) or critical (switches off)."""
    coolers: tuple[str, ...] = ()
    """The types of the cooling devices bound to it, as far as that can be seen."""
    slows: bool = False
    """It slows a processor: a cooler that does is bound to it. Where no binding of the whole zone can be seen, a
    passive or hot trip is taken to."""

    @property
    def fan(self) -> bool:
        """It makes a fan go faster (an active trip does nothing else)."""
        return self.kind == "active" or any(_FANS.fullmatch(cooler) for cooler in self.coolers)


def sane_celsius(text: str) -> float:
    """Of m°C. Raises ValueError for what no board is."""
    value = milli(text)
    if not SANE_CELSIUS[0] <= value <= SANE_CELSIUS[1]:
        raise ValueError(value)
    return value


class Sensor(Folder):
    """Something with a temperature."""

    counted = True
    """Whether the temperature budget is for it."""
    removable = False
    """Gone with its device, it is not lost."""

    def label(self) -> str:
        """What people call it; need not be unique."""
        return self.name

    def read(self) -> float | Trouble:
        """°C, or why not."""
        raise NotImplementedError

    def trips(self) -> list[Trip]:
        """In the order of their temperatures."""
        return []


class Zone(Sensor):
    """A thermal zone."""

    kind = File("type", plain.word)
    celsius = File("temp", sane_celsius, kept=True)

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._label = self.kind or self.name
        self.counted = not _OTHERS.fullmatch(self._label)

    def label(self) -> str:
        return self._label

    def read(self) -> float | Trouble:
        return Zone.celsius.read(self)

    def trips(self) -> list[Trip]:
        """Those that are switched off (0 °C and below, above 150 °C) are left out."""
        bound = self._bound()
        found = []
        for index in self._indexes():
            at = File(f"trip_point_{index}_temp", sane_celsius).read(self)
            if isinstance(at, Trouble) or at <= 0:
                continue
            kind = File(f"trip_point_{index}_type", plain.word).read(self)
            kind = "" if isinstance(kind, Trouble) else kind
            coolers = tuple(bound.get(index, ()))
            slows = any(map(slows_processor, coolers)) or (kind in ("passive", "hot") and not bound)
            found.append(Trip(at, kind, coolers, slows))
        return sorted(found)

    def _indexes(self) -> list[int]:
        try:
            names = os.listdir(self.path)  # noqa: PTH208
        except OSError:
            return []
        return [int(match[1]) for name in names if (match := re.fullmatch(r"trip_point_(\d+)_temp", name))]

    def _bound(self) -> dict[int, list[str]]:
        """Trip -> the types of the coolers. (A trip_point of -1 is a cooler of the zone, bound to none of them.)"""
        bound: dict[int, list[str]] = {}
        for cooler in folders(Path(self.path), "cdev"):
            index = File(f"{Folder(cooler).name}_trip_point", int).read(self)
            kind = CoolingDevice(cooler).kind
            if isinstance(index, int) and index >= 0 and kind:
                bound.setdefault(index, []).append(kind)
        return bound


class EdgeTpu(Sensor):
    """An Edge TPU on PCIe; the one on USB has no sensor that can be read."""

    removable = True

    celsius = File("temp", sane_celsius, kept=True)
    slower = File("trip_point0_temp", sane_celsius)
    """Where its clock is halved for the first time (84.8 °C unless the module was told otherwise)."""

    def label(self) -> str:
        return f"edgetpu-{self.name.removeprefix('apex_')}"

    def read(self) -> float | Trouble:
        return EdgeTpu.celsius.read(self)

    def trips(self) -> list[Trip]:
        at = self.slower
        return [Trip(at, "passive", ("Edge TPU clock",), True)] if at is not None and at > 0 else []


class Hwmon(Folder):
    """A chip with sensors."""

    kind = File("name", plain.word)
    under_voltage = File("in0_lcrit_alarm", int, kept=True)
    """Of a Raspberry Pi's rpi_volt (drivers/hwmon/raspberrypi-hwmon.c)."""


class HwmonTemperature(Sensor):
    """The first temperature of a chip: of the whole processor where there are several."""

    celsius = File("temp1_input", sane_celsius, kept=True)

    def __init__(self, path: str, label: str, counted: bool) -> None:
        super().__init__(path)
        self._label = label
        self.counted = counted

    def label(self) -> str:
        return self._label

    def read(self) -> float | Trouble:
        return HwmonTemperature.celsius.read(self)


class CoolingDevice(Folder):
    """What the kernel cools with, or a Jetson's firmware tells of."""

    kind = File("type", plain.word)
    state = File("cur_state", int, kept=True)
    """0: does nothing now. (Below 0 is powerclamp's way to say so.)"""
    max_state = File("max_state", int)

    def flag(self) -> str | None:
        """The flag that it raises while it cools: "cpu_throttle"; None: it slows nothing."""
        kind = self.kind or ""
        if _ALERTS.fullmatch(kind):
            return None
        if kind.endswith("-throttle-alert"):
            return kind.removesuffix("-alert").replace("-", "_")
        if re.fullmatch(r"(thermal-)?cpufreq-.*", kind):
            return "cpu_slowed"
        return "gpu_slowed" if re.fullmatch(r"(thermal-)?devfreq-.*gpu.*", kind) else None


def slows_processor(cooler: str) -> bool:
    """Whether a cooling device of this type takes speed from a CPU, a GPU or what is beside them."""
    return not (_FANS.fullmatch(cooler) or _ALERTS.fullmatch(cooler)) and bool(_SLOWERS.fullmatch(cooler))


# Chips that measure a processor, for boards whose thermal zones do not (AMD has none); a Pi 5's RP1 is shown only.
# All others are left alone: asking a disk wakes it, or takes milliseconds in which the hub would wait.
_PROCESSOR_CHIPS = ("coretemp", "k10temp", "zenpower")
_SHOWN_CHIPS = ("rp1_adc",)


def sensors(root: Path) -> Iterator[Sensor]:
    """All that measure a temperature, the zones first."""
    zones = [Zone(path) for path in folders(root / "sys/class/thermal", "thermal_zone")]
    yield from (zone for zone in zones if not zone.label().lower().startswith("pmic"))
    yield from (EdgeTpu(path) for path in folders(root / "sys/class/apex", "apex_"))
    # An ACPI zone may be anywhere in the case, and is a constant on many.
    counted = any(zone.counted and zone.label() != "acpitz" for zone in zones)
    for path in folders(root / "sys/class/hwmon", "hwmon"):
        kind = Hwmon(path).kind or ""
        if kind in _SHOWN_CHIPS or (kind in _PROCESSOR_CHIPS and not counted):
            yield HwmonTemperature(path, kind, kind in _PROCESSOR_CHIPS)
