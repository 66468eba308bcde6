"""Workers that leak, and whoever keeps them below a budget.

    trace = run([Leak("detector", size=60 * MIB, leak=5 * MIB)], budget=256 * MIB, seconds=3600)
    trace.peak, trace.recycled

A worker is counted once a second, as the daemon does near its limit. Recycled, it is gone END_S later (the next
count, a signal, the kernel) and its successor loads for START_S. Nothing here knows the governor's thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vigild.budget import memory_governor
from vigild.budget.actions import Move, Recycle, Trim
from vigild.budget.memory_governor import Usage

MIB = 2**20
END_S, START_S = 1.0, 3.0
STEP_S = 0.25


@dataclass(frozen=True)
class Leak:
    """One worker. Bytes, bytes a second."""

    name: str
    size: int
    leak: float = 0.0
    leaks_from: float = 60.0
    spikes: tuple[tuple[float, float, int], ...] = ()
    """(from second, to second, bytes): taken and given back."""


@dataclass
class Trace:
    """What came of it."""

    used: list[float] = field(default_factory=list)
    recycled: list[tuple[float, str]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    trims: list[tuple[float, bool]] = field(default_factory=list)
    lighter: int = 0

    @property
    def peak(self) -> float:
        return max(self.used)


def run(
    workers: Sequence[Leak],
    budget: int,
    seconds: float,
    hub: int = 20 * MIB,
    *,
    governed: bool = True,
    overlap: bool = True,
) -> Trace:
    """`overlap`: a successor is started beside the one it replaces where the governor says that there is room."""
    trace, state = Trace(), memory_governor.State()
    started = {worker.name: 0.0 for worker in workers}
    leaked = {worker.name: 0.0 for worker in workers}
    ends: dict[str, float] = {}
    pids = {worker.name: at for at, worker in enumerate(workers)}
    beside: dict[str, float] = {}
    """When a successor was started that runs beside its predecessor until it is ready."""
    for at in range(int(seconds / STEP_S)):
        now = at * STEP_S
        held: dict[str, int] = {}
        extra = 0.0
        for worker in workers:
            name = worker.name
            if name in beside and now >= beside[name] + START_S:
                started[name], leaked[name] = beside.pop(name), 0.0
                pids[name] += len(workers)
            if name in ends and now >= ends[name]:
                del ends[name]
                started[name], leaked[name] = now, 0.0
                pids[name] += len(workers)
            if now >= worker.leaks_from:
                leaked[name] += worker.leak * STEP_S
            loaded = min((now - started[name]) / START_S, 1.0)
            spike = sum(extra for start, end, extra in worker.spikes if start <= now < end)
            held[name] = int(worker.size * (0.3 + 0.7 * loaded) + leaked[name] + spike)
            if name in beside:
                extra += worker.size * (0.3 + 0.7 * min((now - beside[name]) / START_S, 1.0))
        used = hub + sum(held.values()) + extra
        trace.used.append(used)
        if not governed or now != int(now):
            continue
        usage = Usage(used_bytes=int(used), workers=held, pids=dict(pids))
        state, actions = memory_governor.step(state, usage, budget, now)
        trace.lighter = max(trace.lighter, state.lighter)
        for action in actions:
            match action:
                case Recycle():
                    trace.recycled.append((now, action.worker))
                    if action.overlap and overlap:
                        beside[action.worker] = now
                    else:
                        ends[action.worker] = now + END_S
                case Move():
                    trace.moves.append(action)
                case Trim():
                    trace.trims.append((now, action.on))
    return trace
