"""`python -m bench.budget`: the governor on simulated boards beside no control, the firmware alone and a switch.

Prints a table per board and scenario, then the governor's worst over the corners (resistance, capacity and sensor lag
each 30 % off, which it does not know), then memory. What comes suddenly is tried at ten moments of the second between
two decisions. Writes a picture for each into --plots. Exit status 1 when a figure is missed that is to be reached.
Deterministic; the boards are those of tests/simboard.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from bench.budget_picture import draw
from simboard import drive, leaks
from simboard.board import Physics
from simboard.controllers import Constant, Controller, Governed, Switch
from simboard.leaks import MIB, Leak
from simboard.profiles import PROFILES, idle_rise
from simboard.scenarios import SCENARIOS, Scenario
from vigild.tune.pareto import svg
from vigild.tune.raster import paint

OVERSHOOT_CELSIUS, LEAST_WORK, MOST_CHANGES, BACK_S = 1.0, 0.95, 2.0, 60.0
"""To reach."""
OFF = 0.3
MOMENTS_S = tuple(tenth / 10 for tenth in range(10))
"""After a decision: when in the second a sudden change is tried."""
SUDDEN_S = 120.0
"""In which it has its effect."""
NOMINAL = (1.0, 1.0, 1.0)
NAMES = ("governor", "no control", "firmware alone", "on/off switch")
LEAKS_MIB_S = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0)
BUDGETS_MIB = (160, 256, 512)


@dataclass
class Figures:
    """Of one run."""

    overshoot: float
    work: float | None
    changes: float
    back: float | None
    seconds_above: int

    def missed(self, *, work: bool, flags: bool) -> list[str]:
        found = []
        if self.overshoot > OVERSHOOT_CELSIUS:
            found.append("overshoot")
        if work and self.work is not None and self.work < LEAST_WORK:
            found.append("work")
        if self.changes > MOST_CHANGES:
            found.append("changes")
        if not flags and self.back is not None and self.back > BACK_S:
            found.append("back")
        return found


def controller(name: str, physics: Physics, wanted: tuple[float, ...]) -> Controller:
    best = physics.points[0]
    full = min(sum(wanted), best.capacity_fps)
    if name == "governor":
        return Governed(physics.points, wanted, physics.budget)
    if name == "on/off switch":
        return Switch(best, full, physics.budget)
    return Constant(best, full, firmware=name == "firmware alone", name=name)


def trace_of(scenario: Scenario, key: str, name: str, factors: tuple[float, float, float]) -> drive.Trace:
    """One run. `factors`: of resistance, capacity and lag; the room is moved so that the idle board is as warm as
    the nominal one: it is the controller that is tried, not the weather."""
    nominal = PROFILES[key]
    physics = nominal.varied(*factors)
    scenario = drive.shifted(scenario, idle_rise(nominal) - idle_rise(physics))
    return drive.run(physics, scenario, controller(name, physics, scenario.wanted_fps))


def governed(scenario: Scenario, key: str, factors: tuple[float, float, float]) -> Figures:
    """The governor's figures; of what is sudden the overshoot is the worst of all its moments."""
    found = figures(trace_of(scenario, key, "governor", factors))
    for moment in MOMENTS_S[1:] if scenario.sudden else ():
        other = figures(trace_of(drive.delayed(scenario, moment, SUDDEN_S), key, "governor", factors))
        found.overshoot = max(found.overshoot, other.overshoot)
        found.seconds_above = max(found.seconds_above, other.seconds_above)
    return found


def figures(trace: drive.Trace) -> Figures:
    above = sum(
        die > trace.physics.budget + OVERSHOOT_CELSIUS
        for second, die in zip(trace.seconds, trace.die, strict=True)
        if second >= drive.SETTLING_S
    )
    return Figures(
        drive.overshoot(trace),
        drive.work_at_budget(trace) if trace.scenario.judge_work else None,
        drive.changes_a_minute(trace),
        drive.back_to_full_s(trace),
        above,
    )


def _corner(job: tuple[str, str, tuple[float, float, float]]) -> tuple[str, str, tuple[float, float, float], Figures]:
    scenario, key, factors = job
    return scenario, key, factors, governed(SCENARIOS[scenario], key, factors)


def _nominal(job: tuple[str, str, Path | None]) -> tuple[str, str, dict[str, Figures]]:
    scenario, key, folder = job
    traces = {name: trace_of(SCENARIOS[scenario], key, name, NOMINAL) for name in NAMES}
    if folder is not None:
        shapes = draw(f"{PROFILES[key].name}: {scenario}", traces)
        file = folder / f"{key}, {scenario}.png".replace(", ", "-").replace(" ", "-").replace("°", "")
        cv2.imwrite(str(file), paint(shapes))
    found = {name: figures(trace) for name, trace in traces.items()}
    if SCENARIOS[scenario].sudden:
        found["governor"] = governed(SCENARIOS[scenario], key, NOMINAL)
    return scenario, key, found


def cases(only: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(scenario, board), of those whose names hold one of `only`."""
    for name, scenario in SCENARIOS.items():
        for key in scenario.profiles:
            if not only or any(word in f"{key}: {name}" for word in only):
                yield name, key


def row(what: str, found: Figures, missed: Sequence[str]) -> str:
    work = "-" if found.work is None else f"{found.work:.3f}"
    back = "-" if found.back is None else "never" if math.isinf(found.back) else f"{found.back:.0f} s"
    note = f"   MISSED: {', '.join(missed)}" if missed else ""
    heat = f"{found.overshoot:+8.2f} °C {found.seconds_above:7d} s"
    return f"  {what:16}{heat} {work:>9} {found.changes:10.2f} {back:>8}{note}"


LEGEND = """\
overshoot above the budget after 60 s; seconds more than 1 °C above it; work done at the budget by that of the best
constant operating point that holds it; changes of the operating point a minute when steady; time back to full work
"""
HEAD = f"  {'':16}{'overshoot':>11} {'1 °C over':>9} {'work':>9} {'changes/min':>10} {'back':>8}"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bench.budget", description="The governor on simulated boards.")
    parser.add_argument("only", nargs="*", metavar="WORD", help='only cases whose names hold it, as "pi4: warm room"')
    parser.add_argument("--plots", metavar="FOLDER", type=Path, help="write a PNG for each board and scenario")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write the first case as one SVG, and nothing else")
    parser.add_argument("--no-corners", action="store_true", help="leave out the boards that are 30 %% off")
    args = parser.parse_args()
    chosen = list(cases(args.only))
    if not chosen:
        parser.error("there is no such case; known are: " + "; ".join(f"{key}: {name}" for name, key in cases(())))
    if args.svg:
        scenario, key = chosen[0]
        traces = {name: trace_of(SCENARIOS[scenario], key, name, NOMINAL) for name in NAMES}
        args.svg.write_text(svg(draw(f"{PROFILES[key].name}, simulated: {scenario}", traces)))
        return 0
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
    missed: list[str] = []
    with multiprocessing.Pool(os.cpu_count()) as pool:
        print(LEGEND)
        for scenario, key, found in pool.imap(_nominal, [(*case, args.plots) for case in chosen]):
            print(f"{PROFILES[key].name}: {scenario}; budget {PROFILES[key].budget:g} °C\n{HEAD}")
            for name in NAMES:
                of = SCENARIOS[scenario]
                gone = found[name].missed(work=of.judge_work, flags=of.supply) if name == "governor" else []
                missed += [f"{key}: {scenario}: {what}" for what in gone]
                print(row(name, found[name], gone))
            print(flush=True)
        if not args.no_corners:
            missed += corners(pool, chosen)
    if not args.only:
        missed += memory()
    print(f"\nmissed: {'; '.join(missed)}" if missed else "\nall figures reached")
    return 1 if missed else 0


def corners(pool: multiprocessing.pool.Pool, chosen: list[tuple[str, str]]) -> list[str]:
    """The governor where the board is not what it seems; prints, and returns what was missed."""
    factors = [tuple(corner) for corner in itertools.product((1 - OFF, 1 + OFF), repeat=3)]
    jobs = [(scenario, key, factor) for scenario, key in chosen for factor in factors]
    results = list(pool.imap(_corner, jobs, chunksize=4))
    print(f"the governor's worst of {len(factors)} corners: resistance, capacity and lag {OFF:.0%} off\n{HEAD}")
    missed = []
    for scenario, key in chosen:
        own = [found for name, board, _, found in results if (name, board) == (scenario, key)]
        works = [found.work for found in own if found.work is not None]
        backs = [found.back for found in own if found.back is not None]
        worst = Figures(
            max(found.overshoot for found in own),
            min(works, default=None),
            max(found.changes for found in own),
            max(backs, default=None),
            max(found.seconds_above for found in own),
        )
        of = SCENARIOS[scenario]
        gone = worst.missed(work=of.judge_work, flags=of.supply)
        missed += [f"{key} (corner): {scenario}: {what}" for what in gone]
        print(f"  {PROFILES[key].name}: {scenario}")
        print(row("", worst, gone))
    return missed


def memory() -> list[str]:
    """Leaks against budgets; prints, and returns what was missed."""
    print("\nmemory: the peak over two hours, MiB, of a daemon that takes 115 MiB and whose detector leaks")
    print(f"  {'leak MiB/s':>12}" + "".join(f"{f'of {budget} MiB':>14}{'recycled':>10}" for budget in BUDGETS_MIB))
    missed = []
    for leak in LEAKS_MIB_S:
        line = f"  {leak:12g}"
        for budget in BUDGETS_MIB:
            workers = [Leak("detector", 70 * MIB, leak * MIB), Leak("front", 25 * MIB)]
            trace = leaks.run(workers, budget * MIB, 7200)
            line += f"{trace.peak / MIB:14.0f}{len(trace.recycled):10d}"
            if trace.peak > budget * MIB:
                missed.append(f"memory: {leak:g} MiB/s of {budget} MiB")
        print(line)
    return missed


if __name__ == "__main__":
    sys.exit(main())
