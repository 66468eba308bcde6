"""Temperatures and throttle flags, from files below a root (`--sysfs-root`; "/" on a board).

    sensors = Sensors(Path("/"))
    sensors.temperatures()         # {"cpu-thermal": 54.5}
    sensors.flags()                # ["under_voltage"]

The zones are found once and again when one fails to read. Sources: Documentation/driver-api/thermal
(sysfs-api.rst) for the zones; drivers/hwmon/raspberrypi-hwmon.c for the Pi's under-voltage alarm;
cooling_device states for a Jetson's throttle alerts.
"""

from __future__ import annotations

from pathlib import Path

SANE_CELSIUS = (-40.0, 150.0)
"""Outside of this a sensor is off or lying (a switched-off Edge TPU reads -89.7 °C)."""

# A constant 100 °C on older Jetsons, by jetson_stats' experience.
_IGNORED_ZONES = ("pmic",)
# Raised at 70 °C on Orin for the skin of the box; nothing is slowed down.
_IGNORED_COOLERS = ("hot-surface-alert",)


def _read(path: Path) -> str | None:
    """The file's text, or None: a sensor may be disabled, asleep (EAGAIN) or unplugged at any time."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


class Sensors:
    """All sensors of a board."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._zones: dict[str, Path] = {}
        self._alarms: list[tuple[str, Path]] = []
        self.find()

    def find(self) -> None:
        """Look for sensors (again)."""
        self._zones = {}
        for zone in sorted(self._root.glob("sys/class/thermal/thermal_zone*")):
            kind = _read(zone / "type") or zone.name
            if not kind.lower().startswith(_IGNORED_ZONES):
                name = kind if kind not in self._zones else f"{kind}-{zone.name.removeprefix('thermal_zone')}"
                self._zones[name] = zone / "temp"
        for apex in sorted(self._root.glob("sys/class/apex/apex_*")):
            self._zones[f"edgetpu-{apex.name.removeprefix('apex_')}"] = apex / "temp"
        self._alarms = []
        for hwmon in sorted(self._root.glob("sys/class/hwmon/hwmon*")):
            if _read(hwmon / "name") == "rpi_volt":
                self._alarms.append(("under_voltage", hwmon / "in0_lcrit_alarm"))
        for cooler in sorted(self._root.glob("sys/class/thermal/cooling_device*")):
            kind = _read(cooler / "type") or ""
            if kind.endswith("-throttle-alert") and kind not in _IGNORED_COOLERS:
                self._alarms.append((kind.removesuffix("-alert").replace("-", "_"), cooler / "cur_state"))

    @property
    def zones(self) -> dict[str, Path]:
        """Zone -> its folder, of all that `temperatures` may report."""
        return {name: path.parent for name, path in self._zones.items()}

    def temperatures(self) -> dict[str, float]:
        """Zone -> °C; zones that cannot be read now, or read nonsense, are left out."""
        readings = {}
        for name, path in self._zones.items():
            try:
                celsius = int(_read(path) or "") / 1000.0
            except ValueError:
                continue
            if SANE_CELSIUS[0] <= celsius <= SANE_CELSIUS[1]:
                readings[name] = celsius
        return readings

    def flags(self) -> list[str]:
        """What limits the board now, by name: "under_voltage", "cpu_throttle", ..."""
        return sorted({name for name, path in self._alarms if (_read(path) or "0") not in ("0", "")})
