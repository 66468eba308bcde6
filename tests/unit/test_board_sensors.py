from __future__ import annotations

from pathlib import Path

import pytest

from vigild.board.memory import memory_of
from vigild.board.sensors import Sensors


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    thermal = tmp_path / "sys/class/thermal"
    for i, (kind, temp) in enumerate(
        [
            ("cpu-thermal", "48500\n"),
            ("gpu-thermal", ""),
            ("PMIC-Die", "100000\n"),
            ("cpu-thermal", "47000\n"),
            ("cv0-thermal", "-256000\n"),
        ]
    ):
        write(thermal / f"thermal_zone{i}/type", kind + "\n")
        write(thermal / f"thermal_zone{i}/temp", temp)
    write(thermal / "cooling_device0/type", "cpu-throttle-alert\n")
    write(thermal / "cooling_device0/cur_state", "1\n")
    write(thermal / "cooling_device1/type", "hot-surface-alert\n")
    write(thermal / "cooling_device1/cur_state", "1\n")
    write(tmp_path / "sys/class/apex/apex_0/temp", "-89700\n")
    return tmp_path


def test_only_readable_and_sane_zones_count(jetson: Path) -> None:
    assert Sensors(jetson).temperatures() == {"cpu-thermal": 48.5, "cpu-thermal-3": 47.0}


def test_a_warm_surface_is_not_throttling(jetson: Path) -> None:
    sensors = Sensors(jetson)
    assert sensors.flags() == ["cpu_throttle"]
    write(jetson / "sys/class/thermal/cooling_device0/cur_state", "0\n")
    assert sensors.flags() == []


def test_under_voltage_of_a_pi(tmp_path: Path) -> None:
    hwmon = tmp_path / "sys/class/hwmon/hwmon1"
    write(hwmon / "name", "rpi_volt\n")
    write(hwmon / "in0_lcrit_alarm", "1\n")
    assert Sensors(tmp_path).flags() == ["under_voltage"]


def test_no_sensors_at_all(tmp_path: Path) -> None:
    assert Sensors(tmp_path).temperatures() == {}
    assert Sensors(tmp_path).flags() == []


def test_memory_by_pss_and_by_rss_where_there_is_none(tmp_path: Path) -> None:
    write(tmp_path / "10/smaps_rollup", "x\nRss: 9000 kB\nPss:     4000 kB\nPss_Dirty: 1 kB\n")
    assert memory_of({"hub": 10, "gone": 11}, tmp_path) == ({"hub": 4000 * 1024}, "pss")
    write(tmp_path / "12/status", "Name: x\nVmRSS:     5000 kB\n")
    usage = memory_of({"hub": 10, "camera": 12}, tmp_path)
    assert usage.source == "rss"
    assert usage.total_bytes == 9000 * 1024
