"""Learns how this board warms: two thermal nodes, from the load that ran and what the sensor answered.

    model = begin("int8-300 on 4 threads", full_load=18.0, celsius=45.0)
    model = learn(model, celsius=61.2, load=17.4, seconds=1.0)
    belief = believe(model)
    belief.die_gain, belief.board_gain, belief.rest    # °C per reference frame a second, twice; °C without work
    sustained(belief, 75.0)                            # (14.2, 0.8): reference frames a second for ever, and how sure

The reading is rest + die_gain * D(load) + board_gain * B(load), where D and B are first-order lags of seconds and of
minutes: the parallel form of two resistances and two capacities in a row. Recursive least squares (Kalman filters
whose gains hardly wander), one for each time constant of two short grids; the time constant is the one that foretold
best, older forecasts forgotten.

A governor that works hides what it works against: a room that warms while the load is taken back looks like a board
that does not answer. So each gain is learned only while something moves it. The die's from what remains of load and
reading after their means of the last minute are taken away; the board's while the load is far from what the board has
settled to. In between only `rest` follows. Pure, and cheap: four filters a reading, five every SAMPLE_S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

DIE_S = (3.0, 5.0, 8.0, 13.0)
"""Time constants of the die with its sensor that are considered, seconds."""
BOARD_S = (90.0, 180.0, 360.0, 720.0, 1440.0)
"""Of the board with its heat sink and case. Published curves lie in between (see tests/simboard)."""
SAMPLE_S = 5.0
"""Of the slow filters."""

DIE_PRIOR = (15.0, 10.0)
"""°C that all the work adds within seconds, and its deviation, before anything is learned: a careful guess. Package
and die of a Pi 4 differ by 14 °C under four busy cores."""
BOARD_PRIOR = (30.0, 20.0)
"""The same within minutes."""
REST_DEVIATION = 20.0
"""°C."""
MOST_CELSIUS = 100.0
"""What all the work can add in one of the two ways: bounds what is learned from nonsense."""

HIGH_PASS_S = 30.0
"""Of the means that the quick filters take away."""
DIE_MOVED, BOARD_MOVED = 0.1, 0.1
"""Part of all the work by which the load must differ from its mean, or from what the board has settled to."""
SETTLED = 0.04
"""Part of all the work within which the die has followed the load."""
OFFSET_VARIANCE = 0.03**2
"""°C² a second by which what is slow wanders against its mean of the last minute."""
ROOM_VARIANCE = 1.0 / 3600
"""°C² a second by which the temperature at rest wanders: 1 °C in an hour. More, and a slow board is taken for
a quick one in a warming room."""
GAIN_VARIANCE = 0.1**2 / 3600
"""Part² a second by which gains wander: a tenth in an hour (dust, a case that was opened)."""
READING_VARIANCE = 0.1
"""°C²: noise and steps of a sensor."""
NOISE = math.sqrt(READING_VARIANCE)
NEWS = 4.0
"""A surprise of so many deviations is not this work's doing: another program, a fan."""
NEWS_S = 20.0
"""For so long after it no gain is learned."""
MEMORY = 0.998
"""Of the scores, each learned sample."""
ENOUGH = 60
"""Learned samples, from which on a deviation can be relied upon."""


class _Candidate(Protocol):
    """What both kinds have."""

    @property
    def constant(self) -> float: ...
    @property
    def lagged(self) -> float: ...
    @property
    def gain(self) -> float: ...
    @property
    def p11(self) -> float: ...
    @property
    def score(self) -> float: ...


class Quick(msgspec.Struct, frozen=True):
    """One candidate for the die's time constant."""

    constant: float
    lagged: float = 0.0
    """D(load)."""
    mean: float = 0.0
    """Of D, over the last minute."""
    offset: float = 0.0
    gain: float = 0.0
    p00: float = 1.0
    p01: float = 0.0
    p11: float = 0.0
    score: float = 0.0


class Slow(msgspec.Struct, frozen=True):
    """One candidate for the board's."""

    constant: float
    lagged: float = 0.0
    """B(load)."""
    rest: float = 0.0
    gain: float = 0.0
    p00: float = REST_DEVIATION**2
    p01: float = 0.0
    p11: float = 0.0
    score: float = 0.0


class ThermalModel(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known; kept in the state folder between runs."""

    unit: str
    """What a reference frame is: a model of another unit says nothing here."""
    full_load: float
    """What "all the work" is, reference frames a second."""
    quick: tuple[Quick, ...]
    slow: tuple[Slow, ...]
    celsius: float
    """Mean of the reading over the last minute."""
    quick_samples: int = 0
    slow_samples: int = 0
    """From which gains were learned."""
    news_s: float = 0.0
    """What is left of NEWS_S."""
    seconds: float = 0.0
    celsius_sum: float = 0.0
    load_sum: float = 0.0
    """Since the last round of the slow filters."""


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What the model comes to, with standard deviations."""

    rest: float
    """°C that the sensor would show without any of this work, here and now: the room and the idle board."""
    die_gain: float
    """°C within seconds for a reference frame a second: thermal resistance by power."""
    die_deviation: float
    board_gain: float
    """°C within minutes."""
    board_deviation: float
    die_s: float
    board_s: float
    load: float
    board_load: float
    """What die and board have settled to: the nearer to it, the surer is what is foretold."""
    sure: bool
    """Both gains are known to a third of their sum."""

    @property
    def gain(self) -> float:
        """°C for ever for a reference frame a second."""
        return self.die_gain + self.board_gain


def begin(unit: str, full_load: float, celsius: float) -> ThermalModel:
    """Nothing learned yet; `celsius`: the first reading."""
    per = max(full_load, 1e-6)
    quick = tuple(Quick(s, gain=DIE_PRIOR[0] / per, p11=(DIE_PRIOR[1] / per) ** 2) for s in DIE_S)
    slow = tuple(Slow(s, rest=celsius, gain=BOARD_PRIOR[0] / per, p11=(BOARD_PRIOR[1] / per) ** 2) for s in BOARD_S)
    return ThermalModel(unit=unit, full_load=per, quick=quick, slow=slow, celsius=celsius)


def resume(kept: ThermalModel, unit: str, full_load: float, celsius: float) -> ThermalModel:
    """What was kept, for a new run: gains hold on, the temperature at rest is found anew. Of another unit, or not
    sane: nothing of it."""
    fresh = begin(unit, full_load, celsius)
    if kept.unit != unit or not _sane(kept):
        return fresh
    most = MOST_CELSIUS / fresh.full_load
    quick = tuple(
        msgspec.structs.replace(new, gain=min(old.gain, most), p11=min(2 * old.p11, new.p11), score=old.score)
        for old, new in zip(kept.quick, fresh.quick, strict=True)
    )
    slow = tuple(
        # Less sure than before: what stands around the board may have changed while nobody looked.
        msgspec.structs.replace(
            new, gain=min(old.gain, most), p11=min(2 * old.p11 + (0.1 * old.gain) ** 2, new.p11), score=old.score
        )
        for old, new in zip(kept.slow, fresh.slow, strict=True)
    )
    return msgspec.structs.replace(
        fresh, quick=quick, slow=slow, quick_samples=kept.quick_samples, slow_samples=kept.slow_samples
    )


def _sane(model: ThermalModel) -> bool:
    def fine(gain: float, variance: float, score: float) -> bool:
        return all(map(math.isfinite, (gain, variance, score))) and gain > 0 and variance >= 0

    return (
        tuple(cell.constant for cell in model.quick) == DIE_S
        and tuple(cell.constant for cell in model.slow) == BOARD_S
        and all(fine(cell.gain, cell.p11, cell.score) for cell in model.quick)
        and all(fine(cell.gain, cell.p11, cell.score) for cell in model.slow)
    )


def learn(model: ThermalModel, celsius: float, load: float, seconds: float) -> ThermalModel:
    """One more reading and the load of the `seconds` before it."""
    quick, moved, news_s = _learn_quick(model, celsius, load, seconds)
    share = 1 - math.exp(-seconds / HIGH_PASS_S)
    total = model.seconds + seconds
    celsius_sum, load_sum = model.celsius_sum + celsius * seconds, model.load_sum + load * seconds
    slow, slow_samples = model.slow, model.slow_samples
    if total >= SAMPLE_S:
        best = max(quick, key=lambda cell: cell.score)
        # The die follows within seconds: over a sample its mean is that of the load, once that is steady.
        warmed = celsius_sum / total - best.gain * (best.lagged + load_sum / total) / 2
        calm = news_s <= 0 and abs(best.lagged - load_sum / total) < SETTLED * model.full_load
        slow, learned = _learn_slow(model, warmed, load_sum / total, total, calm)
        slow_samples = min(slow_samples + learned, 10**6)
        total = celsius_sum = load_sum = 0.0
    return ThermalModel(
        unit=model.unit,
        full_load=model.full_load,
        quick=quick,
        slow=slow,
        celsius=model.celsius + share * (celsius - model.celsius),
        quick_samples=min(model.quick_samples + moved, 10**6),
        slow_samples=slow_samples,
        news_s=news_s,
        seconds=total,
        celsius_sum=celsius_sum,
        load_sum=load_sum,
    )


def _learn_quick(
    model: ThermalModel, celsius: float, load: float, seconds: float
) -> tuple[tuple[Quick, ...], bool, float]:
    """(the filters, whether gains were learned, what is left of the news)."""
    best = max(model.quick, key=lambda cell: cell.score)
    most, least = MOST_CELSIUS / model.full_load, 0.5 / model.full_load
    high = celsius - model.celsius
    ahead = [load + (cell.lagged - load) * math.exp(-seconds / cell.constant) for cell in model.quick]
    at = model.quick.index(best)
    x = ahead[at] - best.mean
    spread = best.p00 + 2 * best.p01 * x + best.p11 * x * x + READING_VARIANCE
    surprise = high - best.offset - best.gain * x
    # While the die follows more work, or less, and does not go the other way, that is this work's doing, however far
    # from what was thought. (Left out as news it would only be learned from the end of it, as ever smaller.)
    still = load - best.lagged
    answer = surprise + best.gain * (x - best.lagged + best.mean)
    ours = abs(still) > DIE_MOVED * model.full_load and answer * math.copysign(1, still) > -NOISE
    news = surprise * surprise > NEWS * NEWS * max(spread, READING_VARIANCE) and not ours
    news_s = NEWS_S if news else max(model.news_s - seconds, 0.0)
    moved = news_s <= 0 and abs(x) > DIE_MOVED * model.full_load
    share = 1 - math.exp(-seconds / HIGH_PASS_S)
    cells = []
    for cell, lagged in zip(model.quick, ahead, strict=True):
        x = lagged - cell.mean
        p00 = cell.p00 + OFFSET_VARIANCE * seconds * (1 if news_s <= 0 else 25)
        p01, p11 = cell.p01, cell.p11 + GAIN_VARIANCE * seconds * cell.gain**2
        surprise = high - cell.offset - cell.gain * x
        gain, score = cell.gain, cell.score
        if moved:
            h0, h1 = p00 + p01 * x, p01 + p11 * x
            spread = max(h0 + h1 * x, 0.0) + READING_VARIANCE
            k0, k1 = h0 / spread, h1 / spread
            gain = min(max(gain + k1 * surprise, least), most)
            score = MEMORY * score - 0.5 * (min(surprise * surprise / spread, 9.0) + math.log(spread))
            p00, p01, p11 = p00 - k0 * h0, p01 - k0 * h1, p11 - k1 * h1
        else:
            # As if the gain were known: only what is slow follows.
            k0 = p00 / (p00 + READING_VARIANCE)
            p00, p01 = p00 * (1 - k0), p01 * (1 - k0)
        p00, p01, p11 = _sound(p00, p01, p11, (0.01 * gain) ** 2, most * most)
        cells.append(
            Quick(
                cell.constant,
                lagged,
                cell.mean + share * (lagged - cell.mean),
                cell.offset + k0 * surprise,
                gain,
                p00,
                p01,
                p11,
                score,
            )
        )
    top = max(cell.score for cell in cells)
    return tuple(msgspec.structs.replace(cell, score=max(cell.score - top, -50.0)) for cell in cells), moved, news_s


def _learn_slow(
    model: ThermalModel, warmed: float, load: float, seconds: float, calm: bool
) -> tuple[tuple[Slow, ...], bool]:
    """`warmed`: the reading without the die's part. (The filters, whether gains were learned.)"""
    best = max(model.slow, key=lambda cell: cell.score)
    most, least = MOST_CELSIUS / model.full_load, 0.5 / model.full_load
    moved = calm and abs(best.lagged - load) > BOARD_MOVED * model.full_load
    cells = []
    for cell in model.slow:
        after = load + (cell.lagged - load) * math.exp(-seconds / cell.constant)
        x = (cell.lagged + after) / 2
        p00, p01 = cell.p00 + ROOM_VARIANCE * seconds, cell.p01
        p11 = cell.p11 + GAIN_VARIANCE * seconds * cell.gain**2
        h0, h1 = p00 + p01 * x, p01 + p11 * x
        spread = max(h0 + h1 * x, 0.0) + READING_VARIANCE / 2
        surprise = warmed - cell.rest - cell.gain * x
        if moved:
            k0, k1 = h0 / spread, h1 / spread
            gain = min(max(cell.gain + k1 * surprise, least), most)
            score = MEMORY * cell.score - 0.5 * (min(surprise * surprise / spread, 9.0) + math.log(spread))
            rest = cell.rest + k0 * surprise
            p00, p01, p11 = p00 - k0 * h0, p01 - k0 * h1, p11 - k1 * h1
        else:
            # Only the room moves: a fifth of the surprise a sample.
            rest, gain, score = cell.rest + 0.2 * surprise, cell.gain, cell.score
        p00, p01, p11 = _sound(min(p00, REST_DEVIATION**2), p01, p11, (0.02 * gain) ** 2, most * most)
        cell = Slow(cell.constant, after, rest, gain, p00, p01, p11, score)
        cells.append(cell)
    top = max(cell.score for cell in cells)
    return tuple(msgspec.structs.replace(cell, score=max(cell.score - top, -50.0)) for cell in cells), moved


def _sound(p00: float, p01: float, p11: float, least: float, most: float) -> tuple[float, float, float]:
    """A covariance that is one, whatever rounding and bounds did to it; `least`, `most`: of the gain's variance."""
    p00, p11 = max(p00, 1e-6), min(max(p11, least), most)
    limit = 0.99 * math.sqrt(p00 * p11)
    return p00, min(max(p01, -limit), limit), p11


def believe(model: ThermalModel) -> Belief:
    """The candidates together, by their weights."""
    die_gain, die_deviation, die_s, load = _together(model.quick)
    board_gain, board_deviation, board_s, board_load = _together(model.slow)
    best = max(model.slow, key=lambda cell: cell.score)
    gain = die_gain + board_gain
    return Belief(
        rest=best.rest + best.gain * best.lagged - board_gain * board_load,
        die_gain=die_gain,
        die_deviation=die_deviation,
        board_gain=board_gain,
        board_deviation=board_deviation,
        die_s=die_s,
        board_s=board_s,
        load=load,
        board_load=board_load,
        sure=min(model.quick_samples, model.slow_samples) >= ENOUGH and die_deviation + board_deviation < gain / 3,
    )


def _together(cells: Sequence[_Candidate]) -> tuple[float, float, float, float]:
    """(gain, its deviation, time constant, lagged load)."""
    whole = sum(math.exp(cell.score) for cell in cells)
    gain = constant = lagged = variance = 0.0
    for cell in cells:
        weight = math.exp(cell.score) / whole
        gain += weight * cell.gain
        constant += weight * math.log(cell.constant)
        lagged += weight * cell.lagged
    for cell in cells:
        variance += math.exp(cell.score) / whole * (cell.p11 + (cell.gain - gain) ** 2)
    return gain, math.sqrt(variance), math.exp(constant), lagged


def sustained(belief: Belief, celsius: float, cooler_by: float = 0.0) -> tuple[float, float]:
    """(load, deviation): reference frames a second that hold `celsius` for ever, at this ambient temperature, or
    with a fan or a room that takes `cooler_by` °C off."""
    load = max((celsius - belief.rest + cooler_by) / belief.gain, 0.0)
    quick = (load - belief.load) * belief.die_deviation
    slow = (load - belief.board_load) * belief.board_deviation
    return load, math.sqrt(quick * quick + slow * slow + READING_VARIANCE) / belief.gain


def describe(
    belief: Belief,
    celsius: float,
    cost: float,
    what: str,
    full_fps: float,
    foreign: float = 0.0,
    fan_celsius: float = 20.0,
) -> str:
    """For people: "14.2 ± 0.4 fps of int8-256 on 2 threads; with a fan that took 20 °C off: 30.0".

    `cost`, `what`, `full_fps`: of the operating point that is told of. `foreign`: what other programs take of the load.
    """
    load, deviation = sustained(belief, celsius)
    load = max(load - foreign, 0.0)
    text = f"{min(load / cost, full_fps):.1f} ± {deviation / cost:.1f} fps of {what}"
    if load / cost >= full_fps:
        text += " (all that is wanted)"
    else:
        fan = max(sustained(belief, celsius, fan_celsius)[0] - foreign, 0.0)
        text += f"; with a fan that took {fan_celsius:g} °C off: {min(fan / cost, full_fps):.1f}"
    return text if belief.sure else f"{text} (not learned well yet)"
