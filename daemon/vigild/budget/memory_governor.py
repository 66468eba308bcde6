"""Keeps the daemon's processes together below a number of bytes: a pure function.

    state, actions = step(state, usage, budget_bytes, now)

Soft limit: caches are trimmed and queues kept short; if that is not enough and no worker is to blame, a lighter
variant. Hard limit: the worker that grew most since it settled is recycled. Both limits are asked of what the memory
will be REACT_S from now by the workers' own slopes, so that a leak is ended before it reaches the budget; and a worker
that has leaked for a while is recycled while there is still room for its successor beside it.

Manners of earlyoom: what is to be done is judged by the newest count, one thing at a time, and what was done has
SETTLE_S to show. The control group's events and the stalls of PSI count as the soft limit, whatever the bytes say:
above memory.high a group becomes slow, not dead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from vigild.budget.actions import Action, Move, Recycle, Trim

SOFT, SOFT_OFF, HARD = 0.85, 0.75, 0.95
"""Parts of the budget."""
REACT_S = 6.0
"""From a count to the memory being free: the next count, the decision, the end of a process; doubled."""
STARTING_S = 15.0
"""A worker that has just started loads its model; what it holds then is its size."""
SETTLE_S = 5.0
RESTARTING_S = 6.0
"""The same for one whose predecessor's size is known."""
LEAK_S = 60.0
"""A slope that has held for so long is a leak."""
LEAK_BYTES_S = 16 * 2**10
"""Less than this a second is within what an allocator does by itself: 16 KiB/s are 1.4 GB a day."""
GROWN_BYTES = 8 * 2**20
"""Recycling a worker that grew less than this would free nothing to speak of."""
SLOPE_S = 6.0
"""Time constant of the slopes."""
STALL_PERCENT = 10.0
"""PSI, "some avg10", from which on memory is short (systemd-oomd kills at 60)."""
LIGHTER_S = 30.0
"""Trimming has so long to help."""
CALM_S = 300.0
"""Below the soft limit for so long, the heavier variant is tried again."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted."""

    used_bytes: int
    workers: Mapping[str, int]
    """By name, of those that can be recycled: without the hub."""
    stall_percent: float = 0.0
    woken: bool = False
    """systemd's watch on memory pressure has said that it is short."""
    high_events: int = 0
    max_events: int = 0
    """Counters of the control group."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one."""

    since: float
    at: float
    held: int
    size: int
    """When it had settled."""
    known: bool = False
    """`size` is a predecessor's, until it has settled itself."""
    slope: float = 0.0
    """Bytes a second."""
    rising: int = 0
    """Counts in a row in which it grew: once is a peak, twice may be a leak."""
    growing_since: float = math.inf

    @property
    def growth(self) -> float:
        """Bytes a second that are to be expected."""
        return max(self.slope, 0.0) if self.rising >= 2 else 0.0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything it remembers."""

    workers: Mapping[str, Worker] = msgspec.field(default_factory=dict)
    trimmed: bool = False
    trimmed_at: float = -math.inf
    recycled_at: float = -math.inf
    sizes: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Of workers that were recycled, when they had settled."""
    lighter: int = 0
    """Variants to go down the ladder for memory's sake."""
    lighter_at: float = -math.inf
    calm_since: float = math.inf
    tried: int = 0
    high_events: int | None = None
    max_events: int | None = None
    held: bool = True


def step(state: State, usage: Usage, budget: int, now: float, variants: int = 1) -> tuple[State, tuple[Action, ...]]:
    """One count. `variants`: so many are on the ladder."""
    workers = {
        name: _follow(state.workers.get(name), held, state.sizes.get(name), now) for name, held in usage.workers.items()
    }
    growth = sum(worker.growth for worker in workers.values() if not _loads(worker))
    foretold = usage.used_bytes + growth * REACT_S
    slowed = state.high_events is not None and usage.high_events > state.high_events
    at_limit = state.max_events is not None and usage.max_events > state.max_events
    stalled = usage.woken or usage.stall_percent >= STALL_PERCENT
    soft = foretold >= SOFT * budget or slowed or at_limit or stalled
    hard = foretold >= HARD * budget or at_limit
    why = _why(usage, growth, budget, slowed, at_limit)
    state = msgspec.structs.replace(
        state,
        workers=workers,
        high_events=usage.high_events,
        max_events=usage.max_events,
    )
    actions: list[Action] = []
    state = _trim(state, soft, usage.used_bytes < SOFT_OFF * budget, why, now, actions)
    state = _recycle(state, usage, budget, hard, growth, why, now, actions)
    state = _lighter(state, soft, hard, variants, now)
    return state, tuple(actions)


def _follow(old: Worker | None, held: int, size: int | None, now: float) -> Worker:
    """A process of that name; one that is much smaller than before is a new one. `size`: its predecessor's."""
    if old is None or held < 0.7 * old.held:
        return Worker(since=now, at=now, held=held, size=size or held, known=size is not None)
    seconds = now - old.at
    if seconds <= 0:
        return old
    share = 1 - math.exp(-seconds / SLOPE_S)
    starting = now - old.since < (RESTARTING_S if old.known else STARTING_S)
    slope = old.slope + share * ((held - old.held) / seconds - old.slope)
    growing = slope > LEAK_BYTES_S and not starting
    size = old.size if starting and old.known else max(old.size, held) if starting else min(old.size, held)
    return Worker(
        since=old.since,
        at=now,
        held=held,
        size=size,
        known=old.known,
        slope=slope,
        rising=old.rising + 1 if held > old.held else 0,
        growing_since=min(old.growing_since, now) if growing else math.inf,
    )


def _loads(worker: Worker) -> bool:
    """Whether its growth is that of a start: foretelling from it would end every worker while it loads."""
    if worker.known:
        return worker.held <= worker.size * 1.05
    return worker.at - worker.since < STARTING_S


def _trim(state: State, soft: bool, calm: bool, why: str, now: float, actions: list[Action]) -> State:
    if soft and not state.trimmed:
        actions += [Trim(), Move(kind="memory_trim", reason=f"caches are trimmed and queues kept short: {why}")]
        return msgspec.structs.replace(state, trimmed=True, trimmed_at=now)
    if state.trimmed and calm and not soft and now - max(state.trimmed_at, state.recycled_at) >= CALM_S:
        actions.append(Trim(on=False))
        return msgspec.structs.replace(state, trimmed=False)
    return state


def _recycle(
    state: State, usage: Usage, budget: int, hard: bool, growth: float, why: str, now: float, actions: list[Action]
) -> State:
    name = _grown_most(state)
    if now - state.recycled_at < SETTLE_S:
        return state
    if name is None:
        held = not (hard and usage.used_bytes > budget)
        if held != state.held:
            text = (
                "the memory budget is held again"
                if held
                else "nothing has grown that could be recycled, and it is too much"
            )
            actions.append(Move(kind="held_again" if held else "not_held", reason=f"{text}: {why}"))
        return msgspec.structs.replace(state, held=held)
    worker = state.workers[name]
    leaks = now - worker.growing_since >= LEAK_S
    # The last moment at which its successor has room beside it.
    crowded = usage.used_bytes + worker.size + growth * REACT_S >= budget
    if not hard and not (leaks and crowded and worker.held - worker.size >= worker.size / 2):
        return state
    grown = f"{name} has grown from {_mib(worker.size)} to {_mib(worker.held)}, {worker.slope / 2**20:+.2f} MiB/s"
    overlap = usage.used_bytes + worker.size + growth * REACT_S < budget
    actions += [
        Recycle(worker=name, reason=f"{grown}: {why}", overlap=overlap),
        Move(kind="memory_recycle", reason=f"{name} is started anew: it has grown from {_mib(worker.size)} to "
             f"{_mib(worker.held)}, {worker.slope / 2**20:+.2f} MiB/s; {why}"),
    ]  # fmt: skip
    workers = {other: value for other, value in state.workers.items() if other != name}
    sizes = {**state.sizes, name: worker.size}
    return msgspec.structs.replace(state, workers=workers, sizes=sizes, recycled_at=now, held=True)


def _grown_most(state: State) -> str | None:
    """The one that holds most beyond its size."""
    grown = {name: worker.held - worker.size for name, worker in state.workers.items()}
    name = max(grown, key=lambda name: grown[name], default=None)
    return name if name is not None and grown[name] >= GROWN_BYTES else None


def _lighter(state: State, soft: bool, hard: bool, variants: int, now: float) -> State:
    """Whether the variant has to give way, and for how long."""
    if soft:
        due = hard and state.trimmed and now - max(state.trimmed_at, state.lighter_at, state.recycled_at) >= LIGHTER_S
        if due and state.lighter + 1 < variants and _grown_most(state) is None:
            return msgspec.structs.replace(
                state, lighter=state.lighter + 1, lighter_at=now, calm_since=math.inf, tried=min(state.tried + 1, 5)
            )
        return msgspec.structs.replace(state, calm_since=math.inf)
    since = min(state.calm_since, now)
    if state.lighter and now - since >= CALM_S * 2 ** max(state.tried - 1, 0):
        return msgspec.structs.replace(state, lighter=state.lighter - 1, lighter_at=now, calm_since=now)
    return msgspec.structs.replace(state, calm_since=since)


def _why(usage: Usage, growth: float, budget: int, slowed: bool, at_limit: bool) -> str:
    parts = [f"{_mib(usage.used_bytes)}, {growth / 2**20:+.2f} MiB/s, budget {_mib(budget)}"]
    if at_limit:
        parts.append("its control group is at memory.max")
    elif slowed:
        parts.append("its control group is above memory.high")
    if usage.stall_percent >= STALL_PERCENT:
        parts.append(f"{usage.stall_percent:.0f} % of the time something waits for memory")
    elif usage.woken:
        parts.append("systemd says that memory is short ($MEMORY_PRESSURE_WATCH)")
    return "; ".join(parts)


def _mib(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"
