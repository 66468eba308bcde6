from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from boardkit import amd_pc, jetson_orin, laptop, raspberry_pi_4, raspberry_pi_5, write
from vigild.board.memory import Processes
from vigild.board.sensors import Sensors
from vigild.board.tree import Trouble


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
    assert Processes(tmp_path).exact({"hub": 10, "gone": 11}) == ({"hub": 4000 * 1024}, "pss")
    write(tmp_path / "12/status", "Name: x\nVmRSS:     5000 kB\n")
    usage = Processes(tmp_path).exact({"hub": 10, "camera": 12})
    assert usage.source == "rss"
    assert usage.total_bytes == 9000 * 1024


# ---- boards


def at(sensors: Sensors, seconds: float) -> dict[str, float]:
    return sensors.read(int(seconds * 1e9))


def lost(sensors: Sensors, seconds: float) -> list[str]:
    return sensors.lost(int(seconds * 1e9))


def test_what_is_not_heated_by_work_is_shown_and_not_counted(tmp_path: Path) -> None:
    sensors = Sensors(laptop(tmp_path))
    assert set(at(sensors, 0)) == {"acpitz", "x86_pkg_temp", "BAT0", "iwlwifi_1", "pch_cannonlake"}
    assert sensors.counted == ("acpitz", "x86_pkg_temp")


def test_a_chip_stands_in_where_no_zone_measures_the_processor(tmp_path: Path) -> None:
    assert at(Sensors(amd_pc(tmp_path / "amd")), 0)["k10temp"] == 63.125
    assert "coretemp" not in at(Sensors(laptop(tmp_path / "laptop")), 0)
    assert "nvme" not in at(Sensors(raspberry_pi_5(tmp_path / "pi")), 0)  # asking it takes milliseconds


def test_cpufreq_as_a_cooler_is_a_flag_and_a_fan_is_none(tmp_path: Path) -> None:
    root = raspberry_pi_5(tmp_path)
    write(root / "sys/class/thermal/cooling_device1/type", "cpufreq-cpu0\n")
    write(root / "sys/class/thermal/cooling_device1/cur_state", "0\n")
    sensors = Sensors(root)
    assert sensors.flags() == []
    write(root / "sys/class/thermal/cooling_device1/cur_state", "2\n")
    assert sensors.flags() == ["cpu_slowed"]


def test_over_current_of_a_jetson_is_told_while_its_counter_grows(tmp_path: Path) -> None:
    chip = tmp_path / "sys/class/hwmon/hwmon3"
    write(chip / "name", "soctherm_oc\n")
    write(chip / "oc2_event_cnt", "15\n")
    sensors = Sensors(tmp_path)
    assert sensors.flags(0) == []  # what was before the daemon
    write(chip / "oc2_event_cnt", "16\n")
    assert sensors.flags(10**9) == ["over_current"]
    sensors.find()
    assert sensors.flags(10 * 10**9) == ["over_current"]
    assert sensors.flags(11 * 10**9) == []


# ---- broken sensors


def test_a_few_bad_readings_are_no_loss_and_more_are(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    temp = root / "sys/class/thermal/thermal_zone0/temp"
    sensors = Sensors(root)
    assert at(sensors, 0) == {"cpu-thermal": 54.5}
    write(temp, "999000\n")
    assert at(sensors, 1) == {} and lost(sensors, 1) == []
    assert at(sensors, 2) == {} and lost(sensors, 2) == ["cpu-thermal"]
    assert sensors.counted == ("cpu-thermal",)
    write(temp, "55000\n")
    assert at(sensors, 3) == {"cpu-thermal": 55.0} and lost(sensors, 3) == []


@pytest.mark.parametrize("content", ["", "abc\n", "-41000\n", "150001\n", "-274000\n", "\xff", "5" * 5000])
def test_what_no_sensor_says(tmp_path: Path, content: str) -> None:
    root = raspberry_pi_4(tmp_path)
    sensors = Sensors(root)
    at(sensors, 0)
    write(root / "sys/class/thermal/thermal_zone0/temp", content)
    assert at(sensors, 2) == {} and lost(sensors, 2) == ["cpu-thermal"]


def test_a_driver_that_goes_and_comes_back_under_another_number(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    thermal = root / "sys/class/thermal"
    sensors = Sensors(root)
    at(sensors, 0)
    shutil.copytree(thermal / "thermal_zone0", thermal / "gone")
    shutil.rmtree(thermal / "thermal_zone0")  # not renamed: as the kernel does, its files go with it
    assert at(sensors, 2) == {} and lost(sensors, 2) == ["cpu-thermal"]
    (thermal / "gone").rename(thermal / "thermal_zone4")
    assert at(sensors, 4) == {}  # it is looked for every few seconds
    assert at(sensors, 7) == {"cpu-thermal": 54.5} and lost(sensors, 7) == []


def test_a_sleeping_gpu_is_no_loss_while_the_cpu_is_seen(tmp_path: Path) -> None:
    root = jetson_orin(tmp_path)
    thermal = root / "sys/class/thermal"
    write(thermal / "thermal_zone1/temp", "70000\n")
    sensors = Sensors(root)
    at(sensors, 0)
    write(thermal / "thermal_zone1/temp", "")
    at(sensors, 5)
    assert lost(sensors, 5) == []
    write(thermal / "thermal_zone0/temp", "")
    write(thermal / "thermal_zone2/temp", "")
    at(sensors, 8)
    assert lost(sensors, 8) == ["cpu-thermal", "gpu-thermal", "tj-thermal"]


def test_an_edge_tpu_that_is_unplugged_is_not_lost_and_one_that_is_plugged_in_is_found(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    apex = root / "sys/class/apex/apex_0"
    write(apex / "temp", "48300\n")
    sensors = Sensors(root)
    assert at(sensors, 0) == {"cpu-thermal": 54.5, "edgetpu-0": 48.3}
    (apex / "temp").unlink()
    apex.rmdir()
    at(sensors, 5)
    assert lost(sensors, 5) == [] and sensors.counted[0] == "cpu-thermal"
    at(sensors, 61)
    assert sensors.counted == ("cpu-thermal",)
    write(apex / "temp", "40000\n")
    assert at(sensors, 122) == {"cpu-thermal": 54.5, "edgetpu-0": 40.0}


def test_an_edge_tpu_that_goes_just_before_it_is_looked_for_again(tmp_path: Path) -> None:
    root = raspberry_pi_4(tmp_path)
    apex = root / "sys/class/apex/apex_0"
    write(apex / "temp", "48300\n")
    sensors = Sensors(root)
    at(sensors, 0)
    (apex / "temp").unlink()
    apex.rmdir()
    sensors.find()
    at(sensors, 5)
    assert lost(sensors, 5) == []


def test_a_folder_where_a_file_should_be_and_a_fifo(tmp_path: Path) -> None:
    thermal = tmp_path / "sys/class/thermal"
    write(thermal / "thermal_zone0/type", "cpu-thermal\n")
    (thermal / "thermal_zone0/temp").mkdir()
    write(thermal / "thermal_zone1/type", "gpu-thermal\n")
    os.mkfifo(thermal / "thermal_zone1/temp")
    write(thermal / "thermal_zoneX/type", "x\n")
    sensors = Sensors(tmp_path)
    assert at(sensors, 0) == {}
    assert sensors.trouble()["cpu-thermal"] is Trouble.FAILS
    assert sensors.trouble()["gpu-thermal"] is Trouble.ASLEEP
    assert lost(sensors, 9) == []  # they never could be read
