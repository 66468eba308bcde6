"""The board, read again and again: each thing at its own pace, so that watching costs next to nothing.

    reader = BoardReader(Board(Path("/")))
    reader.budgets = resolve(config.budget, board)            # how near the limit is decides the pace
    readings = reader.read(time.monotonic_ns(), {"hub": os.getpid(), "detector": 101})

`read` may be called as often as one likes; until something is due it gives the same value again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vigild.board.board import Board
from vigild.board.budgets import Budgets
from vigild.board.cpu_time import CpuClocks, CpuTime
from vigild.board.firmware import flags_before, flags_now
from vigild.board.frequency import Frequencies
from vigild.board.glance import Glance
from vigild.board.memory import MemoryReader
from vigild.board.pace import GLANCE_S, SENSORS_S, is_near
from vigild.board.readings import Memory, Readings

MOST_LATE_S = 0.1
"""That the next glance makes good: a round of the hub."""


class BoardReader:
    """Reads a board; never waits for anything."""

    def __init__(self, board: Board, budgets: Budgets | None = None) -> None:
        self._sensors = board.sensors
        self._firmware = board.firmware
        self._frequencies = Frequencies(board.root)
        clocks = CpuClocks(board.root)
        self._cpu_time = CpuTime(clocks)
        self._glance = Glance(clocks)
        self._memory = MemoryReader(board)
        self.budgets = budgets
        """Those in force; may be set anew at any time."""
        self._next_ns = 0
        self._near = False
        """The temperature is near its budget."""
        self._next_glance_ns = 0
        self._pids: dict[str, int] = {}
        """Those of the last time."""
        self._due_ns = 0
        """Until then there is nothing new, as long as the processes are the same."""
        self._readings: Readings | None = None

    def read(self, now_ns: int, pids: Mapping[str, int]) -> Readings:
        """`now_ns`: CLOCK_MONOTONIC; `pids`: the hub and its workers, by name."""
        before = self._readings
        if before is not None and now_ns < self._due_ns and pids == self._pids:
            return before
        self._pids = dict(pids)
        memory = self._memory.read(now_ns, pids, self.budgets.memory if self.budgets else None)
        if before is None or now_ns >= self._next_ns or (memory.woken and memory is not before.memory):
            self._readings = self._read_sensors(now_ns, pids, memory)
        elif self._near and now_ns >= self._next_glance_ns:
            # `at_ns` stays: the temperatures are no newer for it.
            self._readings = msgspec.structs.replace(
                before, memory=memory, foreign_cores_lately=self._look(now_ns, pids)
            )
        elif memory is not before.memory:
            self._readings = msgspec.structs.replace(before, memory=memory)
        assert self._readings is not None
        self._due_ns = self._next_due_ns()
        return self._readings

    def _next_due_ns(self) -> int:
        due_ns = min(self._next_ns, self._memory.due_ns)
        return min(due_ns, self._next_glance_ns) if self._near else due_ns

    def memory_is_short(self) -> None:
        """systemd's watch on memory pressure said so: memory is counted soon, and then everything is read."""
        self._memory.wake()
        self._due_ns = self._next_due_ns()

    def close(self) -> None:
        """Leave no process behind."""
        self._firmware.close()

    def _read_sensors(self, now_ns: int, pids: Mapping[str, int], memory: Memory) -> Readings:
        sensors = self._sensors
        temperatures = sensors.read(now_ns)
        counted = sensors.counted
        hottest = max((temperatures[name] for name in counted if name in temperatures), default=None)
        self._near = is_near(hottest, self.budgets.temperature if self.budgets else None)
        if now_ns >= self._next_ns:  # what is read in between, for memory's sake, puts off nothing
            self._next_ns = now_ns + round(SENSORS_S * 1e9)
        said = self._firmware.poll(now_ns, near=self._near)
        bits = said.bits if said else 0
        busy = self._cpu_time.busy(now_ns, pids.values())
        flags = {*sensors.flags(now_ns), *flags_now(bits)}
        return Readings(
            at_ns=now_ns,
            temperatures=temperatures,
            counted=counted,
            flags=tuple(sorted(flags)),
            remembered=tuple(name for name in flags_before(bits) if name not in flags),
            lost=tuple(sensors.lost(now_ns)),
            frequency=self._frequencies.read(said.arm_hz if said else None),
            own_cores=busy.own if busy else None,
            foreign_cores=busy.foreign if busy else None,
            foreign_cores_lately=self._look(now_ns, pids) if self._near else None,
            memory=memory,
        )

    def _look(self, now_ns: int, pids: Mapping[str, int]) -> float | None:
        # From when it was due, not from when it was asked: asked every 0.1 s, a quarter would always be 0.3 s.
        late_ns = now_ns - self._next_glance_ns
        self._next_glance_ns = now_ns + round(GLANCE_S * 1e9) - (late_ns if 0 < late_ns < MOST_LATE_S * 1e9 else 0)
        return self._glance.foreign(now_ns, pids.values())
