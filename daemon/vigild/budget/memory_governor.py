"""Keeps the daemon's processes together below a number of bytes: a pure function.

    state, actions = step(state, usage, budget_bytes, now)

Soft limit: caches are trimmed and queues kept short; if that is not enough (the hard limit, or the kernel still says
that memory is short) and no worker is to blame, a lighter variant. Hard limit: the worker that grew most since it
settled is recycled. Both limits are asked of what the memory will be REACT_S from now by the workers' own slopes, so
that a leak is ended before it reaches the budget; and a worker that has leaked for a while is recycled while there is
still room for its successor beside it.

What a worker needs is learned, not assumed: a process, or a process that opens its first source, loads and then has its
size. One that was recycled and comes back to more than its predecessor's size, and stays there, has that size from then
on: to recycle it again would free nothing.

Manners of earlyoom: what is to be done is judged by the newest count, one thing at a time, and what was done has
SETTLE_S to show. The control group's events and the stalls of PSI count as the soft limit, whatever the bytes say:
above memory.high a group becomes slow, not dead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from vigild.budget.actions import Action, Move, Recycle, Trim

SOFT, SOFT_OFF, HARD, LAST = 0.85, 0.75, 0.95, 0.99
"""Parts of the budget. LAST: the hard limit for a worker that holds again what its predecessor was recycled for, since
that may be what it comes to rest at."""
AVAILABLE_SOFT, AVAILABLE_HARD, AVAILABLE_CALM = 0.10, 0.05, 0.125
"""Parts of the board's MemTotal that MemAvailable is. Below the first earlyoom ends a program with SIGTERM, below the
second with SIGKILL (earlyoom(1)): it is to find nothing to do here. Calm: the first and a quarter of it."""
AVAILABLE_MOST = 2**31 + 2**29
"""Of a board with more than 2.5 GiB these are parts of 2.5 GiB: 256 MiB left is not short, however much there is."""
REACT_S = 6.0
"""From a count to the memory being free: the next count, the decision, the end of a process; doubled."""
REACT_LEAST_S = REACT_S / 2
"""The same without doubling, for what its predecessor held when it was recycled: each successor goes a little further,
until one comes to rest or the budget is near."""
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
STILL_S, STILL_BYTES = 2.0, 2**18
"""Its most becomes for so long not so much more, and a worker has loaded: it grows by less than 0.13 MiB/s."""
BACK = 0.95
"""Of what a predecessor held when it was recycled: its successor is back there."""
INHERITED_S = 120.0
"""A process that comes so soon after a recycle is the successor; after that it is something else: another model."""
STALL_PERCENT = 10.0
"""PSI, "some avg10", from which on memory is short (systemd-oomd kills at 60)."""
LIGHTER_S = 30.0
"""Trimming has so long to help."""
CALM_S = 300.0
"""Below the soft limit for so long, the heavier variant is tried again."""


Sources = Mapping[str, tuple[int, int] | None]
"""Cameras, and the size of their frames: in another one a process needs other buffers."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted."""

    used_bytes: int
    workers: Mapping[str, int]
    """By name, of those that can be recycled: without the hub."""
    pids: Mapping[str, int] = {}
    """The process of each; where it is not told, one that is much smaller than before is taken for a new one."""
    sources: Mapping[str, Sources] = {}
    """The cameras that each has open now."""
    available_bytes: int | None = None
    total_bytes: int = 0
    """MemAvailable and MemTotal of the board; 0: not known."""
    stall_percent: float | None = None
    """None: there is no PSI."""
    woken: bool = False
    """systemd's watch on memory pressure has said that it is short."""
    high_events: int | None = None
    max_events: int | None = None
    """Counters of the control group; None: not known now."""

    def available(self) -> float:
        """MemAvailable as a part of MemTotal."""
        if self.available_bytes is None or self.total_bytes <= 0:
            return 1.0
        return self.available_bytes / min(self.total_bytes, AVAILABLE_MOST)

    def left(self) -> str:
        return f"the board has {_mib(self.available_bytes or 0)} left of {self.total_bytes / 2**20:.0f}"


class Recycled(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a worker that was recycled."""

    at: float
    loaded: int
    """When it had settled;"""
    held: int
    """when it was recycled, at the least; and"""
    reached: int
    """the last time."""


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one."""

    since: float
    """When the process appeared, or opened a source for the first time."""
    at: float
    held: int
    loaded: int
    """When it had settled: what its successor is expected to take."""
    size: int
    """The least since then: what is more than that has grown."""
    pid: int | None = None
    sources: Sources = {}
    """Those that the process ever had open: one that is opened again is nothing new, and may leak each time."""
    whole_since: float
    """Since when all of them are open."""
    known: bool = False
    """`loaded` is a predecessor's."""
    leaving: bool = False
    """It was recycled and is still there: its successor comes when that is ready."""
    reached: int = 0
    """What its predecessor held when it was recycled."""
    again: bool = False
    """It was recycled and came back to `size`."""
    top: int = 0
    top_at: float = -math.inf
    """The most it held since it began, and when that last became notably more."""
    slope: float = 0.0
    """Bytes a second."""
    rising: int = 0
    """Counts in a row in which it grew: once is a peak, twice may be a leak."""
    growing_since: float = math.inf

    @property
    def growth(self) -> float:
        """Bytes a second that are to be expected."""
        return max(self.slope, 0.0) if self.rising >= 2 else 0.0

    @property
    def react_s(self) -> float:
        """So long ahead it is looked."""
        return REACT_LEAST_S if self.held <= self.reached and not self.leaving else REACT_S

    @property
    def grown(self) -> int:
        return self.held - self.size

    @property
    def undecided(self) -> bool:
        """It was recycled, does not grow now, and either goes soon or may be about to have its size."""
        return self.known and self.rising < 2 and self.at - self.since < (INHERITED_S if self.leaving else STARTING_S)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything it remembers."""

    workers: Mapping[str, Worker] = msgspec.field(default_factory=dict)
    trimmed: bool = False
    trimmed_at: float = -math.inf
    eased_since: float = math.inf
    """Since when there is room again."""
    recycled_at: float = -math.inf
    recycled: Mapping[str, Recycled] = msgspec.field(default_factory=dict)
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
        name: _follow(
            state.workers.get(name), _lately(state.recycled.get(name), now), held, usage.pids.get(name),
            usage.sources.get(name, {}), now,
        )
        for name, held in usage.workers.items()
    }  # fmt: skip
    growing = [worker for worker in workers.values() if not _loads(worker)]
    growth = sum(worker.growth for worker in growing)
    foretold = usage.used_bytes + sum(worker.growth * worker.react_s for worker in growing)
    slowed = _counted_on(state.high_events, usage.high_events)
    at_limit = _counted_on(state.max_events, usage.max_events)
    stalled = usage.woken or (usage.stall_percent or 0.0) >= STALL_PERCENT
    # Where PSI tells who waits, little that is left is no shortage yet: the kernel may well have room in swap.
    blind = usage.stall_percent is None
    scarce = usage.available() < (AVAILABLE_SOFT if blind else AVAILABLE_HARD)
    exhausted = blind and usage.available() < AVAILABLE_HARD
    last = foretold >= LAST * budget or at_limit
    soft = foretold >= SOFT * budget or slowed or at_limit or stalled or scarce
    hard = foretold >= HARD * budget or at_limit or exhausted
    calm = not soft and usage.used_bytes < SOFT_OFF * budget and usage.available() >= AVAILABLE_CALM
    why = _why(usage, growth, budget, slowed, at_limit, scarce)
    state = msgspec.structs.replace(
        state,
        workers=workers,
        eased_since=min(state.eased_since, now) if calm else math.inf,
        high_events=state.high_events if usage.high_events is None else usage.high_events,
        max_events=state.max_events if usage.max_events is None else usage.max_events,
    )
    actions: list[Action] = []
    state = _trim(state, soft, why, now, actions)
    state = _recycle(state, usage, budget, hard, last, growth, why, now, actions)
    state = _lighter(state, soft, hard or slowed or stalled, variants, now)
    return state, tuple(actions)


def _counted_on(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now > before


def _lately(recycled: Recycled | None, now: float) -> Recycled | None:
    return recycled if recycled is not None and now - recycled.at < INHERITED_S else None


def _follow(
    old: Worker | None, before: Recycled | None, held: int, pid: int | None, sources: Sources, now: float
) -> Worker:
    """One worker, counted again. `before`: the predecessor that was recycled lately."""
    another = old is None or (held < 0.7 * old.held if pid is None or old.pid is None else pid != old.pid)
    if old is None or another or any(old.sources.get(camera, ()) != size for camera, size in sources.items()):
        return Worker(
            since=now,
            at=now,
            held=held,
            loaded=before.loaded if before is not None else held,
            size=before.loaded if before is not None else held,
            pid=pid,
            sources=sources if old is None or another else {**old.sources, **sources},
            whole_since=now,
            known=before is not None,
            reached=before.reached if before is not None else 0,
            top=held,
            top_at=now,
        )
    seconds = now - old.at
    if seconds <= 0:
        return old
    share = 1 - math.exp(-seconds / SLOPE_S)
    age = now - old.since
    whole_since = old.whole_since if sources == old.sources else now
    starting = age < (RESTARTING_S if old.known else STARTING_S)
    slope = old.slope + share * ((held - old.held) / seconds - old.slope)
    growing = slope > LEAK_BYTES_S and not starting
    top, top_at = (held, now) if held > old.top + STILL_BYTES else (old.top, old.top_at)
    # Leaks go on: what stands still above its predecessor's size is not one.
    settled = old.known and not old.leaving and age < STARTING_S and now - top_at >= STILL_S and held > old.loaded
    if settled or (starting and not old.known):
        loaded = size = held
    elif starting or now - whole_since < STARTING_S:  # what is given back while a source is away is taken again
        loaded, size = old.loaded, old.size
    else:
        loaded, size = old.loaded, min(old.size, held)
    return msgspec.structs.replace(
        old,
        at=now,
        held=held,
        loaded=loaded,
        size=size,
        whole_since=whole_since,
        again=old.again or (settled and held - old.loaded >= GROWN_BYTES),
        slope=slope,
        rising=old.rising + 1 if held - old.held > LEAK_BYTES_S * seconds else 0,
        growing_since=min(old.growing_since, now) if growing else math.inf,
        top=top,
        top_at=top_at,
    )


def _loads(worker: Worker) -> bool:
    """Whether its growth is that of a start: foretelling from it would end every worker while it loads."""
    if worker.known:
        return worker.held <= worker.loaded * 1.05
    return worker.at - worker.since < STARTING_S


def _trim(state: State, soft: bool, why: str, now: float, actions: list[Action]) -> State:
    if soft and not state.trimmed:
        actions += [Trim(), Move(kind="memory_trim", reason=f"caches are trimmed and queues kept short: {why}")]
        return msgspec.structs.replace(state, trimmed=True, trimmed_at=now)
    if state.trimmed and now - max(state.eased_since, state.recycled_at) >= CALM_S:
        actions.append(Trim(on=False))
        return msgspec.structs.replace(state, trimmed=False)
    return state


def _recycle(
    state: State,
    usage: Usage,
    budget: int,
    hard: bool,
    last: bool,
    growth: float,
    why: str,
    now: float,
    actions: list[Action],
) -> State:
    name = _grown_most(state)
    if now - state.recycled_at < SETTLE_S:
        return state
    if name is None:
        if _grown_most(state, decided=False) is not None:
            return state
        held = not (hard and usage.used_bytes > budget)
        if held != state.held:
            text = "the memory budget is held again" if held else _nothing_to_free(state)
            actions.append(Move(kind="held_again" if held else "not_held", reason=f"{text}: {why}"))
        return msgspec.structs.replace(state, held=held)
    worker = state.workers[name]
    leaks = now - worker.growing_since >= LEAK_S
    # The last moment at which its successor has room beside it.
    crowded = usage.used_bytes + worker.loaded + growth * REACT_S >= budget
    before = state.recycled.get(name) or Recycled(at=now, loaded=worker.loaded, held=worker.held, reached=0)
    back = name in state.recycled and not worker.leaving and worker.held >= BACK * before.held
    if not (last if back else hard) and not (leaks and crowded and worker.grown >= worker.size / 2):
        return state
    grown = f"has grown from {_mib(worker.size)} to {_mib(worker.held)}, {worker.slope / 2**20:+.2f} MiB/s"
    overlap = not crowded
    actions += [
        Recycle(worker=name, reason=f"{name} {grown}: {why}", overlap=overlap),
        Move(kind="memory_recycle", reason=f"{name} is started anew: it {grown}; {why}"),
    ]
    leaving = msgspec.structs.replace(
        worker, since=now, known=True, leaving=True, slope=0.0, rising=0, growing_since=math.inf
    )
    return msgspec.structs.replace(
        state,
        workers={**state.workers, name: leaving},
        recycled={
            **state.recycled,
            name: Recycled(at=now, loaded=worker.loaded, held=min(worker.held, before.held), reached=worker.held),
        },
        recycled_at=now,
        held=True,
    )


def _nothing_to_free(state: State) -> str:
    back = [f"{name} comes back to {_mib(worker.loaded)}" for name, worker in state.workers.items() if worker.again]
    if back:
        return f"to start a worker anew would free nothing ({', '.join(back)}), and it is too much"
    return "nothing has grown that could be recycled, and it is too much"


def _grown_most(state: State, *, decided: bool = True) -> str | None:
    """The one that holds most beyond its size; `decided` False: or may do so only now."""
    grown = {name: worker.grown for name, worker in state.workers.items() if not (decided and worker.undecided)}
    name = max(grown, key=lambda name: grown[name], default=None)
    return name if name is not None and grown[name] >= GROWN_BYTES else None


def _lighter(state: State, soft: bool, short: bool, variants: int, now: float) -> State:
    """Whether the variant has to give way, and for how long. `short`: trimming has not been enough; within the budget
    and with nobody waiting for memory a worse model would be given for nothing."""
    if soft:
        due = short and state.trimmed and now - max(state.trimmed_at, state.lighter_at, state.recycled_at) >= LIGHTER_S
        if due and state.lighter + 1 < variants and _grown_most(state, decided=False) is None:
            return msgspec.structs.replace(
                state, lighter=state.lighter + 1, lighter_at=now, calm_since=math.inf, tried=min(state.tried + 1, 5)
            )
        return msgspec.structs.replace(state, calm_since=math.inf)
    since = min(state.calm_since, now)
    if state.lighter and now - since >= CALM_S * 2 ** max(state.tried - 1, 0):
        return msgspec.structs.replace(state, lighter=state.lighter - 1, lighter_at=now, calm_since=now)
    return msgspec.structs.replace(state, calm_since=since)


def _why(usage: Usage, growth: float, budget: int, slowed: bool, at_limit: bool, scarce: bool) -> str:
    parts = [f"{_mib(usage.used_bytes)}, {growth / 2**20:+.2f} MiB/s, budget {_mib(budget)}"]
    if at_limit:
        parts.append("its control group is at memory.max")
    elif slowed:
        parts.append("its control group is above memory.high")
    if scarce:
        parts.append(usage.left())
    if usage.stall_percent is not None and usage.stall_percent >= STALL_PERCENT:
        parts.append(f"{usage.stall_percent:.0f} % of the time something waits for memory")
    elif usage.woken:
        parts.append("systemd says that memory is short ($MEMORY_PRESSURE_WATCH)")
    return "; ".join(parts)


def _mib(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"
