"""The two thermal nodes of a board, found at once from a whole course of load: what `vigild tune --sustained` measured.

    fitted = fit([Sample(1.0, 61.2, 17.4), ...], steady)    # None: nothing can be said
    fitted.load(75.0)                       # (14.2, 0.4): reference frames a second that hold 75 °C, and how sure
    model = as_model(fitted, "int8-300, 4 threads, xnnpack", 18.0, 68.0, None)

`thermal_model` learns while it runs and keeps nothing of the past, so it has to guess which time constant is the right
one while the board still warms. Here the past is there: the same two first-order lags, ordinary least squares for
rest, both gains and what work before the course left behind, with time constants on a fine grid, refined by search.
What holds for ever is then told from where the board really stood still (`steady`): a board that is not quite of two
nodes is best believed there. Pure, and without NumPy: half a second on a PC.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vigild.budget.thermal_model import (
    BOARD_PRIOR,
    BOARD_S,
    DIE_PRIOR,
    DIE_S,
    ENOUGH,
    MOST_CELSIUS,
    READING_VARIANCE,
    Quick,
    Slow,
    ThermalModel,
)

BIN_S = 4.0
"""Readings and lags are averaged over so long; a lag is linear, so nothing is lost but noise."""
DIE_GRID = tuple(1.5 * 1.35**index for index in range(9))
"""1.5 to 17 s: more than what is considered while learning, since a sensor lags too."""
BOARD_GRID = tuple(40.0 * 1.3**index for index in range(17))
"""40 s to 45 min."""
LEAST_BINS = 20
CORRELATED_S = 60.0
"""Residuals within so long count as one: what the two nodes lack (a room, a third node) is slow, not white."""
LEAST_RESIDUAL = 0.15
"""°C: noise and steps of a sensor (thermal_model.READING_VARIANCE) averaged over a bin; fewer are luck."""
REFINED = (1.1, 1.05, 1.025, 1.012)
"""Factors by which time constants are tried beside the best of the grid, twice."""
BEFORE_CELSIUS = 10.0
"""Warmth of work before the course, such as measuring the settings: its deviation, before anything is known of it."""
BLOCKS = 6
"""Parts of the course that are left out, one after the other, to see what the answer hangs on."""
LIKELY = 1e-3
"""Pairs of time constants that are less likely than this, against the best, do not count for the deviation."""


class Sample(NamedTuple):
    """What was read, and what ran since the sample before."""

    seconds: float
    celsius: float | None
    """None: the sensor gave nothing this time."""
    load: float
    """Reference frames a second."""


class Pair(NamedTuple):
    """Least squares for one pair of time constants."""

    rest: float
    die: float
    board: float
    before: float
    """°C of work before the course, which the board still held at its beginning."""
    rss: float
    """Sum of squared residuals, °C²."""
    inverse: tuple[float, float, float, float, float, float]
    """Of the normal matrix: rest², rest·die, rest·board, die², die·board, board²."""

    @property
    def gain(self) -> float:
        return self.die + self.board

    def at(self, load: float) -> float:
        """°C with this load for ever."""
        return self.rest + self.gain * load

    def spread(self, load: float) -> float:
        """Variance of the temperature foretold for `load`, by that of a residual."""
        rr, rd, rb, dd, db, bb = self.inverse
        return rr + 2 * load * (rd + rb) + load * load * (dd + 2 * db + bb)


class Fit(NamedTuple):
    """One board. °C, seconds, and reference frames a second."""

    rest: float
    """Without this work, in the room as it was while the board stood still."""
    die_gain: float
    board_gain: float
    die_s: float
    board_s: float
    drift: float
    """°C by which the temperature at rest moved from there to the end of the course: the room, or another program."""
    residual: float
    """Standard deviation of what is left unexplained."""
    pairs: tuple[tuple[float, Pair], ...]
    """What else is likely, with weights that sum to 1."""
    others: tuple[Pair, ...]
    """What comes out without one part of the course and another: alike where the board is of two nodes in a room that
    stays as it is, and far apart where not."""
    die_scores: tuple[float, ...]
    board_scores: tuple[float, ...]
    """Log likelihoods of DIE_S and BOARD_S, the best 0."""

    @property
    def gain(self) -> float:
        return self.die_gain + self.board_gain

    def load(self, celsius: float) -> tuple[float, float]:
        """(load, deviation): what holds `celsius` for ever at this ambient temperature."""
        load = (celsius - self.rest) / self.gain
        moved = sum(weight * (pair.at(load) - self._at(load)) ** 2 for weight, pair in self.pairs)
        spread = sum(weight * pair.spread(load) for weight, pair in self.pairs)
        noise = self.residual**2 * spread * CORRELATED_S / BIN_S + READING_VARIANCE
        # A room that moved has moved the answer: by how much of it nobody knows.
        variance = noise + moved + self._jackknife(load) + (self.drift / 2) ** 2
        return max(load, 0.0), math.sqrt(variance) / self.gain

    def _jackknife(self, load: float) -> float:
        """Variance by what is left when a part of the course is left out (Quenouille, Tukey)."""
        count = len(self.others)
        if count < 2:
            return 0.0
        return (count - 1) / count * sum((pair.at(load) - self._at(load)) ** 2 for pair in self.others)

    def _at(self, load: float) -> float:
        return max(self.pairs, key=lambda pair: pair[0])[1].at(load)

    @property
    def deviations(self) -> tuple[float, float]:
        """Of the die's gain and of the board's."""
        scale, count = self.residual**2 * CORRELATED_S / BIN_S, len(self.others)
        die = sum(weight * (scale * pair.inverse[3] + (pair.die - self.die_gain) ** 2) for weight, pair in self.pairs)
        board = sum(
            weight * (scale * pair.inverse[5] + (pair.board - self.board_gain) ** 2) for weight, pair in self.pairs
        )
        for pair in self.others:
            die += (count - 1) / count * (pair.die - self.die_gain) ** 2
            board += (count - 1) / count * (pair.board - self.board_gain) ** 2
        return math.sqrt(die), math.sqrt(board)


Series = Sequence[float | None]


def fit(samples: Sequence[Sample], steady: tuple[float, float] | None = None) -> Fit | None:
    """`steady`: from when to when, in seconds of the course, the board stood still; None: it never did.

    None when there is too little, or a load that hardly changed.
    """
    celsius = _binned(samples, [sample.celsius for sample in samples])
    if sum(value is not None for value in celsius) < LEAST_BINS:
        return None
    search = _Search(samples, celsius)
    best = search.best()
    if best is None:
        return None
    die_s, board_s = best
    found = search.solved[best]
    assert found is not None
    residual = max(math.sqrt(found.rss / len(celsius)), LEAST_RESIDUAL)
    news = residual**2 * CORRELATED_S / BIN_S
    log_likelihood = {at: -0.5 * (pair.rss - found.rss) / news for at, pair in search.solved.items() if pair}
    weights = {at: math.exp(min(score, 0.0)) for at, score in log_likelihood.items()}
    likely = {at: weight for at, weight in weights.items() if weight >= LIKELY}
    whole = sum(likely.values())
    ends = _rests(samples, found, die_s, board_s, steady)
    return Fit(
        rest=ends[0],
        die_gain=found.die,
        board_gain=found.board,
        die_s=die_s,
        board_s=board_s,
        drift=ends[1] - ends[0],
        residual=residual,
        pairs=tuple((weight / whole, pair) for at, weight in likely.items() if (pair := search.solved[at])),
        others=search.without_parts(best),
        die_scores=tuple(max(log_likelihood.get((constant, board_s), -50.0), -50.0) for constant in DIE_S),
        board_scores=tuple(max(log_likelihood.get((die_s, constant), -50.0), -50.0) for constant in BOARD_S),
    )


class _Search:
    """For the pair of time constants that explains most."""

    def __init__(self, samples: Sequence[Sample], celsius: Series) -> None:
        self._samples = samples
        self._celsius = celsius
        self._lags: dict[float, Series] = {}
        self._fades: dict[float, Series] = {}
        self.solved: dict[tuple[float, float], Pair | None] = {}

    def best(self) -> tuple[float, float] | None:
        """None when no pair gives a board that work warms."""
        grid = [(die, board) for die in DIE_GRID for board in BOARD_GRID]
        at = min(grid, key=self._rss)
        if not math.isfinite(self._rss(at)):
            return None
        for factor in (*REFINED, *REFINED):
            die, board = at
            beside = [(die * factor, board), (die / factor, board), (die, board * factor), (die, board / factor)]
            at = min([at, *beside], key=self._rss)
        for constant in DIE_S:
            self._rss((constant, at[1]))
        for constant in BOARD_S:
            self._rss((at[0], constant))
        return at

    def without_parts(self, best: tuple[float, float]) -> tuple[Pair, ...]:
        """The answers without each of BLOCKS, the board's time constant found anew."""
        die_s, count = best[0], len(self._celsius)
        constants = sorted({board for die, board in self.solved if die == die_s} | set(BOARD_GRID))
        found = []
        for block in range(BLOCKS):
            first, end = block * count // BLOCKS, (block + 1) * count // BLOCKS
            left = [*self._celsius[:first], *[None] * (end - first), *self._celsius[end:]]
            pairs = [
                _solve(left, self._lagged(die_s), self._lagged(board_s), self._fading(board_s)) for board_s in constants
            ]
            if there := [pair for pair in pairs if pair is not None]:
                found.append(min(there, key=lambda pair: pair.rss))
        return tuple(found)

    def _rss(self, at: tuple[float, float]) -> float:
        if at not in self.solved:
            self.solved[at] = _solve(self._celsius, self._lagged(at[0]), self._lagged(at[1]), self._fading(at[1]))
        pair = self.solved[at]
        return pair.rss if pair is not None else math.inf

    def _lagged(self, constant: float) -> Series:
        if constant not in self._lags:
            self._lags[constant] = _binned(self._samples, lag(self._samples, constant))
        return self._lags[constant]

    def _fading(self, constant: float) -> Series:
        if constant not in self._fades:
            self._fades[constant] = _binned(self._samples, fade(self._samples, constant))
        return self._fades[constant]


def lag(samples: Iterable[Sample], constant: float) -> list[float]:
    """The load as a node of this time constant follows it."""
    found = []
    now = 0.0
    for sample in samples:
        now = sample.load + (now - sample.load) * math.exp(-sample.seconds / constant)
        found.append(now)
    return found


def fade(samples: Iterable[Sample], constant: float) -> list[float]:
    """What is left of 1 that a node held at the beginning."""
    found = []
    at = 0.0
    for sample in samples:
        at += sample.seconds
        found.append(math.exp(-at / constant))
    return found


def _binned(samples: Sequence[Sample], values: Iterable[float | None]) -> Series:
    """Means over BIN_S of the samples that have a reading; None where none has."""
    found: list[float | None] = []
    spent = total = seconds = 0.0
    for sample, value in zip(samples, values, strict=True):
        spent += sample.seconds
        if value is not None and sample.celsius is not None:
            total, seconds = total + value * sample.seconds, seconds + sample.seconds
        if spent >= BIN_S:
            found.append(total / seconds if seconds else None)
            spent = total = seconds = 0.0
    return found


def _solve(celsius: Series, die: Series, board: Series, before: Series) -> Pair | None:
    """None where the two nodes cannot be told apart, or work would cool the board."""
    rows = [
        (y, d, b, e)
        for y, d, b, e in zip(celsius, die, board, before, strict=True)
        if y is not None and d is not None and b is not None and e is not None
    ]
    count = len(rows)
    if count < LEAST_BINS / 2:
        return None
    my, md, mb, me = (sum(column) / count for column in zip(*rows, strict=True))
    dd = db = de = bb = be = yd = yb = ye = yy = 0.0
    # A small share of the starting warmth's square, so that it is nothing where it cannot be seen.
    ee = (LEAST_RESIDUAL / BEFORE_CELSIUS) ** 2
    for y, d, b, e in rows:
        y, d, b, e = y - my, d - md, b - mb, e - me
        dd, db, de, bb, be, ee = dd + d * d, db + d * b, de + d * e, bb + b * b, be + b * e, ee + e * e
        yd, yb, ye, yy = yd + y * d, yb + y * b, ye + y * e, yy + y * y
    if not dd * bb - db * db > 1e-9 * dd * bb:
        return None
    # The starting warmth is taken out of the others (a Schur complement); two by two are left.
    sdd, sdb, sbb = dd - de * de / ee, db - de * be / ee, bb - be * be / ee
    syd, syb = yd - ye * de / ee, yb - ye * be / ee
    determinant = sdd * sbb - sdb * sdb
    if not determinant > 1e-9 * dd * bb:
        return None
    idd, idb, ibb = sbb / determinant, -sdb / determinant, sdd / determinant
    gd, gb = idd * syd + idb * syb, idb * syd + ibb * syb
    if gd <= 0 or gb <= 0:
        return None
    warm = (ye - de * gd - be * gb) / ee
    rss = max(yy - gd * yd - gb * yb - warm * ye, 0.0)
    # Rest is what is left: mean of the readings less the means of the rest of it.
    xd, xb = md - de / ee * me, mb - be / ee * me
    ird, irb = -(xd * idd + xb * idb), -(xd * idb + xb * ibb)
    irr = 1 / count + me * me / ee - xd * ird - xb * irb
    rest = my - gd * md - gb * mb - warm * me
    return Pair(rest, gd, gb, warm, rss, (irr, ird, irb, idd, idb, ibb))


END_S = 60.0
"""The end of a course."""


def _rests(
    samples: Sequence[Sample], pair: Pair, die_s: float, board_s: float, steady: tuple[float, float] | None
) -> tuple[float, float]:
    """The temperature at rest while the board stood still (of all the course where it never did), and at the end."""
    at = 0.0
    still: list[float] = []
    end: list[float] = []
    whole = sum(sample.seconds for sample in samples)
    nodes = zip(samples, lag(samples, die_s), lag(samples, board_s), fade(samples, board_s), strict=True)
    for sample, die, board, before in nodes:
        at += sample.seconds
        if sample.celsius is None:
            continue
        rest = sample.celsius - pair.die * die - pair.board * board - pair.before * before
        if steady is not None and steady[0] <= at <= steady[1]:
            still.append(rest)
        if at >= whole - END_S:
            end.append(rest)
    rest = sum(still) / len(still) if still else pair.rest
    return rest, sum(end) / len(end) if end and still else rest


def as_model(
    fitted: Fit, unit: str, full_load: float, celsius: float, sure_of: tuple[float, float] | None, samples: int = ENOUGH
) -> ThermalModel:
    """What the governor goes on with. `celsius`: the last reading; `sure_of`: (load, deviation) that is told of it, so
    that the model tells the same; None: nothing is. `samples`: from which it was learned.

    Each candidate for a time constant has the gain that was found with the best one: how warm the board gets for ever
    does not depend on how soon. Which of them foretells best is left to the scores.
    """
    die_deviation, board_deviation = fitted.deviations
    most = MOST_CELSIUS / full_load
    die_gain, board_gain = min(fitted.die_gain, most), min(fitted.board_gain, most)
    die_deviation = min(die_deviation, DIE_PRIOR[1] / full_load)
    board_deviation = min(board_deviation, BOARD_PRIOR[1] / full_load)
    if sure_of is not None:
        # Rest and gain are known better together than each by itself: deviations that add up to the one that is told.
        load, deviation = sure_of
        told = max((deviation * fitted.gain) ** 2 - READING_VARIANCE, 0.0) / max(load, 1e-6) ** 2
        die_deviation = min(die_deviation, math.sqrt(told / 2))
        board_deviation = math.sqrt(told - die_deviation**2)
    quick = tuple(
        Quick(constant, gain=die_gain, p11=die_deviation**2, score=score)
        for constant, score in zip(DIE_S, _topped(fitted.die_scores), strict=True)
    )
    slow = tuple(
        Slow(constant, rest=fitted.rest, gain=board_gain, p11=board_deviation**2, score=score)
        for constant, score in zip(BOARD_S, _topped(fitted.board_scores), strict=True)
    )
    return ThermalModel(
        unit=unit,
        full_load=full_load,
        quick=quick,
        slow=slow,
        celsius=celsius,
        quick_samples=samples,
        slow_samples=samples,
    )


def _topped(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    return [max(score - top, -50.0) for score in scores]
