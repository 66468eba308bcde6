"""File trees of boards: what /sys, /proc, /dev, /etc and /run say there, as `--sysfs-root` takes it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

NASTY = b"\xff\xfe\x1b[31m\n\x9b2J\xe2\x80\xae\xc2\x85bad\n"
"""No UTF-8; colours the rest; begins a line; clears the screen; turns round what follows; begins a line again."""

STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, but for line ends, or is no text."""

PI_CPUINFO = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    for core in range(4)
)

ORIN_CPUINFO = "".join(
    f"processor\t: {core}\nFeatures\t: fp asimd evtstrm aes asimdhp cpuid asimdrdm asimddp\nCPU part\t: 0xd42\n\n"
    for core in range(6)
)

PC_CPUINFO = "".join(
    f"processor\t: {core}\nmodel name\t: Intel(R) N100\nflags\t\t: fpu sse2 ssse3 fma sse4_2 avx avx2 avx_vnni\n\n"
    for core in range(4)
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def zone(root: Path, index: int, kind: str, temp: str, trips: list[tuple[int, str, str]]) -> None:
    """A thermal zone; `trips`: (milli-°C, type, what is bound to it: a cooler's type, or "")."""
    folder = root / f"sys/class/thermal/thermal_zone{index}"
    write(folder / "type", f"{kind}\n")
    write(folder / "temp", temp)
    for number, (millicelsius, trip, cooler) in enumerate(trips):
        write(folder / f"trip_point_{number}_temp", f"{millicelsius}\n")
        write(folder / f"trip_point_{number}_type", f"{trip}\n")
        if cooler:
            write(folder / f"cdev{number}_trip_point", f"{number}\n")
            write(folder / f"cdev{number}" / "type", f"{cooler}\n")


def flip(path: Path, text: str) -> None:
    """Write a file that somebody may be reading: it is whole at any time."""
    write(path.with_name(path.name + ".new"), text)
    path.with_name(path.name + ".new").replace(path)


def cpufreq(root: Path, now_khz: int, max_khz: int, policy: int = 0) -> None:
    folder = root / f"sys/devices/system/cpu/cpufreq/policy{policy}"
    write(folder / "scaling_cur_freq", f"{now_khz}\n")
    write(folder / "cpuinfo_max_freq", f"{max_khz}\n")


def process(root: Path, pid: int, pss_kib: int, resident: int = 0, shared: int = 0, parent: int = 1) -> None:
    """A process: its Pss, the pages of its statm, and who started it."""
    folder = root / f"proc/{pid}"
    write(folder / "smaps_rollup", f"0-1 ---p 0 00:00 0 [rollup]\nRss: 1 kB\nPss: {pss_kib} kB\nSwapPss: 8 kB\n")
    write(folder / "statm", f"9999 {resident} {shared} 5 0 123 0\n")
    write(folder / "stat", f"{pid} (a (b) c) S {parent} {pid} 0 0\n")


def cgroup(root: Path, name: str, mount: str = "sys/fs/cgroup", **files: str | int) -> Path:
    """The control group of this process; `files`: "current" is memory.current, "procs" is cgroup.procs."""
    write(root / "proc/self/cgroup", f"0::{name}\n")
    folder = root / mount / name.lstrip("/")
    for file, content in files.items():
        write(folder / ("cgroup.procs" if file == "procs" else f"memory.{file.replace('_', '.')}"), f"{content}\n")
    return folder


def meminfo(total_mib: int, available_mib: int) -> str:
    return (
        f"MemTotal:       {total_mib * 1024:8} kB\nMemFree:         100000 kB\n"
        f"MemAvailable:   {available_mib * 1024:8} kB\nSwapTotal:       102396 kB\n"
    )


def raspberry_pi_4(root: Path) -> Path:
    """As Raspberry Pi OS leaves it: no PSI, no memory controller; and a power supply that is too weak."""
    write(root / "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    write(root / "proc/cpuinfo", PI_CPUINFO)
    write(root / "proc/meminfo", meminfo(906, 610))
    write(root / "proc/cmdline", "coherent_pool=1M cgroup_disable=memory console=tty1 rootwait\n")
    write(root / "proc/sys/kernel/osrelease", "6.12.25+rpt-rpi-v8\n")
    write(root / "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    zone(root, 0, "cpu-thermal", "54500\n", [(110000, "critical", "")])
    write(root / "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    write(root / "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    (root / "run/systemd/system").mkdir(parents=True)
    return root


def raspberry_pi_3_b_plus(root: Path) -> Path:
    """Warm already: its soft limit of 60 °C is near."""
    write(root / "proc/device-tree/model", "Raspberry Pi 3 Model B Plus Rev 1.3\0")
    write(root / "proc/meminfo", meminfo(906, 610))
    zone(root, 0, "cpu-thermal", "57996\n", [(110000, "critical", "")])
    cpufreq(root, 1400000, 1400000)
    write(root / "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    write(root / "sys/class/hwmon/hwmon0/temp1_input", "57996\n")
    write(root / "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    return root


def raspberry_pi_5(root: Path) -> Path:
    """With the Active Cooler: its trips cool by the fan; only the firmware slows."""
    write(root / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(root / "proc/meminfo", meminfo(8063, 7000))
    fan = [(50000, "active", "pwm-fan"), (60000, "active", "pwm-fan"), (67500, "active", "pwm-fan")]
    zone(root, 0, "cpu-thermal", "61700\n", [(110000, "critical", ""), *fan, (75000, "active", "pwm-fan")])
    write(root / "sys/class/thermal/cooling_device0/type", "pwm-fan\n")
    write(root / "sys/class/thermal/cooling_device0/cur_state", "2\n")
    write(root / "sys/class/thermal/cooling_device0/max_state", "4\n")
    cpufreq(root, 2400000, 2400000)
    for index, (name, file, content) in enumerate(
        [
            ("cpu_thermal", "temp1_input", "61700\n"),
            ("rp1_adc", "temp1_input", "52300\n"),
            ("rpi_volt", "in0_lcrit_alarm", "0\n"),
            ("nvme", "temp1_input", "71000\n"),
        ]
    ):
        write(root / f"sys/class/hwmon/hwmon{index}/name", f"{name}\n")
        write(root / f"sys/class/hwmon/hwmon{index}/{file}", content)
    return root


def jetson_orin(root: Path) -> Path:
    """Its box is warm, which slows nothing; its CPU is throttled, which does."""
    write(root / "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    write(root / "proc/cpuinfo", ORIN_CPUINFO)
    write(root / "proc/meminfo", meminfo(7620, 5100))
    write(root / "proc/pressure/memory", "some avg10=1.50 avg60=0.90 avg300=0.20 total=4\nfull avg10=0.00 total=0\n")
    write(root / "proc/sys/kernel/osrelease", "5.15.148-tegra\n")
    write(root / "etc/os-release", 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n')
    write(root / "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    trips = [
        (70000, "passive", "hot-surface-alert"),
        (99000, "passive", "cpu-throttle-alert"),
        (104500, "critical", ""),
        (50000, "active", "pwm-fan"),
    ]
    zone(root, 0, "cpu-thermal", "76000\n", trips)
    zone(root, 1, "gpu-thermal", "", trips)
    zone(root, 2, "tj-thermal", "76500\n", [(0, "passive", ""), (104500, "critical", "")])
    for index, (kind, state) in enumerate([("cpu-throttle-alert", 1), ("hot-surface-alert", 1)]):
        write(root / f"sys/class/thermal/cooling_device{index}/type", f"{kind}\n")
        write(root / f"sys/class/thermal/cooling_device{index}/cur_state", f"{state}\n")
    write(root / "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    (root / "run/systemd/system").mkdir(parents=True)
    write(root / "etc/systemd/system/vigild.service", "[Unit]\n")
    return root


def laptop(root: Path) -> Path:
    """x86: a battery and a wireless card with zones of their own; the package is slowed by ACPI at 95 °C."""
    write(root / "sys/class/dmi/id/sys_vendor", "LENOVO\n")
    write(root / "sys/class/dmi/id/product_name", "ThinkPad X1\n")
    write(root / "proc/cpuinfo", PC_CPUINFO)
    write(root / "proc/meminfo", meminfo(15800, 9000))
    write(root / "proc/pressure/memory", "some avg10=0.20 avg60=0.10 avg300=0.00 total=7\nfull avg10=0.00 total=0\n")
    zone(root, 0, "acpitz", "16800\n", [(16000, "active", "Fan"), (95000, "passive", "Processor")])
    zone(root, 1, "x86_pkg_temp", "68000\n", [(-274000, "passive", "")])
    zone(root, 2, "BAT0", "81000\n", [])
    zone(root, 3, "iwlwifi_1", "83000\n", [])
    zone(root, 4, "pch_cannonlake", "84000\n", [(115000, "hot", "")])
    write(root / "sys/class/hwmon/hwmon0/name", "coretemp\n")
    write(root / "sys/class/hwmon/hwmon0/temp1_input", "68000\n")
    write(root / "sys/class/thermal/cooling_device0/type", "Processor\n")
    write(root / "sys/class/thermal/cooling_device0/cur_state", "0\n")
    cpufreq(root, 900000, 3600000)
    return root


def amd_pc(root: Path) -> Path:
    """No thermal zone measures its processor: only the chip's own driver does."""
    zone(root, 0, "acpitz", "16800\n", [])
    write(root / "sys/class/hwmon/hwmon2/name", "k10temp\n")
    write(root / "sys/class/hwmon/hwmon2/temp1_input", "63125\n")
    return root


def plain_pc(root: Path) -> Path:
    write(root / "sys/class/dmi/id/sys_vendor", "Beelink\n")
    write(root / "sys/class/dmi/id/product_name", "MINI S\n")
    write(root / "proc/cpuinfo", PC_CPUINFO)
    write(root / "proc/meminfo", meminfo(15800, 12000))
    write(root / "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    zone(root, 0, "acpitz", "27800\n", [(119000, "critical", "")])
    zone(root, 1, "x86_pkg_temp", "41000\n", [(-274000, "passive", "")])
    write(root / "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    return root


def every_board(root: Path) -> Path:
    """Whatever any board has."""
    for board in (laptop, plain_pc, raspberry_pi_4, raspberry_pi_5, jetson_orin):
        shutil.rmtree(root / "run", ignore_errors=True)
        board(root)
    cpufreq(root, 1000000, 2000000)
    cgroup(root, "/system.slice/vigild.service", current=100, high="max", max=5, events="high 0\nmax 0\noom_kill 0")
    process(root, os.getpid(), 100)
    write(root / "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    for name, value in (("idVendor", "1a6e"), ("idProduct", "089a"), ("busnum", "2"), ("devnum", "3")):
        write(root / "sys/bus/usb/devices/2-1" / name, value)
    write(root / "sys/class/dmi/id/sys_vendor", "Acme")
    write(root / "sys/class/video4linux/video0/name", "Cam")
    write(root / "dev/video0", "")
    write(root / "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3")
    write(root / "boot/config.txt", "temp_limit=70\n")
    return root
