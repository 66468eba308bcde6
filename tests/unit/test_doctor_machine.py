"""What the doctor reads from files, on the trees of three boards and on broken ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from boardkit import jetson_orin, plain_pc, raspberry_pi_4, write, zone
from vigild.board.board import Board
from vigild.board.budgets import Budgets
from vigild.doctor import machine, memory, thermal
from vigild.doctor.finding import Finding

MIB = 2**20


def heat(root: Path, celsius: float) -> dict[str, Finding]:
    return by_name(thermal.checks(Board(root), Budgets(temperature=celsius, memory=MIB, temperature_why="it is set")))


def of_memory(root: Path, budget_bytes: int) -> dict[str, Finding]:
    budgets = Budgets(temperature=75.0, memory=budget_bytes, memory_why="it is set")
    return by_name(memory.checks(Board(root), budgets))


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def without_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A vcgencmd on the PATH: a real program with this shell text."""
    folder = tmp_path / "firmware"
    folder.mkdir(exist_ok=True)
    (folder / "vcgencmd").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_pi_says_what_it_is(tmp_path: Path) -> None:
    found = by_name(machine.checks(raspberry_pi_4(tmp_path)))
    assert found["board"].found == "Raspberry Pi 4 Model B Rev 1.4"
    assert found["processor"].found == "Cortex-A72, 4 cores; asimd"
    assert found["system"].found == "Debian GNU/Linux 12 (bookworm), Linux 6.12.25+rpt-rpi-v8"
    assert found["python"].found.startswith(sys.version.split()[0])
    assert not [finding for finding in found.values() if finding.state == "problem"]


def test_a_jetson_tells_its_release(tmp_path: Path) -> None:
    found = by_name(machine.checks(jetson_orin(tmp_path)))
    assert found["board"].found == "NVIDIA Jetson Orin Nano Developer Kit, Jetson Linux R36.4.3"
    assert found["processor"].found == "Cortex-A78AE, 6 cores; asimd, asimddp, asimdhp"


def test_a_pc_by_its_firmware(tmp_path: Path) -> None:
    found = by_name(machine.checks(plain_pc(tmp_path)))
    assert found["board"].found == "Beelink MINI S"
    assert found["processor"].found == "Intel(R) N100, 4 cores; avx2, fma, avx_vnni"


def test_nothing_to_read_is_no_crash(tmp_path: Path) -> None:
    found = by_name(machine.checks(tmp_path))
    assert found["board"].state == "note"
    assert found["processor"].state == "note"
    assert "unnamed" in found["system"].found


def test_a_processor_without_vector_instructions_is_told_of(tmp_path: Path) -> None:
    write(tmp_path / "proc/cpuinfo", "processor : 0\nFeatures : half thumb fastmult vfp\nCPU part : 0xb76\n")
    assert "ARMv6" in by_name(machine.checks(tmp_path))["processor"].found
    write(tmp_path / "proc/cpuinfo", "processor : 0\nmodel name : Atom\nflags : fpu sse2 ssse3\n")
    assert "AVX2" in by_name(machine.checks(tmp_path))["processor"].found


def test_32_bit_python_on_a_64_bit_kernel() -> None:
    (finding,) = machine._word_size("aarch64", False)
    assert finding.state == "note" and "64-bit system" in finding.todo
    (finding,) = machine._word_size("aarch64", True)
    assert finding.state == "ok"


@pytest.mark.parametrize(("version", "state"), [("2.36", "ok"), ("2.27", "ok"), ("2.24", "note"), ("", "note")])
def test_c_libraries(version: str, state: str) -> None:
    assert machine._libc(version).state == state


# ---- heat


def test_under_voltage_of_a_pi(tmp_path: Path, without_vcgencmd: None) -> None:
    found = heat(raspberry_pi_4(tmp_path), 75.0)
    assert found["cpu-thermal"].state == "ok"
    assert found["cpu-thermal"].found == "54.5 °C; trips: critical 110 °C"
    assert found["throttling"].state == "problem"
    assert "under voltage" in found["throttling"].found and "power supply" in found["throttling"].todo
    assert "vcgencmd is not installed" in found["firmware"].found


def test_a_pi_slows_itself_from_80_degrees_though_no_trip_says_so(tmp_path: Path, without_vcgencmd: None) -> None:
    found = heat(raspberry_pi_4(tmp_path), 80.0)
    assert found["budget"].todo == 'set budget.temperature below it, such as "75 °C"'


def test_what_a_pi_s_firmware_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = raspberry_pi_4(tmp_path / "pi")
    vcgencmd(tmp_path, monkeypatch, '[ "$1" = get_throttled ] && echo throttled=0x50005')
    found = heat(root, 75.0)["firmware"]
    assert found.state == "problem" and found.found == "now: under-voltage, throttled"
    vcgencmd(tmp_path, monkeypatch, "echo throttled=0x60000")
    found = heat(root, 75.0)["firmware"]
    assert found.state == "note" and found.found == "since its start: frequency capped, throttled"
    assert "cool" in found.todo
    vcgencmd(tmp_path, monkeypatch, "echo throttled=0x0")
    assert heat(root, 75.0)["firmware"].state == "ok"


def test_a_firmware_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = raspberry_pi_4(tmp_path / "pi")
    vcgencmd(tmp_path, monkeypatch, "echo 'VCHI initialization failed' >&2; exit 255")
    found = heat(root, 75.0)["firmware"]
    assert found.state == "note" and "VCHI initialization failed" in found.found and "usermod" in found.todo
    monkeypatch.setattr(thermal, "_VCGENCMD_S", 0.3)
    vcgencmd(tmp_path, monkeypatch, "exec sleep 60")
    assert "does not answer" in heat(root, 75.0)["firmware"].found


def test_a_jetson_s_warm_surface_is_no_throttling_and_a_slowed_cpu_is(tmp_path: Path) -> None:
    found = heat(jetson_orin(tmp_path), 80.0)
    assert found["cpu-thermal"].state == "ok"  # 76 °C: above the 70 °C of the surface alert, below 99 °C
    assert found["cpu-thermal"].found == "76.0 °C; trips: passive 70 °C, passive 99 °C, critical 104.5 °C"
    assert found["tj-thermal"].found == "76.5 °C; trips: critical 104.5 °C"
    assert "gpu-thermal" not in found
    assert found["throttling"].state == "problem" and found["throttling"].found == "the kernel reports cpu throttle"
    assert found["budget"].state == "ok" and found["budget"].found == "80 °C: it is set"


def test_above_a_trip_that_slows(tmp_path: Path) -> None:
    zone(tmp_path, 0, "soc-thermal", "86000\n", [(85000, "passive", "cpufreq-cpu0"), (115000, "critical", "")])
    found = heat(tmp_path, 90.0)
    assert found["soc-thermal"].state == "problem" and "slows the board now" in found["soc-thermal"].found
    assert "from 85 °C" in found["budget"].found
    zone(tmp_path, 0, "soc-thermal", "84000\n", [])
    assert heat(tmp_path, 90.0)["soc-thermal"].state == "ok"


def test_a_trip_of_a_fan_slows_nothing(tmp_path: Path) -> None:
    zone(tmp_path, 0, "soc-thermal", "86000\n", [(60000, "passive", "pwm-fan")])
    assert heat(tmp_path, 95.0)["soc-thermal"].state == "ok"


def test_a_passive_trip_without_visible_binding_slows(tmp_path: Path) -> None:
    zone(tmp_path, 0, "soc-thermal", "86000\n", [(60000, "passive", "")])
    assert heat(tmp_path, 95.0)["soc-thermal"].state == "problem"


def test_above_the_budget(tmp_path: Path) -> None:
    zone(tmp_path, 0, "soc-thermal", "76000\n", [])
    found = heat(tmp_path, 75.0)
    assert found["soc-thermal"].state == "problem" and "budget.temperature" in found["soc-thermal"].found


def test_trips_that_are_switched_off_are_left_out(tmp_path: Path) -> None:
    found = heat(plain_pc(tmp_path), 75.0)
    assert found["x86_pkg_temp"].found == "41.0 °C"
    assert {finding.state for finding in found.values()} == {"ok"}


def test_no_sensor_is_said(tmp_path: Path) -> None:
    assert heat(tmp_path, 75.0)["temperature"].state == "note"


# ---- memory


def test_memory_of_a_pi(tmp_path: Path) -> None:
    found = of_memory(raspberry_pi_4(tmp_path), 256 * MIB)
    assert found["memory"].found == ("906 MiB, 610 MiB available, 100 MiB swap; budget.memory, 256 MiB (it is set)")
    assert "switched off on the kernel's command line" in found["memory controller"].found
    assert "/boot/firmware/cmdline.txt" in found["memory controller"].todo
    assert "psi=1" in found["memory pressure"].todo
    assert not [finding for finding in found.values() if finding.blocks]


def test_memory_of_a_jetson(tmp_path: Path) -> None:
    found = of_memory(jetson_orin(tmp_path), 256 * MIB)
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["memory controller"].found == "cgroup v2"
    assert "1.50 %" in found["memory pressure"].found


def test_less_memory_than_the_budget(tmp_path: Path) -> None:
    found = of_memory(raspberry_pi_4(tmp_path), 700 * MIB)
    assert found["memory"].state == "problem" and "700 MiB" in found["memory"].found


def test_psi_that_answers_nothing(tmp_path: Path) -> None:
    write(tmp_path / "proc/pressure/memory", "")
    found = of_memory(tmp_path, 256 * MIB)
    assert "answers nothing" in found["memory pressure"].found
    assert found["memory"].state == "note"
    assert "there is none" in found["memory controller"].found


def test_the_memory_controller_of_cgroup_v1(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/memory").mkdir(parents=True)
    assert of_memory(tmp_path, 256 * MIB)["memory controller"].state == "ok"
