"""Budgets in force: what the configuration says, and where it says nothing, what this board suggests.

budgets = resolve(config.budget, board)
budgets.temperature, budgets.temperature_why      # 75.0, "5 °C under where a Raspberry Pi's firmware slows it, 80 °C"
budgets.memory, budgets.memory_why                # 237_502_464, "a quarter of the board's 906 MiB"

in_force = InForce(board)                         # and followed, while a daemon runs
budgets, told = in_force.follow(config.budget, readings)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from vigild.board.board import Board, Slowed
from vigild.board.readings import Readings
from vigild.board.thermal import Trip
from vigild.figures import mebibytes

DEFAULT_CELSIUS = 75.0
"""Where nothing is known of the board."""
UNDER_SLOWING_CELSIUS = 5.0
"""The usual hysteresis of a trip, and more than a governor's overshoot."""
UNDER_CRITICAL_CELSIUS = 10.0
ABOVE_FAN_CELSIUS = 2.5
"""Above the highest trip of a fan, where nothing is known that is slowed further up."""
LOWEST_TRIP_CELSIUS = 45.0
"""A trip below this is passed by a board at rest on a warm day (some ACPI tables have 16 °C): no line to hold."""

DAEMON_BYTES = 128 * 2**20
"""What the hub, one camera and the default detector need: 109 MiB were measured (docs/benchmarks.md)."""
BOARD_SHARE = 4
"""A quarter: two cameras and a detector on the smallest board, and three quarters for all else."""
MOST_BYTES = 2**30
"""More than any model of the manifest with a dozen cameras: what grows beyond it is a leak, also on a large board."""
MARGIN_BYTES = 16 * 2**20
MARGIN_SHARE = 10
"""Under the kernel's own limit: a tenth, at least 16 MiB. A leak of 5 MiB/s grows 5 MiB from one look to the next and
10 MiB more until a worker is replaced; and the group pays for page tables and sockets, too."""


class Configured(Protocol):
    """`config.budget`: None is what is not set."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def memory(self) -> int | None: ...


class Derived(NamedTuple):
    """A number and its reason (a clause without a full stop)."""

    value: float
    why: str


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """Both numbers, each with its reason in words (a clause without a full stop)."""

    temperature: float
    """°C"""
    memory: int
    """Bytes, of all the daemon's processes together."""
    temperature_why: str = ""
    memory_why: str = ""


def resolve(configured: Configured, board: Board) -> Budgets:
    """The budgets in force. Reads the board's trips and limits where they are needed."""
    temperature, temperature_why = _temperature(configured, board)
    memory, memory_why = _memory(configured, board)
    return Budgets(temperature=temperature, memory=int(memory), temperature_why=temperature_why, memory_why=memory_why)


class InForce:
    """The budgets in force, resolved again when what they follow from can have changed.

    That is known from what is read anyway: the control group's limit, and that sensors were looked for (a thermal
    driver or a fan that came late). In between nothing is read for it.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._configured: Configured | None = None
        self._limit: int | None = None
        self._searches = 0
        self._budgets: Budgets | None = None

    def follow(self, configured: Configured, readings: Readings) -> tuple[Budgets, list[str]]:
        """The budgets, the same object while nothing changed; and what changed by itself, in sentences without a
        full stop. `readings`: the newest."""
        before, limit, searches = self._budgets, readings.memory.limit_bytes, self._board.sensors.searches
        if before is None or configured is not self._configured:
            self._configured, self._limit, self._searches = configured, limit, searches
            self._budgets = resolve(configured, self._board)
            return self._budgets, []
        found = before
        if limit != self._limit:
            self._limit = limit
            memory, why = _memory(configured, self._board)
            found = msgspec.structs.replace(found, memory=int(memory), memory_why=why)
        if searches != self._searches and not self._missing(readings):
            self._searches = searches
            celsius, why = _temperature(configured, self._board)
            found = msgspec.structs.replace(found, temperature=celsius, temperature_why=why)
        if found == before:
            return before, []
        self._budgets = found
        return found, list(_told(before, found))

    def _missing(self, readings: Readings) -> bool:
        """Whether a sensor is lost, whose trips are with it: the budget that was made of them stays."""
        return bool(readings.lost) or any(name not in self._board.sensors.found for name in readings.counted)


def _told(before: Budgets, now: Budgets) -> Iterable[str]:
    if now.memory != before.memory:
        yield f"the memory budget goes from {mebibytes(before.memory)} to {mebibytes(now.memory)}: {now.memory_why}"
    if now.temperature != before.temperature:
        yield (
            f"the temperature budget goes from {_at(before.temperature)} to {_at(now.temperature)}: "
            f"{now.temperature_why}"
        )


def _temperature(configured: Configured, board: Board) -> Derived:
    if configured.temperature is not None:
        return Derived(configured.temperature, "budget.temperature is set")
    return default_temperature(board.slowed_at(), board.trips())


def _memory(configured: Configured, board: Board) -> Derived:
    group = board.group()
    limit = group.limit() if group is not None else None
    kind = group.kind_of_limit() if group is not None else ""
    total = board.memory_bytes
    if configured.memory is None:
        return default_memory(limit, kind, total)
    left = _left_by(limit, kind, total)
    if left is None or configured.memory <= left.value:
        return Derived(configured.memory, "budget.memory is set")
    return Derived(left.value, f"{left.why}; budget.memory is set to more, {mebibytes(configured.memory)}")


def default_temperature(slowed: Iterable[Slowed], trips: Mapping[str, Iterable[Trip]]) -> Derived:
    """°C from where the board is slowed and from its trips.

    5 °C under the lowest temperature from which something slows the board. Where that would be before a fan of it
    has gone to its last step, half way between the two: the fan works before work is given up.
    """
    lines = [line for line in slowed if line.celsius >= LOWEST_TRIP_CELSIUS]
    bound = [line for line in lines if line.seen]
    likely = [line for line in lines if not line.seen and line.celsius - UNDER_SLOWING_CELSIUS < DEFAULT_CELSIUS]
    line = min(bound or likely, default=None)
    if line is not None:
        derived = Derived(
            line.celsius - UNDER_SLOWING_CELSIUS,
            f"{UNDER_SLOWING_CELSIUS:g} °C under {line.what}, {_at(line.celsius)}",
        )
    else:
        derived = Derived(DEFAULT_CELSIUS, "the default where the board does not say from where it is slowed")
    every = [(trip, name) for name, found in trips.items() for trip in found]
    fans = [(trip.celsius, name) for trip, name in every if trip.fan and (line is None or trip.celsius < line.celsius)]
    highest, fan_of = max(fans, default=(0.0, ""))
    if highest >= derived.value:
        if line is not None:
            celsius = (highest + line.celsius) / 2
            why = f"half way from the fan's last step, {_at(highest)} of {fan_of}, to {line.what}, {_at(line.celsius)}"
        else:
            celsius = highest + ABOVE_FAN_CELSIUS
            why = f"{ABOVE_FAN_CELSIUS:g} °C above the fan's last step, {_at(highest)} of {fan_of}"
        derived = Derived(celsius, why)
    critical = min(((trip.celsius, name) for trip, name in every if trip.kind == "critical"), default=None)
    if critical is not None and critical[0] >= LOWEST_TRIP_CELSIUS:
        celsius = critical[0] - UNDER_CRITICAL_CELSIUS
        if celsius < derived.value:
            why = f"{UNDER_CRITICAL_CELSIUS:g} °C under {critical[1]}'s critical trip, {_at(critical[0])}"
            return Derived(celsius, why)
    return derived


def default_memory(limit: int | None, kind: str, total: int) -> Derived:
    """Bytes from the control group's limit (`kind`: the name of its file), else from MemTotal (0: not known)."""
    share = min(max(total // BOARD_SHARE, DAEMON_BYTES), MOST_BYTES)
    left = _left_by(limit, kind, total)
    if left is not None:
        return left
    if not total:
        return Derived(DAEMON_BYTES * 2, "twice what one camera needs: the board does not say how much it has")
    if share == DAEMON_BYTES:
        return Derived(share, f"what one camera and the default model need, on a board of {mebibytes(total)}")
    if share == MOST_BYTES:
        return Derived(share, f"the most that is taken unasked, of the board's {mebibytes(total)}")
    return Derived(share, f"a quarter of the board's {mebibytes(total)}")


def _left_by(limit: int | None, kind: str, total: int) -> Derived | None:
    """Bytes under a control group's limit; None where it limits nothing."""
    if limit is None or (total and limit >= total):
        return None
    margin = max(limit // MARGIN_SHARE, MARGIN_BYTES)
    left = max(limit - margin, limit // 2)
    return Derived(left, f"{mebibytes(limit - left)} under the control group's {kind}, {mebibytes(limit)}")


def _at(celsius: float) -> str:
    return f"{celsius:g} °C"
