"""The course of `vigild tune --sustained`: rest, load until the temperature stands still, cool-down. Pure.

    course = Course(Plan(unit="int8-300, 4 threads, xnnpack", full_fps=18.0, celsius=75.0, seconds=3600.0))
    step = course.step(Seen(celsius=61.2, sensor="cpu-thermal", fps=17.4), now)        # once a second
    step.phase, step.fps, step.left_s              # what to run until the next one, and how long it still takes
    course.result()                                # at any time

No clock and no sensor of its own: time and readings come in, the rate that is to run goes out. Between the phases it is
the daemon's own governor that says how much may run. So the load rises in steps while the board is not known, and is
taken back before the budget is passed; where the budget binds, the rate at which the board comes to rest there *is* the
one that it holds for ever, measured and not extrapolated. What was read goes into `thermal_model.learn` on the way,
and the whole course into `thermal_fit` at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from vigild.budget import governor, thermal_fit
from vigild.budget.operating_points import Camera, OperatingPoint, build
from vigild.budget.thermal_fit import Fit
from vigild.budget.thermal_model import ENOUGH, ThermalModel
from vigild.budget.thermal_pair import Sample

REST_S = 60.0
"""To see the board without this work."""
REST_PART = 0.1
"""Of the time, at the most."""
COOL_PART, MOST_COOL_S, LEAST_COOL_S = 0.25, 600.0, 180.0
"""What is kept for the cool-down: the part of all the time, the most of it, and the least that is used of it."""
COOLED = 0.7
"""Of what the load added, gone: the cool-down has told what it can."""
WINDOW_S = 240.0
"""Over which the temperature has to stand still. A slope over so long is known to 0.03 °C a minute with the noise and
steps of a Raspberry Pi's sensor."""
SLOPE_S = 20.0
"""Of a phase, before a slope is told."""
SLOPES_EVERY_S = 5.0
"""Between two looks at what hardly changes within them."""
STILL = 0.1
"""°C a minute; and, with it, the part of the load by which the load may change in a minute,"""
STILL_LOAD = 0.01
"""as it does while a governor holds the temperature."""
OVER_CELSIUS = 1.0
"""Above the budget, by the mean of the last OVER_S: the load is stopped. The governor stays below; another program, or
a fan that fails, does not. Single readings of a coarse sensor go further than that while all is well."""
OVER_S = 10.0
LEAST_ROOM = 2.0
"""°C between the idle board and its budget, below which there is nothing to measure."""
SURE_PART = 0.2
"""Of the rate that is told, its deviation at the most; what is less sure is not told as a rate."""
GUESS_S = 900.0
"""How long the load takes, as long as nothing was seen: bare boards take 7 to 20 min, metal cases 20 to 30
(tests/simboard)."""

Phase = Literal["rest", "load", "cool", "done"]
Ended = Literal["", "whole", "hot", "over", "lost"]
"""How it ended. whole: to its end. hot: too near the budget without any load. over: it got too hot although the load
was taken back. lost: the sensor was. Empty: not yet."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured."""

    unit: str
    """What a frame is: `budgeting.unit` of the operating point."""
    full_fps: float
    """Frames a second at full speed."""
    celsius: float
    """The budget."""
    seconds: float
    """All the time there is."""

    @property
    def rest_s(self) -> float:
        return min(REST_S, REST_PART * self.seconds)

    @property
    def cool_s(self) -> float:
        return min(MOST_COOL_S, COOL_PART * self.seconds)

    @property
    def load_s(self) -> float:
        """The most."""
        return self.seconds - self.rest_s - self.cool_s

    @property
    def guess_s(self) -> float:
        """How long it takes, about, before anything was seen."""
        return self.rest_s + min(GUESS_S, self.load_s) + min(LEAST_COOL_S, self.cool_s)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, and what ran since the step before."""

    celsius: float | None
    """The hottest sensor that the budget is for; None: it gave nothing this time."""
    sensor: str = "temperature"
    fps: float = 0.0
    """Frames a second that were really inferred."""
    flags: frozenset[str] = frozenset()
    """What limits the board now."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run from now on."""

    phase: Phase
    fps: float
    left_s: float
    """About."""
    slope: float | None
    """°C a minute; None: the phase is too young for one."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came out, so far."""

    ended: Ended
    plateau: bool
    """The temperature stood still under load; without it nothing is told as a rate."""
    load: float
    """Frames a second of this operating point that hold the budget for ever; may be more than it carries."""
    deviation: float
    sure: bool
    """`load` may be told and kept as a rate."""
    fitted: Fit | None
    model: ThermalModel | None
    """What the daemon begins with; None: nothing was learned."""
    rest_celsius: float
    hottest_celsius: float
    load_s: float
    flags: tuple[str, ...]
    """What limited the board under load."""


class Course:
    """One course; `step` from its beginning to the phase "done"."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        point = OperatingPoint(variant=plan.unit, capacity_fps=plan.full_fps)
        # The rate is all that there is to give up.
        self._ladder = build([point], [Camera(name="tune")], ("fps",), 0.0)
        self._state = governor.begin(plan.unit)
        self._phase: Phase = "rest"
        self._ended: Ended = ""
        self._began = math.nan
        self._phase_at = math.nan
        self._now = math.nan
        self._samples: list[Sample] = []
        self._loaded: tuple[float, float] | None = None
        """From when to when, in seconds of the course."""
        self._plateau = False
        self._slopes = math.nan, math.nan
        self._sloped_at = -math.inf
        self._rest = self._hottest = self._cooled = math.nan
        self._flags: set[str] = set()

    def step(self, seen: Seen, now: float) -> Step:
        """`now`: monotonic seconds."""
        if math.isnan(self._began):
            self._began = self._phase_at = now
            self._now = now - governor.PERIOD_S
        if self._phase != "done" and now - self._now >= 0.9 * governor.PERIOD_S:
            self._see(seen, now)
            self._turn(now)
        load = self._phase == "load"
        return Step(
            phase=self._phase,
            fps=self._state.rate if load else 0.0,
            left_s=self._left_s(now),
            slope=None if math.isnan(self._slopes[0]) else self._slopes[0],
        )

    def result(self) -> Result:
        """Of what was seen until now."""
        steady = None
        if self._plateau and self._loaded is not None:
            steady = (self._loaded[1] - WINDOW_S, self._loaded[1])
        fitted = thermal_fit.fit(self._samples, steady) if self._loaded is not None else None
        load = deviation = 0.0
        model = self._state.model if self._loaded is not None or self._phase == "load" else None
        sure = False
        if fitted is not None:
            load, deviation = fitted.load(self._plan.celsius)
            full = self._plan.full_fps
            sure = self._plateau and (deviation <= SURE_PART * load or load - 2 * deviation >= full)
            last = next(sample.celsius for sample in reversed(self._samples) if sample.celsius is not None)
            samples = ENOUGH if sure or model is None else min(model.quick_samples, model.slow_samples)
            told = (min(load, full), deviation) if sure else None
            model = thermal_fit.as_model(fitted, self._plan.unit, full, last, told, samples)
        return Result(
            ended=self._ended,
            plateau=self._plateau,
            load=load,
            deviation=deviation,
            sure=sure,
            fitted=fitted,
            model=model,
            rest_celsius=self._rest,
            hottest_celsius=self._hottest,
            load_s=self._loaded[1] - self._loaded[0] if self._loaded is not None else 0.0,
            flags=tuple(sorted(self._flags)),
        )

    # ---- seeing

    def _see(self, seen: Seen, now: float) -> None:
        plan = governor.Plan(
            ladder=self._ladder,
            celsius=self._plan.celsius,
            most_fps=None if self._phase == "load" else 0.0,
        )
        heat = governor.Heat(celsius=seen.celsius, sensor=seen.sensor, flags=seen.flags, measured_fps=seen.fps)
        self._state, _ = governor.step(self._state, plan, heat, now)
        # What cannot be believed (a jump, nonsense) is as good as nothing.
        celsius = seen.celsius if self._state.sensing.fresh else None
        self._samples.append(Sample(now - self._now, celsius, seen.fps))
        self._now = now
        if now - self._sloped_at >= SLOPES_EVERY_S:
            self._slopes, self._sloped_at = self._find_slopes(), now
        if self._phase == "load":
            self._flags |= seen.flags
        if self._state.observer is not None and not self._hottest > self._state.observer.celsius:
            self._hottest = self._state.observer.celsius

    def _turn(self, now: float) -> None:
        """To the next phase, when it is time."""
        spent = now - self._phase_at
        celsius = self._state.observer.celsius if self._state.observer is not None else math.nan
        if self._state.sensing.lost or (self._phase == "rest" and spent >= self._plan.rest_s and math.isnan(celsius)):
            self._end("lost", now)
        elif self._phase == "rest" and spent >= self._plan.rest_s:
            self._rest = celsius
            if celsius > self._plan.celsius - LEAST_ROOM:
                self._end("hot", now)
            else:
                self._go("load", now)
        elif self._phase == "load":
            self._turn_from_load(celsius, spent, now)
        elif self._phase == "cool":
            enough = celsius <= self._cooled and spent >= LEAST_COOL_S
            if enough or spent >= self._plan.cool_s:
                self._end("whole", now)

    def _turn_from_load(self, celsius: float, spent: float, now: float) -> None:
        if self._mean(OVER_S) > self._plan.celsius + OVER_CELSIUS:
            self._end("over", now)
            return
        slope, load_slope = self._slopes
        still = abs(slope) < STILL and abs(load_slope) < STILL_LOAD
        self._plateau = still and spent >= WINDOW_S + REST_S
        if self._plateau or spent >= self._plan.load_s:
            self._loaded = (self._phase_at - self._began, now - self._began)
            self._cooled = celsius - COOLED * max(celsius - self._rest, 0.0)
            self._go("cool", now)

    def _go(self, phase: Phase, now: float) -> None:
        if self._phase == "load" and self._loaded is None:
            self._loaded = (self._phase_at - self._began, now - self._began)
        self._phase, self._phase_at = phase, now
        self._slopes, self._sloped_at = (math.nan, math.nan), -math.inf
        self._state = msgspec.structs.replace(self._state, acted_at=-math.inf)

    def _end(self, how: Ended, now: float) -> None:
        self._ended = how
        self._go("done", now)

    def _since(self, seconds: float) -> list[tuple[float, float, float]]:
        """(when, °C, load) of the last `seconds`, the newest first, where there was a reading."""
        found: list[tuple[float, float, float]] = []
        back = 0.0
        for sample in reversed(self._samples):
            if back > seconds:
                break
            if sample.celsius is not None:
                found.append((-back, sample.celsius, sample.load))
            back += sample.seconds
        return found

    def _mean(self, seconds: float) -> float:
        """°C"""
        points = self._since(seconds)
        return sum(celsius for _, celsius, _ in points) / len(points) if points else math.nan

    def _find_slopes(self) -> tuple[float, float]:
        """Over the last WINDOW_S, at most the phase: (°C a minute, part of the load a minute); NaN: too early."""
        spent = self._now - self._phase_at
        points = self._since(min(WINDOW_S, spent))
        if spent < SLOPE_S or len(points) < 2:
            return math.nan, math.nan
        mean = sum(load for _, _, load in points) / len(points)
        celsius = _slope([(at, celsius) for at, celsius, _ in points])
        load = _slope([(at, load) for at, _, load in points])
        return 60 * celsius, 60 * load / max(mean, 1e-3)

    # ---- how long still

    def _left_s(self, now: float) -> float:
        plan, spent = self._plan, now - self._phase_at
        cool_s = min(LEAST_COOL_S, plan.cool_s)
        if self._phase == "rest":
            return max(plan.guess_s - spent, 0.0)
        if self._phase == "load":
            return min(self._load_left_s(spent), max(plan.load_s - spent, 0.0)) + cool_s
        if self._phase == "cool":
            return max(min(max(cool_s - spent, self._cool_left_s()), plan.cool_s - spent), 0.0)
        return 0.0

    def _cool_left_s(self) -> float:
        """The warmth shrinks with the board's time constant."""
        assert self._state.observer is not None and self._state.belief is not None
        above, goal = self._state.observer.celsius - self._rest, self._cooled - self._rest
        return self._state.belief.board_s * math.log(above / goal) if above > goal > 0 else 0.0

    def _load_left_s(self, spent: float) -> float:
        """The slope shrinks with the board's time constant, as far as that is known; then comes the window."""
        belief = self._state.belief
        if belief is None or spent < WINDOW_S + REST_S:
            return GUESS_S - spent  # of a young slope too much would be made
        return belief.board_s * max(math.log(max(abs(self._slopes[0]), 1e-3) / STILL), 0.0) + WINDOW_S / 2


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through (seconds, value)."""
    count = len(points)
    at_mean = sum(at for at, _ in points) / count
    value_mean = sum(value for _, value in points) / count
    spread = sum((at - at_mean) ** 2 for at, _ in points)
    return sum((at - at_mean) * (value - value_mean) for at, value in points) / spread if spread else 0.0
