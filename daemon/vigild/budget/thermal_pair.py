"""Least squares for one pair of time constants: the die's and the board's. For `thermal_fit`, which looks for the pair.

    celsius = binned(samples, [sample.celsius for sample in samples])
    pair = solve(celsius, binned(samples, lag(samples, 5.0)), binned(samples, lag(samples, 300.0)), fades, 5.0, 300.0)
    pair.at(14.2)                               # °C with this load for ever

Pure, and without NumPy: a course of an hour is some 900 bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

BIN_S = 4.0
"""Readings and lags are averaged over so long; a lag is linear, so nothing is lost but noise."""
LEAST_BINS = 20
"""With a reading; below it there is nothing to be told of a board."""
LEAST_RESIDUAL = 0.15
"""°C: noise and steps of a sensor (thermal_model.READING_VARIANCE) averaged over a bin; fewer are luck."""
BEFORE_CELSIUS = 10.0
"""Warmth of work before the course, such as measuring the settings: its deviation, before anything is known of it."""

Series = Sequence[float | None]
"""Of bins; None: without a reading."""


class Sample(NamedTuple):
    """What was read, and what ran since the sample before."""

    seconds: float
    celsius: float | None
    """None: the sensor gave nothing this time."""
    load: float
    """Reference frames a second."""


class Steady(NamedTuple):
    """Where the board stood still: whatever the gains, what is foretold near it is near what was read there."""

    load: float
    bins: int


class Pair(NamedTuple):
    """Least squares for one pair of time constants."""

    die_s: float
    board_s: float
    rest: float
    """As it was while the board stood still; over the whole course, where it never did."""
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

    def spread(self, load: float, steady: Steady | None) -> float:
        """Variance of the temperature foretold for `load`, by that of a residual."""
        rr, rd, rb, dd, db, bb = self.inverse
        if steady is None:
            return rr + 2 * load * (rd + rb) + load * load * (dd + 2 * db + bb)
        beside = load - steady.load
        return 1 / steady.bins + beside * beside * (dd + 2 * db + bb)


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


def binned(samples: Sequence[Sample], values: Iterable[float | None]) -> Series:
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


def solve(celsius: Series, die: Series, board: Series, before: Series, die_s: float, board_s: float) -> Pair | None:
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
    return Pair(die_s, board_s, rest, gd, gb, warm, rss, (irr, ird, irb, idd, idb, ibb))
