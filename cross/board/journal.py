"""What is being tried, what was good before: a state machine without a disk and without a clock.

    journal = begin(journal, "0.2.0-3f…", allowance, moment)   # from now on the board decides
    journal = passed(journal)                                    # the gate was passed
    journal = failed(journal, "no detections in 60 s", moment)   # the release before is put back
    journal = resumed(journal, moment)                           # first thing after a start of the board

The journal is written before the disk is changed to fit it, and everything that follows from it (`current`, the
restart) can be done again any number of times. So whatever a power cut interrupts, the journal says how it goes on:

    settled ── begin ──► trying ── passed ──► settled        what was tried is good now
                           │ failed, too late, or a start of the board too many
                           ▼
                        reverting ── passed or failed ──► settled, ailing when it failed

Borrowed: named and stored states from Mender, counted tries from RAUC and systemd's boot counting, the confirmation
over a new connection from deploy-rs. Unlike the last, what is pending is on the disk, not in a process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from . import FORMAT

Phase = Literal["settled", "trying", "reverting"]

TRIES = 2
"""Windows that a release gets: one, and another when the board starts again in the middle of the first."""

REVERT_WINDOW_S = 60
"""For the release that is put back: it is judged too, but nothing comes after it, so the time is no danger."""


class Moment(NamedTuple):
    """CLOCK_BOOTTIME, which nobody sets, means something within one start of the board only."""

    boot: str
    """/proc/sys/kernel/random/boot_id"""
    ns: int


class JournalError(Exception):
    """A sentence: why this cannot be done now, or why the file is no journal."""


@dataclass(frozen=True)
class Allowance:
    """How a release is tried."""

    window_s: int
    returning: bool
    """Whoever deploys has to come back over a new connection."""


@dataclass(frozen=True)
class Journal:
    phase: Phase = "settled"
    current: str | None = None
    """The release that `current` must point to."""
    good: str | None = None
    """The last one that passed its gate."""
    previous: str | None = None
    """The good one before that: what ROLLBACK goes to."""
    candidate: str | None = None
    """What is tried; while reverting, what failed."""
    tries_left: int = 0
    window_s: int = 0
    returning: bool = False
    boot: str = ""
    deadline_ns: int = 0
    ailing: bool = False
    """The release that runs has not passed its gate, and there is none that would be better."""
    reason: str = ""
    """Why the last trial failed, for people."""
    failed: str | None = None
    """The release that failed last."""
    format: int = FORMAT

    def needs(self) -> frozenset[str]:
        """Releases that must stay on the disk."""
        return frozenset(filter(None, (self.current, self.good, self.previous, self.candidate)))

    def expired(self, now: Moment) -> bool:
        return self.phase != "settled" and (now.boot != self.boot or now.ns >= self.deadline_ns)


def begin(journal: Journal, release: str, allowance: Allowance, now: Moment) -> Journal:
    """Try a release. Raises JournalError while another is being tried."""
    if journal.phase != "settled":
        doing = "is being tried" if journal.phase == "trying" else "failed, and the release before it is being put back"
        raise JournalError(
            f"{journal.candidate} {doing} on this board; wait for the outcome (vigild-deploy wait), then deploy again"
        )
    return replace(
        journal,
        phase="trying",
        current=release,
        candidate=release,
        tries_left=TRIES - 1,
        window_s=allowance.window_s,
        returning=allowance.returning,
        boot=now.boot,
        deadline_ns=now.ns + allowance.window_s * 10**9,
        reason="",
        failed=None,
    )


def passed(journal: Journal) -> Journal:
    """The gate of the release that runs was passed."""
    match journal.phase:
        case "trying":
            previous = journal.good if journal.good != journal.current else journal.previous
            return _settled(replace(journal, good=journal.current, previous=previous, ailing=False))
        case "reverting":
            return _settled(replace(journal, ailing=False))
        case _:
            return replace(journal, ailing=False, good=journal.good or journal.current)


def failed(journal: Journal, reason: str, now: Moment) -> Journal:
    """The gate of the release that runs was not passed."""
    match journal.phase:
        case "trying" if journal.good is not None and journal.good != journal.current:
            return replace(
                journal,
                phase="reverting",
                current=journal.good,
                tries_left=0,
                returning=False,
                boot=now.boot,
                deadline_ns=now.ns + REVERT_WINDOW_S * 10**9,
                reason=reason,
                failed=journal.candidate,
            )
        case "trying":  # the first release on this board, or the good one tried again: there is no better one
            return _settled(replace(journal, ailing=True, reason=reason, failed=journal.candidate))
        case "reverting":
            why = f"{journal.reason}; then {journal.current}, put back, did not pass either: {reason}"
            return _settled(replace(journal, ailing=True, reason=why))
        case _:
            return replace(journal, ailing=True, reason=reason)


def resumed(journal: Journal, now: Moment) -> Journal:
    """After a start of the board or of the guard: a window that ended meanwhile is over; a new start has its own."""
    if journal.phase == "settled" or now.boot == journal.boot:
        return journal
    if journal.phase == "trying" and journal.tries_left == 0:
        return failed(journal, "the board started again while it was being tried, once too often", now)
    window_s = journal.window_s if journal.phase == "trying" else REVERT_WINDOW_S
    tries_left = journal.tries_left - 1 if journal.phase == "trying" else 0
    return replace(journal, tries_left=tries_left, boot=now.boot, deadline_ns=now.ns + window_s * 10**9)


def _settled(journal: Journal) -> Journal:
    return replace(
        journal, phase="settled", candidate=None, tries_left=0, window_s=0, returning=False, boot="", deadline_ns=0
    )


def encode(journal: Journal) -> bytes:
    return json.dumps(asdict(journal), indent=1).encode() + b"\n"


def decode(data: bytes) -> Journal:
    """Raises JournalError."""
    try:
        values: Any = json.loads(data)
    except ValueError as error:
        raise JournalError(f"the journal is not JSON ({error})") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise JournalError(f"the journal has not format {FORMAT}: another version of vigild-deploy wrote it")
    known = {field.name: field for field in fields(Journal)}
    if set(values) != set(known):
        raise JournalError(f"the journal's keys are {', '.join(sorted(values))}, not {', '.join(sorted(known))}")
    for name, value in values.items():
        default = known[name].default
        kinds = (str, type(None)) if default is None else (type(default),)
        if type(value) not in kinds:
            raise JournalError(f"the journal's {name} is {value!r}")
    journal = Journal(**values)
    if journal.phase not in ("settled", "trying", "reverting") or (journal.phase != "settled") != bool(
        journal.candidate
    ):
        raise JournalError(f"the journal's phase is {journal.phase!r} with the candidate {journal.candidate!r}")
    return journal
