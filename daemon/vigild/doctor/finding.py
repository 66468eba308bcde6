"""One line of the report.

ok("glibc", "2.36")
problem("memory budget", "the board has 200 MiB", "lower budget.memory", blocks=True)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vigild import plain

State = Literal["ok", "note", "problem"]
"""ok; note: good to know, nothing has to be done; problem: something should be done."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found of one thing."""

    name: str
    state: State
    found: str
    """A clause without a full stop."""
    todo: str = ""
    """What to do about it, as an order; empty: nothing."""
    blocks: bool = False
    """vigild could not run like this."""
    group: str = ""
    """The heading it stands under; `examine` fills it in."""


def ok(name: str, found: str) -> Finding:
    return _finding(name, "ok", found)


def note(name: str, found: str, todo: str = "") -> Finding:
    return _finding(name, "note", found, todo)


def problem(name: str, found: str, todo: str, *, blocks: bool = False) -> Finding:
    return _finding(name, "problem", found, todo, blocks)


def _finding(name: str, state: State, found: str, todo: str = "", blocks: bool = False) -> Finding:
    """A line each, whatever drivers, libraries and files of others said."""
    sentence = plain.sentence
    return Finding(name=plain.name(name), state=state, found=sentence(found), todo=sentence(todo), blocks=blocks)


def could_run(findings: list[Finding]) -> bool:
    """Whether nothing stands in vigild's way."""
    return not any(finding.blocks for finding in findings)
