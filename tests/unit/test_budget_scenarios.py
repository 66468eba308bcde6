"""The governor on simulated boards: the figures of `make bench-budget`, on a short choice of it.

And the boards themselves: they show what is published of the real ones.
"""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bench.budget import NAMES, controller
from bench.budget_picture import draw
from simboard import drive
from simboard.board import Board
from simboard.controllers import Constant, Governed, Switch
from simboard.profiles import PI4_BARE, PI4_CASE, PI5_BARE, PROFILES
from simboard.scenarios import SCENARIOS
from vigild.tune.pareto import svg

CHOICE = [
    ("pi4", "warm room"),
    ("pi4", "22 to 36 °C and back"),
    ("pi4-case", "22 to 36 °C and back"),
    ("pi5", "noisy, coarse sensor"),
    ("pi5-fan", "fan fails"),
    ("pi4", "sensor drops out"),
    ("pi4", "hardly anything left"),
    ("pi5", "a core goes"),
    ("pi4", "program in bursts"),
]


@pytest.mark.parametrize(("key", "name"), CHOICE)
def test_the_figures_are_reached(key: str, name: str) -> None:
    physics, scenario = PROFILES[key], SCENARIOS[name]
    trace = drive.run(physics, scenario, Governed(physics.points, scenario.wanted_fps, physics.budget))
    assert drive.overshoot(trace) <= 1.0
    work = drive.work_at_budget(trace)
    assert not scenario.judge_work or (work is not None and work >= 0.95)
    assert drive.changes_a_minute(trace) <= 2.0
    back = drive.back_to_full_s(trace)
    assert back is None or back <= 60.0


@pytest.mark.parametrize("factors", [(0.7, 0.7, 1.3), (1.3, 0.7, 0.7), (1.3, 1.3, 1.3)])
def test_a_board_that_is_not_what_it_seems(factors: tuple[float, float, float]) -> None:
    physics = PI5_BARE.varied(*factors)
    scenario = replace(SCENARIOS["warm room"], room=75.0 - 60.0 * factors[0], seconds=2400)
    trace = drive.run(physics, scenario, Governed(physics.points, scenario.wanted_fps, physics.budget))
    assert drive.overshoot(trace) <= 1.0
    work = drive.work_at_budget(trace)
    assert work is not None
    assert work >= 0.95


def test_the_firmware_alone_and_a_switch_do_worse() -> None:
    physics, scenario = PI5_BARE, replace(SCENARIOS["warm room"], seconds=1800)
    point, full = physics.points[0], 30.0
    governed = drive.run(physics, scenario, Governed(physics.points, (30.0,), 75.0))
    firmware = drive.run(physics, scenario, Constant(point, full, firmware=True))
    switch = drive.run(physics, scenario, Switch(point, full, 75.0))
    assert drive.overshoot(firmware) > 5 > drive.overshoot(governed)
    assert sum(switch.rate) < 0.9 * sum(governed.rate)


def test_the_picture_is_a_drawing_with_every_controller_in_it() -> None:
    physics, scenario = PI4_BARE, replace(SCENARIOS["warm room"], seconds=600)
    traces = {name: drive.run(physics, scenario, controller(name, physics, scenario.wanted_fps)) for name in NAMES}
    drawn = ElementTree.fromstring(svg(draw("a title", traces)))
    assert {"a title", "budget", *NAMES} <= {element.text for element in drawn.iter()}


def settled(board: Board, rate: float, minutes: float) -> Board:
    for _ in range(int(minutes * 60 / Board.STEP_S)):
        board.step(board.physics.points[0], rate)
    return board


def test_a_bare_pi_4_is_as_warm_as_was_measured() -> None:
    """pi-plates.com: 27.3 °C room; package 54.7 °C idle, 65.8 °C under four cores; the on-board reading about 80."""
    board = Board(PI4_BARE, 27.3, firmware=False)
    assert board.board == pytest.approx(54.7, abs=0.5)
    settled(board, 18.0, 60)
    assert board.board == pytest.approx(65.8, abs=0.5)
    assert board.die == pytest.approx(80.0, abs=1.0)


def test_a_pi_4_in_its_metal_case_levels_off_and_is_slow_to_cool() -> None:
    """djstein.com: about 70 °C; more than ten minutes to cool back."""
    board = settled(Board(PI4_CASE, 25.0, firmware=False), 18.0, 120)
    assert board.die == pytest.approx(70.0, abs=1.0)
    idle = Board(PI4_CASE, 25.0).die
    settled(board, 0.0, 10)
    assert board.die > idle + 3.0


def test_a_bare_pi_5_is_at_80_within_minutes() -> None:
    """pidiylab.com: 22 °C room, four-core stress-ng."""
    board = Board(PI5_BARE, 22.0, firmware=False)
    settled(board, 40.0, 1.5)
    assert board.die < 80.0
    settled(board, 40.0, 4)
    assert board.die > 80.0
