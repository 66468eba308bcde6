"""The lines of `vigild run`: one glance a line, whatever the terminal's width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fleetkit import World

from vigild import terminal
from vigild.fleet.limits import Limits
from vigild.hub.console import introduction, line
from vigild.hub.state import State
from vigild.ipc.messages import RawDetection
from vigild.terminal import Screen

WIDTHS = (20, 40, 60, 80, 132)


@pytest.fixture
def state() -> State:
    world = World(camera={"front": {"source": "/dev/video0"}, "garden-gate": {"source": "rtsp://u:p@10.0.0.7/live"}})
    world.hub.start()
    world.run(3)
    return world.hub.state()


def replaced(state: State, **camera: Any) -> State:
    changed = [msgspec.structs.replace(one, **camera) for one in state.cameras]
    return msgspec.structs.replace(state, cameras=changed)


def seeing(state: State) -> State:
    found = [RawDetection(f"person {n}", 1, 0.9, (0.0, 0.0, 0.5, 0.5)) for n in range(6)]
    return replaced(state, status="ok", reason="", seen=found)


def degraded(state: State) -> State:
    budget = msgspec.structs.replace(state.budget, degraded="8 frames/s of 30: 75.2 °C is above the budget of 75 °C")
    limits = Limits().capped("governor", 8.0)
    slower = replaced(state, status="degraded", reason="capped at 8 fps by governor", limits=limits)
    return msgspec.structs.replace(slower, budget=budget)


def too_hot(state: State) -> State:
    """The budgets have paused it."""
    limits = Limits().held("governor", "too hot")
    held = replaced(state, status="paused", reason="held by governor: too hot", limits=limits)
    budget = msgspec.structs.replace(state.budget, degraded="paused: 91 °C is far above the budget of 75 °C")
    return msgspec.structs.replace(held, budget=budget)


def paused(state: State) -> State:
    return replaced(
        state, status="paused", reason="held by client: asked by a client", limits=Limits().held("client", "asked")
    )


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("made", [seeing, degraded, paused, too_hot])
def test_no_line_wraps(state: State, made: Callable[[State], State], columns: int) -> None:
    state = made(state)
    screen = Screen(columns, True)
    for camera in state.cameras:
        assert terminal.width(line(state, camera, screen)) <= columns
    assert all(
        terminal.width(row) <= columns for row in introduction(state, "/run/vigild/vigild.sock", screen).split("\n")
    )


def test_at_80_columns_it_says_how_fast_and_what(state: State) -> None:
    state = seeing(state)
    text = line(state, state.cameras[0], Screen(80))
    assert "front" in text and "ok" in text and "fps" in text and "ms" in text and "person 0 0.90" in text


def test_the_reason_stands_where_detections_would(state: State) -> None:
    low = degraded(state)
    text = line(low, low.cameras[0], Screen(80))
    assert "8 frames/s of 30" in text and "capped" not in text and "fps" in text
    hot = too_hot(state)
    assert "91 °C is far above" in line(hot, hot.cameras[0], Screen(80))
    held = paused(low)  # by a client, whatever the budgets give up beside it
    assert "asked by a client" in line(held, held.cameras[0], Screen(80))


def test_colours_only_where_there_are_any(state: State) -> None:
    low = degraded(state)
    assert "\033[33mdegraded\033[0m" in line(low, low.cameras[0], Screen(80, True))
    assert "\033" not in line(low, low.cameras[0], Screen(80)) + line(low, low.cameras[0])


def test_what_is_no_terminal_gets_all_of_it(state: State) -> None:
    state = seeing(state)
    text = line(state, state.cameras[0])
    assert "invoke" in text and "MiB" in text and "person 3 0.90 and 2 more" in text
