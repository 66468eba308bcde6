"""The board's clock is set, back by a year and forward by a day, under a daemon that runs and a deploy that is pending.

A Raspberry Pi has no clock that runs without power: it jumps by years when the network's time comes. Here the whole
machine is emulated, and so the clock that is set is the board's own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from installed import PATIENCE_S, WINDOW_S, Installed, wait_for

from cross import bundle as bundles
from cross import deploy, target
from cross.bundle import Bundle
from cross.deploy import Job
from cross.emulation import images

YEAR_S, DAY_S, HOUR_S = 365 * 86400, 86400, 3600
JUMPS_S = (-YEAR_S, DAY_S)

LATER_EPOCH = "1600000000"
"""Of the files in another bundle of this tree, which makes it another release."""

UNRETURNED_S = 60
"""The window of a release that nobody comes back for."""

Clock = Callable[[int], datetime]


@pytest.fixture
def clock(installed: Installed) -> Iterator[Clock]:
    """Sets the board's clock by so many seconds; what it says then."""

    def jump(by_s: int) -> datetime:
        now = installed.board.run(f"date -s @$(($(date +%s) + {by_s})) +%s")
        return datetime.fromtimestamp(int(now), timezone.utc)

    yield jump
    installed.board.run(f"date -s @{time.time():.0f}")


def journal(installed: Installed) -> dict[str, Any]:
    """Of deploys."""
    return dict(json.loads(installed.board.run("cat /opt/vigild/journal.json")))


def told(message: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(message["time"].replace("Z", "+00:00"))


def test_results_go_on_whatever_the_clock_says(installed: Installed, clock: Clock):
    pid, restarts = installed.show("MainPID"), installed.show("NRestarts")
    with installed.client() as client:
        frame = client.until("detections", PATIENCE_S)["frame"]
        for by_s in JUMPS_S:
            now = clock(by_s)
            # The time that it tells is for people, and follows.
            seen = client.collect(
                lambda m, now=now: m["type"] == "detections" and abs((told(m) - now).total_seconds()) < DAY_S / 2,
                PATIENCE_S,
            )
            # And systemd's watchdog hears of it again, twice, as it would not if the hub counted by that clock.
            beats = {installed.show("WatchdogTimestampMonotonic")}
            while len(beats) < 3:
                seen += client.collect("detections", PATIENCE_S)
                beats.add(installed.show("WatchdogTimestampMonotonic"))
            frames = [message["frame"] for message in seen if message["type"] == "detections"]
            assert frames == sorted(frames) and frames[0] > frame
            frame = frames[-1]
            events = [message for message in seen if message["type"] == "event"]
            assert "worker_died" not in {message["kind"] for message in events}, events
            # Under emulation a camera may be late; one that were late by that clock would be so by days.
            late_s = [float(s) for m in events for s in re.findall(r"for ([0-9.]+) s\b", m.get("reason", ""))]
            assert max(late_s, default=0.0) < HOUR_S, events
    assert (installed.show("MainPID"), installed.show("NRestarts")) == (pid, restarts)


@pytest.fixture(scope="module")
def later(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    if installed.name != "x86_64":
        pytest.skip("deploys take minutes on an emulated board, and a clock is the same on each: on x86_64 alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", LATER_EPOCH)
        kind = target.load(images.TARGETS[installed.name])
        return Bundle.open(bundles.make(kind, None, tmp_path_factory.mktemp("later")))


def test_a_pending_release_is_confirmed_whatever_the_clock_says(
    installed: Installed, clock: Clock, later: Bundle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIGILD_SSH", f"ssh -F {installed.board.ssh_config}")
    left = list(JUMPS_S)

    def say(text: str) -> None:
        print(text)
        # A condition that is waited for: the board is in the middle of its trial.
        if left and text.startswith("  waiting"):
            clock(left.pop(0))

    begun = time.monotonic()
    outcome = deploy.deploy(later, Job(f"pi@{installed.board.name}", window_s=WINDOW_S), say)
    assert outcome.good, outcome.detail
    assert left == [], "the clock was not set while it was pending"
    assert journal(installed)["current"] == later.release_name()
    installed.tell(f"deploy of a changed wheel, and passed its gate, in {time.monotonic() - begun:.0f} s")


def test_a_pending_release_is_put_back_by_a_time_that_nobody_sets(
    installed: Installed, clock: Clock, later: Bundle, monkeypatch: pytest.MonkeyPatch
):
    """Nobody comes back over a new connection: when its window has passed, and no sooner, the board goes back."""
    run = installed.board.run
    if journal(installed)["current"] != later.release_name():  # by itself, without the test before it
        monkeypatch.setenv("VIGILD_SSH", f"ssh -F {installed.board.ssh_config}")
        outcome = deploy.deploy(later, Job(f"pi@{installed.board.name}", window_s=WINDOW_S), print)
        assert outcome.good, outcome.detail
    clock(-YEAR_S)
    # In one command, because a login alone may take a good part of its window.
    jumps = f"for by in {DAY_S} -{YEAR_S}; do date -s @$(($(date +%s) + by)); cat /opt/vigild/journal.json; done"
    said = run(f"vigild-deploy rollback --returning --window {UNRETURNED_S}; {jumps}")
    assert re.findall(r'"phase": "(.*?)"', said) == ["trying", "trying"], "a day is longer than its window"
    candidate = re.findall(r'"candidate": "(.*?)"', said)[-1]
    deadline_ns = int(re.findall(r'"deadline_ns": ([0-9]+)', said)[-1])
    wait_for(lambda: journal(installed)["phase"] == "settled", "the board has decided")
    after = journal(installed)
    assert after["current"] == after["good"] == later.release_name()
    assert after["failed"] == candidate
    assert f"not within {UNRETURNED_S} s" in after["reason"] and "a new connection" in after["reason"]
    entries = map(json.loads, run("journalctl --boot -u vigild-confirm -o json --no-pager").splitlines())
    ends_us = [int(e["__MONOTONIC_TIMESTAMP"]) for e in entries if "did not pass its gate" in str(e["MESSAGE"])]
    assert ends_us[-1] * 1000 >= deadline_ns, "sooner than its window"
    with installed.client() as client:
        client.until("detections", PATIENCE_S)
    assert Path(run("readlink /opt/vigild/current").strip()).name == later.release_name()
