"""Each condition of the health gate, alone: all others are met, so what fails here fails for this one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cross.board import gate
from cross.board.gate import Demands, Facts

DEMANDS = Demands("new", returning=True)

GOOD = Facts(
    active_state="active",
    sub_state="running",
    result="success",
    release="new",
    up_s=8.0,
    status_text="ready",
    watchdog_on=True,
    beats=2,
    frames=(4, 5, 6),
    frames_from="camera front",
    cameras={"front": "ok"},
    greeted=True,
    memory_bytes=100 << 20,
    memory_budget_bytes=256 << 20,
    celsius=60.0,
    celsius_budget=75.0,
    returned=True,
)


def test_a_good_release_passes():
    assert gate.outcome(gate.judge(GOOD, DEMANDS)) == "passed"


@pytest.mark.parametrize(
    ("condition", "wrong", "outcome"),
    [
        ("active and ready", {"active_state": "activating", "sub_state": "start"}, "waiting"),
        ("active and ready", {"active_state": "failed", "result": "exit-code"}, "failed"),
        ("active and ready", {"crashes": 3}, "failed"),
        ("active and ready", {"release": "old"}, "waiting"),
        ("active and ready", {"release": None}, "waiting"),
        ("stays up", {"up_s": 1.0}, "waiting"),
        ("watchdog beats", {"beats": 1}, "waiting"),
        ("watchdog beats", {"watchdog_on": False}, "failed"),
        ("detections move", {"frames": ()}, "waiting"),
        ("detections move", {"frames": (4, 4, 4)}, "waiting"),
        ("detections move", {"frames": (4,)}, "waiting"),
        ("a client connects", {"greeted": False}, "waiting"),
        ("a new connection", {"returned": False}, "waiting"),
        ("no new errors", {"new_errors": ("detector: cannot open the model",)}, "failed"),
        ("inside its budgets", {"memory_bytes": 300 << 20}, "waiting"),
        ("inside its budgets", {"memory_bytes": None}, "waiting"),
        ("inside its budgets", {"celsius": 80.0}, "waiting"),
    ],
)
def test_one_condition_alone_keeps_a_release_from_passing(condition: str, wrong: dict[str, object], outcome: str):
    verdicts = gate.judge(replace(GOOD, **wrong), DEMANDS)
    assert gate.outcome(verdicts) == outcome
    assert [verdict.name for verdict in verdicts if verdict.state != "ok"] == [condition]
    assert condition in gate.why(verdicts)


def test_every_condition_was_shown_to_matter():
    shown = {
        mark.args[1][index][0]
        for mark in test_one_condition_alone_keeps_a_release_from_passing.pytestmark
        for index in range(len(mark.args[1]))
    }
    assert {verdict.name for verdict in gate.judge(GOOD, DEMANDS)} == shown


def test_installed_on_the_board_itself_nobody_has_to_come_back():
    assert gate.outcome(gate.judge(replace(GOOD, returned=False), Demands("new", returning=False))) == "passed"


def test_a_board_without_sensors_has_no_temperature_to_keep():
    assert gate.outcome(gate.judge(replace(GOOD, celsius=None), DEMANDS)) == "passed"


def test_an_error_that_was_there_before_is_not_new():
    before = ["camera.front: lost after 17 frames", "hub: cannot open 0x3f"]
    since = ["camera.front: lost after 4711 frames", "detector: aborted", "detector: aborted", "hub: cannot open 0x99"]
    assert gate.new_errors(before, since) == ("detector: aborted",)
