"""One controller on one board through one scenario, and the figures of it."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field, replace

from simboard.board import Board, Physics
from simboard.controllers import Controller, Governed, Order, Sight, ladder_of
from simboard.scenarios import Change, Scenario
from vigild.board.pace import GLANCE_S
from vigild.budget.operating_points import Ladder, Rung

GLANCES = round(1 / GLANCE_S)
"""Looks at other programs a second; a controller decides once."""
TICK_S = 0.01
"""In which the kernel counts their time (proc(5), /proc/stat)."""
SETTLING_S = 60.0
"""Overshoot counts from here on."""
GONE_CELSIUS = 1.0
"""The heat has gone when all the work, from now on for ever, would stay so far below the budget."""
STEADY_AFTER_S = 600.0
"""After a change of the scenario; then the board is taken to be in a steady state."""


@dataclass
class Trace:
    """Once a second."""

    scenario: Scenario
    physics: Physics
    controller: str
    ladder: Ladder
    seconds: list[float] = field(default_factory=list)
    die: list[float] = field(default_factory=list)
    """°C, the highest within the second."""
    rate: list[float] = field(default_factory=list)
    """Frames a second that were inferred."""
    orders: list[Order] = field(default_factory=list)
    """At the end of the second."""
    changes: list[int] = field(default_factory=list)
    """How many others there were since the second before."""
    full_fits: list[bool] = field(default_factory=list)
    """Whether all the work, from now on for ever, would stay within the budget, and anybody can see that it does."""
    moves: list[tuple[float, str, str]] = field(default_factory=list)


def run(physics: Physics, scenario: Scenario, controller: Controller, seed: int = 1) -> Trace:
    """The whole scenario."""
    if scenario.noise is not None:
        physics = replace(physics, noise=scenario.noise)
    if scenario.sensor_step is not None:
        physics = replace(physics, sensor_step=scenario.sensor_step)
    board = Board(physics, scenario.room, seed, firmware=controller.firmware)
    board.fan_works = scenario.fan_works
    trace = Trace(scenario, physics, controller.name, ladder_of(physics.points, scenario.wanted_fps))
    weather = _Weather(board, list(scenario.changes))
    full = min(sum(scenario.wanted_fps), physics.points[0].capacity_fps)
    order = Order(physics.points[0], 0.0)
    for second in range(int(scenario.seconds)):
        weather.until(float(second))
        hottest, changes, frames = board.die, 0, board.frames
        for look in range(GLANCES):
            now = second + look * GLANCE_S
            lately = min(weather.foreign_fps(1), weather.foreign_fps(1, before=1))
            order, before = controller.glance(lately, now), order
            changes += order != before
            if look == 0:
                sight = Sight(board.read(), board.flags(), board.measured_fps(), weather.foreign_fps(GLANCES))
                order, before = controller.step(sight, now), order
                changes += order != before
            weather.pass_on(now + GLANCE_S, order)
            hottest = max(hottest, board.die)
        trace.seconds.append(float(second))
        trace.die.append(hottest)
        trace.rate.append(board.frames - frames)
        trace.orders.append(order)
        trace.changes.append(changes)
        trace.full_fits.append(
            board.sensor_works
            and board.peak_if_kept(physics.points[0], full) <= physics.budget - GONE_CELSIUS
            and board.watts_of(physics.points[0], full) <= board.under_voltage_above
        )
    if isinstance(controller, Governed):
        trace.moves = controller.moves
    return trace


class _Weather:
    """What happens to the board, at its own moments, and what can be counted of other programs."""

    def __init__(self, board: Board, changes: list[tuple[float, Change]]) -> None:
        self._board = board
        self._changes = changes
        self._now = 0.0
        self._order = Order(board.physics.points[0], 0.0)
        self._ticks: deque[int] = deque([0], maxlen=GLANCES + 1)
        """That other programs have taken, at the last looks."""

    def until(self, now: float) -> None:
        """What is due."""
        while self._changes and self._changes[0][0] <= now:
            self._changes.pop(0)[1](self._board)

    def pass_on(self, until: float, order: Order) -> None:
        """Time goes on to this moment. The board works in its own steps, cut short where something happens."""
        if order != self._order:
            self._work(self._now)
            self._order = order
        while self._changes and self._changes[0][0] < until:
            at = self._changes[0][0]
            self._work(at)
            self.until(at)
        if until % Board.STEP_S == 0:
            self._work(until)
        self._now = until
        board = self._board
        self._ticks.append(int((board.foreign_s + board.foreign_ahead(until - board.seconds)) / TICK_S))

    def _work(self, until: float) -> None:
        if until > self._board.seconds:
            self._board.step(self._order.point, self._order.rate, until - self._board.seconds)

    def foreign_fps(self, looks: int, before: int = 0) -> float:
        """What other programs kept busy in the time of so many looks, as frames of the first operating point."""
        last = len(self._ticks) - 1 - before
        first = max(last - looks, 0)
        if last <= first:
            return 0.0
        cores = (self._ticks[last] - self._ticks[first]) * TICK_S / ((last - first) * GLANCE_S)
        return cores / self._board.physics.cpu_s


def shifted(scenario: Scenario, celsius: float) -> Scenario:
    """The same in rooms that are so much warmer."""

    def moved(change: Change) -> Change:
        def change_and_shift(board: Board) -> None:
            before = board.room
            change(board)
            if board.room != before and not getattr(change, "relative", False):
                board.room += celsius

        return change_and_shift

    changes = tuple((second, moved(change)) for second, change in scenario.changes)
    return replace(scenario, room=scenario.room + celsius, changes=changes)


def delayed(scenario: Scenario, seconds: float, after_s: float) -> Scenario:
    """Its changes so much later, and an end so long after the last of them."""
    changes = tuple((at + seconds, change) for at, change in scenario.changes)
    return replace(scenario, seconds=changes[-1][0] + after_s, changes=changes)


def overshoot(trace: Trace) -> float:
    """°C above the budget, at the most, once settled."""
    return max(die for second, die in zip(trace.seconds, trace.die, strict=True) if second >= SETTLING_S) - (
        trace.physics.budget
    )


def segments(scenario: Scenario) -> list[tuple[float, float]]:
    """Between two changes nothing changes."""
    times = [0.0, *(second for second, _ in scenario.changes), scenario.seconds]
    return [(start, end) for start, end in itertools.pairwise(times) if end > start]


def changes_a_minute(trace: Trace) -> float:
    """Every change of the order, rate or point, in what is steady: the worst segment's mean."""
    worst = 0.0
    for start, end in segments(trace.scenario):
        first, last = int(start + STEADY_AFTER_S), int(end)
        if last - first < 120:
            continue
        count = sum(trace.changes[first + 1 : last])
        worst = max(worst, count * 60.0 / (last - first))
    return worst


def back_to_full_s(trace: Trace) -> float | None:
    """From the moment at which all the work would fit again for good until it is done: the longest wait; inf if it
    never came; None where the heat never went."""
    full = min(sum(trace.scenario.wanted_fps), trace.physics.points[0].capacity_fps)
    worst: float | None = None
    since: float | None = None
    for at, fits in enumerate(trace.full_fits):
        order = trace.orders[at]
        all_done = order.point == trace.physics.points[0] and order.rate >= full * 0.999
        if fits and not all_done:
            since = trace.seconds[at] if since is None else since
            worst = max(worst or 0.0, trace.seconds[at] + 1 - since)
        else:
            since = None
    if since is not None and trace.seconds[-1] - since > 60:
        return float("inf")
    return worst


def best_constant(board: Board, ladder: Ladder, budget: float) -> tuple[Rung, float] | None:
    """By search: the constant operating point that holds the budget for ever on this board in its room, giving up no
    more than it must: of the first stage of which any rung's floor holds, the rung and rate with the most frames.
    None when nothing holds but a pause."""

    def holds(rung: Rung, rate: float) -> bool:
        return (
            board.peak_if_kept(rung.point, rate) <= budget
            and board.watts_of(rung.point, rate) <= board.under_voltage_above
        )

    found: list[tuple[float, Rung]] = []
    for rung in ladder.rungs:
        if found and rung.stage != found[0][1].stage:
            break
        if rung.full_fps <= 0 or not holds(rung, rung.floor_fps):
            continue
        low, high = rung.floor_fps, rung.full_fps
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(rung, middle) else (low, middle)
        found.append((rung.full_fps if holds(rung, rung.full_fps) else low, rung))
    if not found:
        return None
    rate, rung = max(found, key=lambda pair: pair[0])
    return rung, rate


def work_at_budget(trace: Trace) -> float | None:
    """Frames inferred while at the budget, of those of the best constant operating point that holds it: the worst
    segment. None where nothing has to be given up. A segment counts from where the die first came within 1 °C of the
    budget, or something limited the board; frames of a lesser stage than that point's do not count at all."""
    ladder = trace.ladder
    worst: float | None = None
    board = Board(trace.physics, trace.scenario.room, firmware=False)
    board.fan_works = trace.scenario.fan_works
    changes = list(trace.scenario.changes)
    for start, end in segments(trace.scenario):
        while changes and changes[0][0] <= start:
            changes.pop(0)[1](board)
        best = best_constant(_cold(board, trace.physics.budget), ladder, trace.physics.budget)
        if best is None or best == (ladder.rungs[0], ladder.rungs[0].full_fps) or not board.sensor_works:
            continue
        weak = board.under_voltage_above < 50
        inside = [at for at in range(int(start), int(end)) if weak or trace.die[at] >= trace.physics.budget - 1.0]
        if not inside or end - inside[0] < 300:
            continue
        good = {(rung.point, bool(rung.cameras)) for rung in ladder.rungs if rung.stage <= best[0].stage}
        done = sum(trace.rate[at] for at in range(inside[0], int(end)) if (trace.orders[at].point, True) in good) / (
            int(end) - inside[0]
        )
        worst = min(worst if worst is not None else 9.0, done / best[1])
    return worst


def _cold(board: Board, budget: float) -> Board:
    """The same board, cold: so that only the room and the work decide. A fan runs as it does at the budget."""
    board.board = -273.0
    fan = board.physics.fan if board.fan_works else ()
    board.fan_level = sum(trip <= budget for trip, _ in fan)
    return board
