"""Holds a temperature with as much work as the board can carry: a pure function.

    state = begin(unit="int8-300, 4 threads, xnnpack")
    state, action = step(state, plan, heat, now)      # once a second; more often does nothing
    state, action = glance(state, plan, heat, now)    # in between: only what other programs suddenly take
    action.point, action.cameras, action.rate, action.moves

Modelled on the kernel's power allocator (drivers/thermal/gov_power_allocator.c): every PERIOD_S, load = what is
sustainable + k * (target - temperature), with one gain above the target and another below it, an integral that
cannot wind up, and a grant that is divided among the actors. Differences:

* What is sustainable and the gains are not constants of a platform, but learned (`thermal_model`); until then the
  load is cut as if the die answered weakly and added as if it answered strongly.
* The integral is an observer (`observer`): it attributes to the room what the load that really ran does not explain,
  and extrapolates it by AHEAD_S, so that the governor acts before the limit.
* What other programs take of the processor is known before the sensor knows of it (`foreign`), and given up at once:
  where a core can warm the die by more than a degree a second, between two steps (`glance`).
* What was asked a moment ago and has not yet reached the sensor is not asked again (a Smith predictor with the die's
  time constant).
* The load is changed when the temperature foretold leaves a band around the target, not all the time: each change
  is an event. Upwards at most once a dwell and by a part of all the work, downwards at once.

Below the rate comes the ladder (`operating_points`); `climbing` has how a load becomes a rung and a rate.

A sensor that is lost, stuck or nonsense leaves the last load that was safe, less a tenth. Under-voltage and throttling
are believed over temperatures and frequencies: they set a ceiling (`ceiling`) of their own.
"""

from __future__ import annotations

import math

import msgspec

from vigild.budget import ceiling, climbing, foreign, observer, thermal_model, words
from vigild.budget.actions import Move
from vigild.budget.ceiling import Ceiling
from vigild.budget.governor_state import Action, Heat, Plan, State
from vigild.budget.operating_points import changes_place, place
from vigild.budget.sensing import Sensing, judge
from vigild.budget.thermal_model import ThermalModel

__all__ = ["PERIOD_S", "Action", "Heat", "Plan", "State", "begin", "glance", "step"]

PERIOD_S = 1.0
"""A controller that is called faster than its period over-reacts."""
AHEAD_S = 10.0
"""How far the slow part of the temperature is extrapolated: the dwell before work can be added again, about."""
TARGET_BELOW = 0.15
"""°C between the budget and what is aimed at."""
LEAST_BAND, MOST_BAND = 0.35, 0.8
"""°C that the temperature foretold may be beside the target; in between it is BAND_DEVIATIONS of its noise."""
BAND_DEVIATIONS = 2.5
COMING_PART = 0.2
"""Of the heat of what comes and goes, which is not known better: while it does, work is added only beyond that."""
RAISE_PART = 0.34
"""Of all the work, added at a time at the most."""
COLD_PART = 0.05
"""The same where more is foretold to be too much, on a board that is colder than the budget by the hysteresis,"""
SURELY_COLD = 3
"""so many times where the foretelling is well founded."""
UNTRIED_S = 600.0
"""Not again for so long after a climb."""
RAN_S, RAN_PART = 20.0, 0.9
"""A grant that stands for so long and is not used to this part is not what heats."""
BLIND_PART = 0.9
"""Of the last safe load, while the sensor is lost."""
FALLING = 0.005
"""°C/s, from which on a paused board is on its way down: 0.3 °C in a minute."""
BLIND_S = 60.0
"""Before the safe load is taken up again that another sensor was a reason to leave."""
SAFE_S = 60.0
"""In which the safe load may rise from nothing to all: what was run for a moment only is not known to be safe."""


def begin(unit: str, kept: ThermalModel | None = None) -> State:
    """`unit`: the first operating point, in words that name it; `kept`: what was learned in an earlier run."""
    return State(unit=unit, model=kept)


def step(state: State, plan: Plan, heat: Heat, now: float) -> tuple[State, Action]:
    """One round. `now`: monotonic seconds."""
    seconds = now - state.stepped_at
    before = state
    fitted = state = _fit(state, plan, now)
    if before.at is not None and seconds < 0.9 * PERIOD_S:
        state = msgspec.structs.replace(state, at=plan.ladder.rungs[state.rung], limited=_limited(state, plan))
        cause = _cause(state, plan, heat, "")
        return state, _action(state, plan, heat, tuple(_moves(before, fitted, state, plan, cause)), cause)
    seconds = min(seconds, 10.0) if math.isfinite(seconds) else PERIOD_S
    sensing, sensing_moves = judge(state.sensing, heat.celsius, heat.sensor, state.quick_load, _gain(state, plan), now)
    if heat.stand_in is not None:
        # Believed as far as it goes: it is too hot there. Whether it is cool where nobody can look it does not say.
        sensing = msgspec.structs.replace(sensing, celsius=heat.stand_in[1], fresh=True)
    stood_in = heat.stand_in is not None or (state.stood_in and sensing.lost)
    state = msgspec.structs.replace(state, sensing=sensing, stood_in=stood_in, stepped_at=now)
    rung = plan.ladder.rungs[state.rung]
    ran = state.rate * rung.point.cost
    if heat.measured_fps is not None:
        ran = heat.measured_fps * (rung.point.cost if heat.cost is None else heat.cost)
    taken = heat.foreign if math.isfinite(heat.foreign) else state.foreign.load
    others = foreign.follow(state.foreign, taken, plan.ladder.full_load, seconds, now)
    ran_most = max(ran, state.ran_most * math.exp(-seconds / RAN_S))
    state = msgspec.structs.replace(state, foreign=others, ran_most=ran_most)
    state = _follow(state, plan, sensing, ran + taken, seconds)
    limit, why = ceiling.step(state.ceiling, heat.flags, ran, plan.ladder.full_load, plan.dwell, now)
    state = msgspec.structs.replace(state, ceiling=limit)
    state = _decide(state, plan, sensing, limit, now)
    state = msgspec.structs.replace(state, at=plan.ladder.rungs[state.rung], limited=_limited(state, plan))
    moves = list(sensing_moves) if plan.celsius is not None else []
    cause = _cause(state, plan, heat, why)
    moves += _moves(before, fitted, state, plan, cause)
    return state, _action(state, plan, heat, tuple(moves), cause)


def glance(state: State, plan: Plan, heat: Heat, now: float) -> tuple[State, Action]:
    """Between two steps, with the plan of the last one. Of `heat` it looks at `foreign`, of the last half second or so.

    When that has jumped, the rate goes down to what the last step would have made it, had it known; to the floor of the
    rung at the most. All else is left to the step: nothing is raised or learned here, and no rung given up.
    """
    blind = state.observer is None or (state.sensing.lost and not state.sensing.fresh)
    if plan.celsius is None or blind or state.rung >= len(plan.ladder.rungs) or not math.isfinite(heat.foreign):
        return state, _action(state, plan, heat, ())
    before = state
    others = foreign.glance(state.foreign, heat.foreign, plan.ladder.full_load, now)
    if others is not state.foreign:
        state = msgspec.structs.replace(state, foreign=others)
    if others.load <= before.foreign.load:
        return state, _action(state, plan, heat, ())
    rung = plan.ladder.rungs[state.rung]
    load = max(_by_temperature(state, plan, state.load)[0], rung.floor_load)
    if state.load - load < climbing.CHANGE_PART * state.load:
        return state, _action(state, plan, heat, ())
    state = msgspec.structs.replace(state, load=load, rate=rung.rate(load), acted_at=now)
    state = msgspec.structs.replace(state, limited=_limited(state, plan))
    cause = f"other programs take more of the processor; {_cause(state, plan, heat, '')}"
    return state, _action(state, plan, heat, tuple(_moves(before, before, state, plan, cause)), cause)


# ---- following


def _gain(state: State, plan: Plan) -> float:
    """°C within seconds for a reference frame a second, as far as known."""
    if state.belief is not None:
        return state.belief.die_gain
    return thermal_model.DIE_PRIOR[0] / max(plan.ladder.full_load, 1e-6)


def _limited(state: State, plan: Plan) -> bool:
    return state.rung > 0 or state.rate < plan.ladder.rungs[state.rung].full_fps


def _fit(state: State, plan: Plan, now: float) -> State:
    """The state on this ladder: it may have been made anew since the last step."""
    ladder = plan.ladder
    if state.at is None:
        full = ladder.full_load
        return msgspec.structs.replace(state, at=ladder.rungs[0], rung=0, load=full, rate=ladder.rungs[0].rate(full))
    over = plan.celsius is not None and state.sensing.celsius is not None and state.sensing.celsius > plan.celsius
    load = ladder.full_load if not state.limited and not over else state.load
    index = place(ladder, state.at, load)
    rung = ladder.rungs[index]
    acted_at = now if changes_place(ladder, state.at, rung) else state.acted_at
    return msgspec.structs.replace(state, rung=index, load=load, rate=rung.rate(load), acted_at=acted_at)


def _follow(state: State, plan: Plan, sensing: Sensing, ran: float, seconds: float) -> State:
    """Observer and model with what was read."""
    constant = state.belief.die_s if state.belief is not None else 8.0
    quick = ran + (state.quick_load - ran) * math.exp(-seconds / constant)
    state = msgspec.structs.replace(state, quick_load=quick)
    celsius = sensing.celsius
    if celsius is None or not sensing.fresh:
        return state
    full = plan.ladder.full_load
    model, belief = state.model, state.belief
    if model is None or (belief is None and model.unit != state.unit):
        model = thermal_model.begin(state.unit, full, celsius)
    elif belief is None:
        model = thermal_model.resume(model, state.unit, full, celsius)
    learned = model if sensing.lost else thermal_model.learn(model, celsius, ran, seconds)
    belief = thermal_model.believe(learned)
    gain = belief.die_gain
    if state.observer is None:
        watched = observer.begin(celsius, gain * quick)
    else:
        # What the gain is now said to be must not look like a change of the room.
        old = _gain(state, plan)
        watched = msgspec.structs.replace(state.observer, slow=state.observer.slow + (old - gain) * state.quick_load)
        watched = observer.follow(watched, celsius, gain * quick, seconds)
    return msgspec.structs.replace(state, model=learned, belief=belief, observer=watched)


# ---- deciding


def _decide(state: State, plan: Plan, sensing: Sensing, limit: Ceiling, now: float) -> State:
    full = plan.ladder.full_load
    most = min(limit.load, full)
    if plan.most_fps is not None:
        most = min(most, plan.most_fps * plan.ladder.rungs[state.rung].point.cost)
    rested = now - state.acted_at >= plan.dwell
    lower, upper = most, most
    too_hot = blind = False
    if plan.celsius is not None:
        blind = (sensing.lost and not sensing.fresh) or state.observer is None
        if blind:
            # The rate is given up and no more than that: what a rung down would bring cannot be seen. What was taken
            # because of another sensor comes back.
            safe = max(state.safe_load * BLIND_PART, plan.ladder.rungs[state.rung].floor_load)
            lower, upper = min(most, safe), min(most, safe, math.inf if state.stood_in else state.load)
        else:
            lower, upper, too_hot = _by_temperature(state, plan, most)
            state = _remember_safe(state, plan)
    down = state.load > lower
    if down:
        return climbing.cut(state, plan, lower, too_hot, now)
    state = msgspec.structs.replace(state, pressed=0)
    if too_hot and _nothing_left(state, plan, now):
        return msgspec.structs.replace(state, held=False)
    cool = plan.celsius is None or (sensing.celsius is not None and sensing.celsius < plan.celsius - MOST_BAND)
    held = state.held or cool  # not at each reading that noise takes below the budget
    if blind:
        rested = rested and state.stood_in and now - state.acted_at >= BLIND_S
    if rested and not too_hot and (sensing.fresh or plan.celsius is None or blind):
        state = climbing.add(state, plan, upper, now)
    return msgspec.structs.replace(state, held=held)


def _nothing_left(state: State, plan: Plan, now: float) -> bool:
    """On the last rung, at its least, and no cooler for it: a pause takes a while until it shows."""
    rung = plan.ladder.rungs[-1]
    assert state.observer is not None
    falls = state.observer.celsius_slope < -FALLING
    least = state.rung + 1 == len(plan.ladder.rungs) and state.load <= rung.floor_load
    return least and now - state.acted_at >= SAFE_S and not falls


def _by_temperature(state: State, plan: Plan, most: float) -> tuple[float, float, bool]:
    """(load to cut to if it is above it, load to raise to if it is below it, over the budget)."""
    seen, belief = state.observer, state.belief
    assert seen is not None and belief is not None and plan.celsius is not None
    target = plan.celsius - TARGET_BELOW
    # A slope within its noise is none.
    slope_noise = observer.SLOPE_NOISE * seen.noise
    slope = math.copysign(max(abs(seen.slope) - slope_noise, 0.0), seen.slope)
    slow = seen.slow + slope * AHEAD_S + seen.coming
    band = min(max(BAND_DEVIATIONS * observer.LEVEL_NOISE * seen.noise, LEAST_BAND), MOST_BAND)
    full = max(plan.ladder.full_load, 1e-6)
    deviation = min(belief.die_deviation, belief.die_gain)
    weak = max(belief.die_gain - deviation / 2, 1.0 / full)
    strong = belief.die_gain + deviation
    # The load may be more than the rung can use: what a rung above could (`climbing.add`) heats nothing yet.
    used = min(state.load, plan.ladder.rungs[state.rung].full_load)
    if state.limited and state.stepped_at - state.acted_at >= RAN_S and state.ran_most < RAN_PART * used:
        used = state.ran_most  # nor does what was granted and is not taken
    foretold = slow + belief.die_gain * (used + state.foreign.load)
    with_more = foretold + belief.die_gain * (state.load - used)
    over = state.sensing.celsius is not None and state.sensing.celsius > plan.celsius
    coming = state.foreign.load if state.stepped_at < state.foreign.restless_until else 0.0
    lower, upper = math.inf, state.load
    if foretold > target + band:
        lower = used + (target - foretold) / weak
    elif with_more < target - max(band, COMING_PART * belief.die_gain * coming) and not over:
        upper = state.load + min((target - with_more) / strong, RAISE_PART * full)
    if not coming and not over and _untried(state, plan) and seen.celsius + max(slope, 0.0) * AHEAD_S < target:
        # What was learned forbids it and the board does not: a little, and it will be seen.
        lower, upper = math.inf, max(upper, state.load + COLD_PART * full)
    return min(max(lower, 0.0), most), min(upper, most), over


def _untried(state: State, plan: Plan) -> bool:
    """Whether it may be no more than a wrong belief that forbids more work: a climb is what would correct it."""
    assert state.belief is not None and state.observer is not None and plan.celsius is not None
    cold = (SURELY_COLD if state.belief.sure else 1) * plan.hysteresis
    return state.observer.celsius < plan.celsius - cold and state.stepped_at - state.climbed_at >= UNTRIED_S


def _remember_safe(state: State, plan: Plan) -> State:
    """What runs while the temperature is not over the budget is safe, once it has run for a while."""
    assert plan.celsius is not None and state.observer is not None
    if state.observer.celsius > plan.celsius or state.sensing.lost:
        return state
    rise = plan.ladder.full_load * PERIOD_S / SAFE_S
    return msgspec.structs.replace(state, safe_load=min(state.load, state.safe_load + rise))


# ---- telling


def _cause(state: State, plan: Plan, heat: Heat, flags: str) -> str:
    if flags:
        return flags
    if plan.celsius is None:
        return "no temperature budget"
    if heat.stand_in is not None:
        sensor, celsius = heat.stand_in
        return f"{sensor} {celsius:.1f} °C, budget {plan.celsius:g} °C, and {heat.sensor} cannot be read"
    if state.sensing.lost or state.observer is None:
        return f"{heat.sensor} cannot be read; the last safe load, less a tenth"
    return words.temperature(heat.sensor, state.observer.celsius, state.observer.celsius_slope, plan.celsius)


def _moves(before: State, fitted: State, after: State, plan: Plan, cause: str) -> list[Move]:
    """`before`: on the ladder of the last step; `fitted`: in the same place of this one."""
    ladder = plan.ladder
    moves: list[Move] = []
    old, new = before.at or ladder.rungs[0], ladder.rungs[after.rung]
    rates = words.rates(fitted.rate, after.rate)
    if changes_place(ladder, old, new):
        moved = after.rung - fitted.rung
        down = moved > 0 if moved else new.point.cost < old.point.cost or len(new.without) > len(old.without)
        change = words.rung_change(ladder, old, new)
        if abs(after.rate - fitted.rate) > climbing.CHANGE_PART * fitted.rate:
            change = f"{change}, {rates}"
        reason = f"{change}: {cause if moved or not plan.refit else plan.refit}"
        moves.append(Move(kind="step_down" if down else "step_up", reason=reason))
    elif round(after.rate, 1) != round(fitted.rate, 1):
        moves.append(Move(kind="rate_cut" if after.rate < fitted.rate else "rate_raised", reason=f"{rates}: {cause}"))
    elif before.limited and not after.limited:
        reason = f"all of it again, {after.rate:.1f} fps are all there is: {cause}"
        moves.append(Move(kind="rate_raised", reason=reason))
    if before.held != after.held:
        if after.held:
            moves.append(Move(kind="held_again", reason=f"the budget is held again: {cause}"))
        else:
            moves.append(
                Move(kind="not_held", reason=f"nothing is left that may be given up, and it is too hot: {cause}")
            )
    return moves


def _action(state: State, plan: Plan, heat: Heat, moves: tuple[Move, ...], cause: str = "") -> Action:
    rung = plan.ladder.rungs[state.rung]
    limited = _limited(state, plan)
    degraded = ""
    if limited or plan.wanted is not None:
        cause = "; ".join(filter(None, [plan.because, (cause or _cause(state, plan, heat, "")) if limited else ""]))
        degraded = f"{words.given_up(plan.wanted or plan.ladder.rungs[0], rung, state.rate)}: {cause}"
    return Action(
        point=rung.point, cameras=rung.cameras, rate=state.rate, limited=limited, moves=moves, degraded=degraded
    )
