"""Down and up the ladder: which rung, and which rate on it, a load becomes. Pure.

    state = cut(state, plan, load, too_hot, now)
    state = add(state, plan, load, now)

One rung at a time: down when even the floor of a stage is too much, up when the floor of the stage above fits with
MARGIN to spare; rungs that differ by threads alone are chosen by what the load buys on them. A climb that had to be
taken back waits twice as long the next time, unless the temperature has fallen by the hysteresis meanwhile.
"""

from __future__ import annotations

import msgspec

from vigild.budget import thermal_model
from vigild.budget.governor_state import Plan, State
from vigild.budget.operating_points import Rung

CHANGE_PART = 0.02
"""A change of less than this part of the load is not worth an event."""
PRESSED_STEPS, HASTY_STEPS, PRESSED_CELSIUS = 4, 2, 0.5
"""A stage is given up after so many steps in which its floor was too much; after fewer so far above the budget."""
MARGIN = 1.15
"""A stage is climbed to when its floor times this fits."""
SIBLING_GAIN = 1.06
"""Threads change when that buys at least so many frames more."""
SIBLING_S = 180.0
"""Before threads come back that were given up: each change is a takeover, and what it wins is a few per cent."""
SIBLING_MUCH = 1.2
"""What it wins when it is not to wait."""
MOST_CLIMB_WAIT_S = 300.0
CLIMB_MEMORY_S = 300.0
"""A climb that is taken back within this was one too many."""


def cut(state: State, plan: Plan, load: float, too_hot: bool, now: float) -> State:
    """Down to `load`: the rate first, then at most one rung."""
    rungs = plan.ladder.rungs
    rung = rungs[state.rung]
    index = state.rung
    stage = plan.ladder.stage(rung.stage)
    best = _sibling(rungs, stage, index, load)
    pressed = 0
    if load < rungs[best].floor_load * (1 - CHANGE_PART):
        # Even the least of this stage is too much: the stage below, but not for a gust.
        pressed = state.pressed + 1
        if index + 1 < len(rungs) and pressed >= (HASTY_STEPS if _far_over(state, plan) else PRESSED_STEPS):
            index, pressed = index + 1, 0
    elif best > index:
        index = best
    state = msgspec.structs.replace(state, pressed=pressed)
    new = rungs[index]
    load = max(load, new.floor_load)
    if index == state.rung and (state.load - load) < CHANGE_PART * state.load:
        # Nothing left to give up on this rung.
        held = state.held and not (too_hot and load >= state.load and index + 1 == len(rungs))
        return msgspec.structs.replace(state, held=held)
    load = min(load, state.load)
    wait, after = state.climb_wait, state.climb_after
    if new.stage > rung.stage:
        early = now - state.climbed_at < CLIMB_MEMORY_S
        wait = min(max(2 * wait, 2 * plan.dwell), MOST_CLIMB_WAIT_S) if early else 0.0
        after = now + wait
    return msgspec.structs.replace(
        state, rung=index, load=load, rate=new.rate(load), acted_at=now, climb_wait=wait, climb_after=after, held=True,
        threads_at=now if index != state.rung and new.stage == rung.stage else state.threads_at,
    )  # fmt: skip


def add(state: State, plan: Plan, load: float, now: float) -> State:
    """Up to `load`, at most one rung."""
    rungs = plan.ladder.rungs
    rung = rungs[state.rung]
    index, climbed = state.rung, state.climbed_at
    above = plan.ladder.stage(rung.stage - 1) if rung.stage > 0 else range(0)
    # On the highest rate of a stage the load may be thought of as what the floor above needs, or it would never fit.
    if above:
        target = min(above, key=lambda at: rungs[at].floor_load)
        need = rungs[target].floor_load * MARGIN
        patient = now >= state.climb_after or _cooled(state, plan)
        if load >= min(need, rungs[target].full_load) and patient and _would_hold(state, plan, rungs[target]):
            index, climbed = target, now
    if index == state.rung:
        best = _sibling(rungs, plan.ladder.stage(rung.stage), index, load)
        waited = now - state.threads_at >= SIBLING_S
        if best > index or waited or rungs[best].rate(load) >= rung.rate(load) * SIBLING_MUCH:
            index = best
    new = rungs[index]
    rate = new.rate(load)
    grown = rate * new.point.cost - state.rate * rung.point.cost
    all_there = rate >= new.full_fps and state.rate < rung.full_fps
    if index == state.rung and grown < CHANGE_PART * max(load, 1e-9) and not (all_there and grown > 0):
        # Believed, not acted upon: more than this rung can use, for a sibling that can or the climb to the next.
        most_here = max(rungs[at].full_load for at in plan.ladder.stage(rung.stage))
        ceiling_load = max(most_here, min((rungs[at].floor_load * MARGIN for at in above), default=0.0))
        believed = min(max(load, state.load), ceiling_load) if rung.rate(load) >= rung.full_fps else state.load
        return msgspec.structs.replace(state, load=believed, rate=rung.rate(believed), held=True)
    threads_at = now if index != state.rung and new.stage == rung.stage else state.threads_at
    return msgspec.structs.replace(
        state, rung=index, load=load, rate=rate, acted_at=now, climbed_at=climbed, threads_at=threads_at, held=True
    )


def _sibling(rungs: tuple[Rung, ...], stage: range, index: int, load: float) -> int:
    """The rung of the stage on which `load` buys most; the present one unless another buys SIBLING_GAIN times as much,
    and of those that buy nearly the same the one with the most threads."""
    bought = {at: rungs[at].rate(load) if load >= rungs[at].floor_load else load / rungs[at].point.cost for at in stage}
    most = max(bought.values())
    if bought.get(index, 0.0) * SIBLING_GAIN >= most:
        higher = [at for at in stage if at < index and bought[at] >= most * 0.999]
        # Threads come back as soon as all of them buy as many frames: then they only make answers faster.
        for at in higher[:1]:
            if load >= rungs[at].full_load or rungs[at].rate(load / 1.03) >= most * 0.999:
                return at
        return index
    return next(at for at in stage if bought[at] * SIBLING_GAIN >= most)


def _far_over(state: State, plan: Plan) -> bool:
    return (
        plan.celsius is not None
        and state.observer is not None
        and not state.sensing.lost
        and state.observer.celsius > plan.celsius + PRESSED_CELSIUS
    )


def _cooled(state: State, plan: Plan) -> bool:
    """Cold enough that an earlier failure to climb says nothing any more."""
    if plan.celsius is None or state.observer is None:
        return True
    return state.observer.celsius < plan.celsius - plan.hysteresis


def _would_hold(state: State, plan: Plan, rung: Rung) -> bool:
    """Whether the model, where it is sure, says that the floor of a rung can be kept for ever."""
    belief = state.belief
    if plan.celsius is None or belief is None or not belief.sure or _cooled(state, plan):
        return True
    load, deviation = thermal_model.sustained(belief, plan.celsius)
    return load - state.foreign.load + deviation >= rung.floor_load
