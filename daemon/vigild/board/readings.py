"""What was read of the board at one moment: plain values, for whoever decides.

    readings = reader.read(now_ns, {"hub": 100, "detector": 101})
    readings.hottest                    # Hottest("cpu-thermal", 74.1); None while no counted sensor can be read
    readings.memory.used_bytes          # beside budgets.memory

Nothing in here reads a file. `BoardReader` (reader.py) makes these; tests make them by hand.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

MemorySource = Literal["cgroup", "pss", "rss"]
"""cgroup: the daemon's own control group, without the file cache that the kernel takes back at once. pss: the
processes' proportional share of what is mapped (smaps_rollup). rss: kernels without smaps_rollup (before 4.14);
shared pages are counted once for each process."""

PressureSource = Literal["cgroup", "psi", "none"]
"""Whose stalls `pressure_percent` tells: the daemon's own control group, the whole board, or nobody's."""


class Hottest(NamedTuple):
    """The counted sensor that is warmest now."""

    sensor: str
    celsius: float


class Frequency(msgspec.Struct, frozen=True, kw_only=True):
    """Of the fastest cores, in Hz."""

    now_hz: int
    """What runs, where `measured`; else what the kernel asked for."""
    max_hz: int
    """What the processor is made for."""
    measured: bool = False
    """The firmware's clock counter says so. Without it a Raspberry Pi's firmware can run slower than `now_hz`
    while a flag such as "throttled" is raised: believe the flag."""

    @property
    def share(self) -> float:
        """0..1 of the highest frequency."""
        return self.now_hz / self.max_hz


class MemoryEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of the daemon's control group (`memory.events`): they only grow while the group lives."""

    high: int = 0
    """Times it was slowed down and reclaimed from for being above memory.high: shows as latency, not as an error."""
    max: int = 0
    """Times it ran into memory.max."""
    oom_kill: int = 0
    """Processes of it that the kernel killed."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon's processes use together, and how short memory is, in bytes."""

    used_bytes: int = 0
    """Compare with `budgets.memory`."""
    source: MemorySource = "pss"
    estimated: bool = False
    """Between two exact counts, or while another process is in the control group for a moment: the last count, moved
    on by what the processes grew since."""
    processes: dict[str, int] = {}
    """By the names the processes were given; always of the processes, also where `source` is "cgroup"."""
    pids: dict[str, int] = {}
    """The process that each of them was."""
    swap_bytes: int = 0
    """Of the daemon, swapped out; not in `used_bytes`."""
    limit_bytes: int | None = None
    """The lowest memory.high or memory.max of its control group and those above; None: the kernel sets none."""
    available_bytes: int | None = None
    """MemAvailable of the whole board; None where it cannot be read."""
    total_bytes: int = 0
    """MemTotal of the whole board; 0 where it cannot be read."""
    pressure_percent: float | None = None
    """0..100: share of the last ten seconds in which something waited for memory (PSI, "some avg10")."""
    pressure_stall_us: int | None = None
    """The same, in µs since the start ("total"): its growth tells sooner than the average."""
    pressure_source: PressureSource = "none"
    woken: bool = False
    """systemd's watch on memory pressure has woken the daemon since the count before."""
    events: MemoryEvents | None = None
    """None without a control group with the memory controller."""
    words: str = ""
    """The sources in use, for people: "Pss of the hub and its workers, and MemAvailable: the kernel has no PSI ..."."""


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. A sensor that cannot be read now is not in `temperatures`; that alone says nothing."""

    at_ns: int
    """When the sensors were read (CLOCK_MONOTONIC, as it was given to `read`)."""
    temperatures: dict[str, float] = {}
    """°C by sensor, of all that can be read now; between -40 and 150."""
    counted: tuple[str, ...] = ()
    """The sensors that the temperature budget is for: processors, not disks or voltage regulators."""
    flags: tuple[str, ...] = ()
    """What limits the board now, in alphabetical order: "under_voltage", "frequency_capped", "throttled" and
    "soft_temperature_limit" of a Raspberry Pi; "cpu_throttle" and its like and "over_current" of a Jetson."""
    remembered: tuple[str, ...] = ()
    """Flags of a Raspberry Pi that were raised since its start and are not now: for reports, never to act upon."""
    lost: tuple[str, ...] = ()
    """Counted sensors that could be read and cannot any more: for `LOST_S` long gone or answering nonsense. One
    that merely sleeps (EAGAIN, empty) is among them only while no other counted one can be read."""
    frequency: Frequency | None = None
    own_cores: float | None = None
    """What vigild's processes kept busy since the reading before; None while that is not known."""
    foreign_cores: float | None = None
    """The same of all other programs."""
    foreign_cores_lately: float | None = None
    """Of them, what they kept busy in each of the last two quarters of a second, at the least: read near the
    temperature budget only; else None."""
    memory: Memory = Memory()

    @property
    def hottest(self) -> Hottest | None:
        """The warmest of the counted sensors; None when none can be read now. With `lost` that is a lost sensor;
        with neither `lost` nor `counted` the board has none; else it is a gap of less than `LOST_S`: wait."""
        counted = [(self.temperatures[name], name) for name in self.counted if name in self.temperatures]
        if not counted:
            return None
        celsius, name = max(counted)
        return Hottest(name, celsius)


LOST_S = 2.0
"""Seconds without a good reading until a sensor counts as lost: a few bad reads in a row are no news."""
