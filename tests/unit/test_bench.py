"""The benchmark must not judge what others disturbed, and must notice them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.figures import QUIET_CORES, Figure, quantile
from bench.machine import Load, foreign_users_of_libraries, process_cpu_s, tree

BURN = "while True: pass"
BURNT_S = 0.4
"""CPU time to wait for; the kernel's ticks are 10 ms."""

HANG_S = 60.0


def figure(needed: int = 2) -> Figure:
    return Figure("row", "figure", limit=1.0, needed=needed)


def burn(pid: int) -> float:
    """Wait until the process has used the CPU for a while; returns how long."""
    begun = process_cpu_s(pid)
    deadline = time.monotonic() + HANG_S
    while (spent := process_cpu_s(pid) - begun) < BURNT_S:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return spent


def test_quiet_samples_are_judged() -> None:
    good, bad = figure(), figure()
    for _ in range(2):
        good.add(1.0, 0.0)
        bad.add(1.1, QUIET_CORES)
    assert good.verdict(judge=True)[0] == "reached"
    assert bad.verdict(judge=True)[0] == "missed"


@pytest.mark.parametrize(("foreign", "disturbed"), [(QUIET_CORES + 0.01, ""), (0.0, "others map the libraries")])
def test_disturbed_samples_do_not_count(foreign: float, disturbed: str) -> None:
    judged = figure()
    for _ in range(2):
        judged.add(0.5, 0.0)
    for _ in range(3):
        judged.add(99.0, foreign, disturbed)
    assert judged.value == 0.5
    assert judged.verdict(judge=True)[0] == "reached"


def test_too_few_quiet_samples_are_not_judged() -> None:
    judged = figure()
    judged.add(99.0, 0.0)
    judged.add(99.0, 1.0)
    assert judged.verdict(judge=True)[0] == "not judged"


def test_a_quick_run_an_unfit_machine_and_no_samples_are_not_judged() -> None:
    empty, unfit = figure(), figure()
    for _ in range(2):
        unfit.add(99.0, 0.0)
    assert unfit.verdict(judge=False)[0] == "not judged"
    unfit.unfit = "too slow"
    assert unfit.verdict(judge=True) == ("not judged", "too slow")
    assert empty.verdict(judge=True)[0] == "not judged"


def test_it_is_given_up_when_not_one_sample_was_quiet() -> None:
    hopeless, promising, done = figure(), figure(), figure()
    for foreign in (1.0, 1.0):
        hopeless.add(1.0, foreign)
        done.add(1.0, 0.0)
    promising.add(1.0, 1.0)
    promising.add(1.0, 0.0)
    assert hopeless.settled and done.settled
    assert not promising.settled


def test_at_least_and_at_most() -> None:
    judged = Figure("row", "figure", limit=0.97, at_least=True)
    judged.add(0.98, 0.0)
    assert judged.verdict(judge=True)[0] == "reached"
    judged.at_least = False
    assert judged.verdict(judge=True)[0] == "missed"


def test_quantiles_are_nearest_rank() -> None:
    values = list(range(1, 101))
    assert quantile(values, 0.5) == 50
    assert quantile(values, 0.99) == 99
    assert quantile([7.0], 0.99) == 7.0


def test_our_own_children_are_not_foreign() -> None:
    load = Load()
    with subprocess.Popen([sys.executable, "-c", BURN]) as child:
        try:
            spent = burn(child.pid)
            used = load.stop()
        finally:
            child.kill()
    assert used.own * used.seconds >= spent


def test_the_load_of_others_is_seen() -> None:
    script = f"import os, sys; pid = os.fork(); pid and (print(pid, flush=True), os._exit(0)); os.setsid()\n{BURN}"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        orphan = int(starter.stdout.readline())
        try:
            starter.wait(HANG_S)
            assert orphan not in tree(os.getpid())
            load = Load()
            spent = burn(orphan)
            used = load.stop()
        finally:
            os.kill(orphan, 9)
    assert used.foreign * used.seconds > spent / 2


def test_others_that_map_the_same_libraries_are_named() -> None:
    script = (
        "import os, sys; pid = os.fork(); pid and os._exit(0); os.setsid(); "
        "import numpy, time; print(os.getpid(), flush=True); time.sleep(600)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as starter,
        subprocess.Popen([sys.executable, "-c", "import numpy; print(input())"], stdin=subprocess.PIPE) as ours,
    ):
        assert starter.stdout is not None
        orphan = int(starter.stdout.readline())
        try:
            deadline = time.monotonic() + HANG_S
            while f"({orphan})" not in (named := " ".join(foreign_users_of_libraries([ours.pid]))):
                assert time.monotonic() < deadline, named
                time.sleep(0.05)
            assert f"({ours.pid})" not in named
        finally:
            os.kill(orphan, 9)
            ours.kill()


def test_nothing_heavy_is_imported_beside_the_daemon() -> None:
    code = (
        "import sys, bench.rows; print([m for m in ('numpy', 'cv2', 'ai_edge_litert', 'vigild') if m in sys.modules])"
    )
    tests = str(Path(__file__).resolve().parents[1])
    seen = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": tests},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "[]"
