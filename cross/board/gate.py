"""The health gate: what must be true before a release counts as good. Pure: facts in, verdicts out.

    verdicts = judge(facts, demands)
    outcome(verdicts)              # "passed", "waiting" or "failed"

Each condition is a function of its own, so that each can be shown to matter. `waiting` becomes a failure when the
window ends; `failed` ends the window at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

State = Literal["ok", "waiting", "failed"]

MAX_CRASHES = 3
"""Restarts by systemd within one window after which nobody needs to wait for its end."""

LASTING_S = 5.0
"""As long the same process must have been up: a crash after the first picture is a crash."""

BEATS = 2
"""systemd sets the time itself at the start; a second one is a WATCHDOG=1 that came."""


class Verdict(NamedTuple):
    name: str
    state: State
    detail: str


class Demands(NamedTuple):
    """What this trial asks for."""

    release: str
    returning: bool


@dataclass(frozen=True)
class Facts:
    """What was seen since the switch."""

    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    crashes: int = 0
    """Restarts by systemd since the switch."""
    release: str | None = None
    """That the main process runs from."""
    up_s: float = 0.0
    status_text: str = ""
    watchdog_on: bool = False
    beats: int = 0
    """Different times of WATCHDOG=1 from this process."""
    frames: tuple[int, ...] = ()
    """Frame numbers of `detections` lines since the switch, as they came, of the camera that moved most."""
    frames_from: str = ""
    """That camera, or "test card"."""
    cameras: dict[str, str] = field(default_factory=dict)
    """Their status."""
    greeted: bool = False
    """A new client was given `hello` and an answer by the new process."""
    greeting_fault: str = ""
    new_errors: tuple[str, ...] = ()
    """Error lines of a kind that the release before did not log."""
    memory_bytes: int | None = None
    memory_budget_bytes: int | None = None
    celsius: float | None = None
    celsius_budget: float | None = None
    returned: bool = False


def active(facts: Facts, demands: Demands) -> Verdict:
    """Type=notify: systemd says active only after READY=1."""
    name = "active and ready"
    if facts.crashes >= MAX_CRASHES:
        # While it is being started again, systemd has forgotten how it ended.
        last = f" (last: {facts.result})" if facts.result not in ("", "success") else ""
        return Verdict(name, "failed", f"it ended {facts.crashes} times{last}")
    if facts.active_state == "failed":
        return Verdict(name, "failed", f"the unit failed ({facts.result})")
    if (facts.active_state, facts.sub_state) != ("active", "running"):
        return Verdict(name, "waiting", f"the unit is {facts.active_state or 'unknown'} ({facts.sub_state or '-'})")
    if facts.release != demands.release:
        return Verdict(name, "waiting", f"what runs is {facts.release or 'not from a release'}")
    return Verdict(name, "ok", facts.status_text or "ready")


def lasting(facts: Facts, demands: Demands) -> Verdict:
    name = "stays up"
    if facts.up_s < LASTING_S:
        return Verdict(name, "waiting", f"up for {facts.up_s:.0f} s of {LASTING_S:.0f} s")
    return Verdict(name, "ok", f"up for {facts.up_s:.0f} s")


def watchdog(facts: Facts, demands: Demands) -> Verdict:
    name = "watchdog beats"
    if not facts.watchdog_on:
        return Verdict(name, "failed", "the unit has no WatchdogSec=")
    if facts.beats < BEATS:
        return Verdict(name, "waiting", f"{facts.beats} of {BEATS} beats")
    return Verdict(name, "ok", f"{facts.beats} beats")


def detections(facts: Facts, demands: Demands) -> Verdict:
    """Numbers that grow: the same frame said twice is no movement."""
    name = "detections move"
    frames = facts.frames
    if len(frames) >= 2 and frames[-1] > frames[0]:
        return Verdict(name, "ok", f"{facts.frames_from}: frame {frames[0]} to {frames[-1]}")
    known = ", ".join(f"{camera} {status}" for camera, status in sorted(facts.cameras.items()))
    return Verdict(name, "waiting", f"{len(set(frames))} new frames inferred; cameras: {known or 'none known'}")


def client(facts: Facts, demands: Demands) -> Verdict:
    name = "a client connects"
    if not facts.greeted:
        return Verdict(name, "waiting", facts.greeting_fault or "nobody was greeted yet")
    return Verdict(name, "ok", "greeted and answered")


def connection(facts: Facts, demands: Demands) -> Verdict:
    name = "a new connection"
    if demands.returning and not facts.returned:
        return Verdict(name, "waiting", "whoever deployed has not come back over a new connection")
    return Verdict(name, "ok", "came back" if demands.returning else "not asked for: installed on the board itself")


def errors(facts: Facts, demands: Demands) -> Verdict:
    name = "no new errors"
    if facts.new_errors:
        return Verdict(name, "failed", "; ".join(facts.new_errors[:3]))
    return Verdict(name, "ok", "none")


def budgets(facts: Facts, demands: Demands) -> Verdict:
    name = "inside its budgets"
    if facts.memory_bytes is None or facts.memory_budget_bytes is None:
        return Verdict(name, "waiting", "memory is not known yet")
    memory = f"memory {facts.memory_bytes >> 20} of {facts.memory_budget_bytes >> 20} MiB"
    if facts.memory_bytes > facts.memory_budget_bytes:
        return Verdict(name, "waiting", memory)
    if facts.celsius is not None and facts.celsius_budget is not None:
        heat = f"{facts.celsius:.0f} of {facts.celsius_budget:.0f} °C"
        if facts.celsius > facts.celsius_budget:
            return Verdict(name, "waiting", heat)
        memory = f"{memory}, {heat}"
    return Verdict(name, "ok", memory)


CONDITIONS: tuple[Callable[[Facts, Demands], Verdict], ...] = (
    active,
    lasting,
    watchdog,
    detections,
    client,
    connection,
    errors,
    budgets,
)


def judge(facts: Facts, demands: Demands) -> list[Verdict]:
    return [condition(facts, demands) for condition in CONDITIONS]


def outcome(verdicts: Iterable[Verdict]) -> Literal["passed", "waiting", "failed"]:
    states = {verdict.state for verdict in verdicts}
    if "failed" in states:
        return "failed"
    return "waiting" if "waiting" in states else "passed"


def why(verdicts: Iterable[Verdict]) -> str:
    """What was wrong, for people; for the log and the table."""
    bad = [verdict for verdict in verdicts if verdict.state == "failed"] or [
        verdict for verdict in verdicts if verdict.state == "waiting"
    ]
    return "; ".join(f"{verdict.name}: {verdict.detail}" for verdict in bad) or "nothing"


_VARYING = re.compile(r"0x[0-9a-f]+|\d+([.,:]\d+)*")


def kind_of(message: str) -> str:
    """Of two error lines, whether they tell the same: without numbers, times and addresses."""
    return _VARYING.sub("#", message)


def new_errors(before: Iterable[str], since: Iterable[str]) -> tuple[str, ...]:
    """Messages since the switch of a kind that was not logged before it, each kind once."""
    known = {kind_of(message) for message in before}
    found: list[str] = []
    for message in since:
        if kind_of(message) not in known:
            known.add(kind_of(message))
            found.append(message)
    return tuple(found)
