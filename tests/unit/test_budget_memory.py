"""Memory: leaks are ended before the budget, for every budget and slope, and nothing healthy is ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simboard.leaks import MIB, Leak, run
from vigild.budget import memory_governor
from vigild.budget.actions import Action, Move, Recycle, Trim
from vigild.budget.memory_governor import Usage

HOUR = 3600.0


def daemon(leak_mib_s: float, leaks_from: float = 60.0) -> list[Leak]:
    return [Leak("detector", 70 * MIB, leak_mib_s * MIB, leaks_from), Leak("front", 25 * MIB)]


@pytest.mark.parametrize("budget", [160, 256, 512])
@pytest.mark.parametrize("leak", [0.05, 0.5, 2.0, 5.0])
def test_a_leak_never_reaches_the_budget(leak: float, budget: int) -> None:
    trace = run(daemon(leak), budget * MIB, HOUR)
    assert trace.peak <= budget * MIB
    assert {name for _, name in trace.recycled} <= {"detector"}


def test_without_the_governor_the_same_leak_does() -> None:
    assert run(daemon(0.5), 256 * MIB, HOUR, governed=False).peak > 256 * MIB


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.02, 5.0),
    st.integers(160, 600),
    st.floats(20.0, 600.0),
    st.sampled_from(["detector", "front"]),
    st.booleans(),
)
def test_whoever_leaks_whenever_it_begins(leak: float, budget: int, begins: float, who: str, overlap: bool) -> None:
    sizes = {"detector": 70 * MIB, "front": 25 * MIB}
    workers = [Leak(name, size, leak * MIB if name == who else 0.0, begins) for name, size in sizes.items()]
    trace = run(workers, budget * MIB, 1200, overlap=overlap)
    assert trace.peak <= budget * MIB
    assert {name for _, name in trace.recycled} <= {who}


def test_a_healthy_daemon_is_left_alone_however_long_it_loads() -> None:
    trace = run([Leak("detector", 120 * MIB), Leak("front", 25 * MIB)], 256 * MIB, HOUR)
    assert not trace.recycled
    assert not trace.moves


def test_a_peak_that_is_given_back_trims_and_ends_nobody() -> None:
    workers = [Leak("detector", 70 * MIB, spikes=((600, 610, 30 * MIB),)), Leak("front", 25 * MIB)]
    trace = run(workers, 165 * MIB, HOUR)
    assert not trace.recycled
    assert [on for _, on in trace.trims] == [True, False]


def test_a_leak_is_ended_while_there_is_room_for_a_successor() -> None:
    trace = run(daemon(0.1), 256 * MIB, 2 * HOUR)
    assert trace.recycled
    assert trace.peak < 256 * MIB - 60 * MIB


def follow(usages: list[Usage], budget: int, variants: int = 1, every: float = 1.0) -> list[Action]:
    state, found = memory_governor.State(), []
    for at, usage in enumerate(usages):
        state, actions = memory_governor.step(state, usage, budget, at * every, variants)
        found += actions
    return found


def test_too_small_a_budget_is_said_once_and_a_lighter_variant_is_asked_for() -> None:
    usage = Usage(used_bytes=115 * MIB, workers={"detector": 70 * MIB})
    state, found = memory_governor.State(), []
    for second in range(200):
        state, actions = memory_governor.step(state, usage, 100 * MIB, float(second), 3)
        found += actions
    assert [action.kind for action in found if isinstance(action, Move)] == ["memory_trim", "not_held"]
    assert 1 <= state.lighter <= 2
    for second in range(200, 6000):
        calm = Usage(used_bytes=50 * MIB, workers={"detector": 40 * MIB})
        state, _ = memory_governor.step(state, calm, 100 * MIB, float(second), 3)
    assert state.lighter == 0


@pytest.mark.parametrize("extra", [{"high_events": 3}, {"stall_percent": 25.0}, {"max_events": 1}, {"woken": True}])
def test_the_kernels_word_counts_whatever_the_bytes_say(extra: dict[str, float]) -> None:
    quiet = Usage(used_bytes=50 * MIB, workers={"detector": 30 * MIB})
    pressed = Usage(used_bytes=50 * MIB, workers={"detector": 30 * MIB}, **extra)  # type: ignore[arg-type]
    found = follow([quiet, quiet, pressed], 256 * MIB)
    assert isinstance(found[0], Trim)
    assert isinstance(found[1], Move)


def test_a_recycle_says_who_grew_and_how_much() -> None:
    usages = [Usage(used_bytes=(100 + 2 * at) * MIB, workers={"detector": (70 + 2 * at) * MIB}) for at in range(80)]
    recycled = [action for action in follow(usages, 200 * MIB) if isinstance(action, Recycle)]
    assert recycled[0].worker == "detector"
    assert "detector has grown from" in recycled[0].reason
    assert "budget 200 MiB" in recycled[0].reason
