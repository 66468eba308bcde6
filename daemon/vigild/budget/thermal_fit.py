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

import itertools
import math
from collections.abc import Sequence
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
from vigild.budget.thermal_pair import (
    BIN_S,
    LEAST_BINS,
    LEAST_RESIDUAL,
    Pair,
    Sample,
    Series,
    Steady,
    binned,
    fade,
    lag,
    solve,
)

DIE_GRID = tuple(1.5 * 1.35**index for index in range(9))
"""1.5 to 17 s: more than what is considered while learning, since a sensor lags too."""
BOARD_GRID = tuple(40.0 * 1.3**index for index in range(17))
"""40 s to 45 min."""
END_S = 60.0
"""The end of a course, where the room is looked at again."""
CORRELATED_S = 60.0
"""Residuals within so long count as one: what the two nodes lack (a room, a third node) is slow, not white."""
REFINED = (1.1, 1.05, 1.025, 1.012)
"""Factors by which time constants are tried beside the best of the grid, twice."""
BLOCKS = 6
"""Parts of the course that are left out, one after the other, to see what the answer hangs on."""
LIKELY = 1e-3
"""Pairs of time constants that are less likely than this, against the best, do not count for the deviation."""


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
    steady: Steady | None
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
        spread = sum(weight * pair.spread(load, self.steady) for weight, pair in self.pairs)
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


def fit(samples: Sequence[Sample], steady: tuple[float, float] | None = None) -> Fit | None:
    """`steady`: from when to when, in seconds of the course, the board stood still; None: it never did.

    None when there is too little, or a load that hardly changed.
    """
    celsius = binned(samples, [sample.celsius for sample in samples])
    if sum(value is not None for value in celsius) < LEAST_BINS:
        return None
    search = _Search(samples, celsius, steady)
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
    anchored = search.anchored(found)
    return Fit(
        rest=anchored.rest,
        die_gain=found.die,
        board_gain=found.board,
        die_s=die_s,
        board_s=board_s,
        drift=search.drift(found),
        residual=residual,
        steady=search.steady,
        pairs=tuple(
            (weight / whole, search.anchored(pair)) for at, weight in likely.items() if (pair := search.solved[at])
        ),
        others=search.without_parts(best),
        die_scores=tuple(max(log_likelihood.get((constant, board_s), -50.0), -50.0) for constant in DIE_S),
        board_scores=tuple(max(log_likelihood.get((die_s, constant), -50.0), -50.0) for constant in BOARD_S),
    )


class _Search:
    """For the pair of time constants that explains most."""

    def __init__(self, samples: Sequence[Sample], celsius: Series, steady: tuple[float, float] | None) -> None:
        self._samples = samples
        self._celsius = celsius
        self._at = binned(samples, itertools.accumulate(sample.seconds for sample in samples))
        self._still = self._between(*steady) if steady is not None else []
        self.steady: Steady | None = None
        if self._still:
            loads = binned(samples, [sample.load for sample in samples])
            self.steady = Steady(sum(loads[at] or 0.0 for at in self._still) / len(self._still), len(self._still))
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
            pairs = [self._solve(left, die_s, board_s) for board_s in constants]
            if there := [pair for pair in pairs if pair is not None]:
                found.append(self.anchored(min(there, key=lambda pair: pair.rss)))
        return tuple(found)

    def anchored(self, pair: Pair) -> Pair:
        """With the temperature at rest of where the board stood still."""
        return pair._replace(rest=self._rest(pair, self._still)) if self._still else pair

    def drift(self, pair: Pair) -> float:
        """°C, from there to the last END_S of the course."""
        last = max(at for at in self._at if at is not None)
        end = self._between(last - END_S, last)
        return self._rest(pair, end) - self._rest(pair, self._still) if self._still and end else 0.0

    def _between(self, first: float, last: float) -> list[int]:
        """The bins of these seconds that have a reading."""
        return [index for index, at in enumerate(self._at) if at is not None and first <= at <= last]

    def _rest(self, pair: Pair, bins: Sequence[int]) -> float:
        """What is left of the readings without what the load added."""
        die, board, before = self._lagged(pair.die_s), self._lagged(pair.board_s), self._fading(pair.board_s)
        total = 0.0
        for at in bins:
            total += self._celsius[at] or 0.0
            total -= pair.die * (die[at] or 0.0) + pair.board * (board[at] or 0.0) + pair.before * (before[at] or 0.0)
        return total / len(bins)

    def _rss(self, at: tuple[float, float]) -> float:
        if at not in self.solved:
            self.solved[at] = self._solve(self._celsius, *at)
        pair = self.solved[at]
        return pair.rss if pair is not None else math.inf

    def _solve(self, celsius: Series, die_s: float, board_s: float) -> Pair | None:
        return solve(celsius, self._lagged(die_s), self._lagged(board_s), self._fading(board_s), die_s, board_s)

    def _lagged(self, constant: float) -> Series:
        if constant not in self._lags:
            self._lags[constant] = binned(self._samples, lag(self._samples, constant))
        return self._lags[constant]

    def _fading(self, constant: float) -> Series:
        if constant not in self._fades:
            self._fades[constant] = binned(self._samples, fade(self._samples, constant))
        return self._fades[constant]


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
