"""Findings as text for people, or as JSON.

board
  ok       board          Raspberry Pi 4 Model B Rev 1.4
  PROBLEM  throttling     the kernel reports under voltage
           -> use a stronger power supply (5 V at 3 A for a Pi 4, 5 A for a Pi 5) and a short, thick cable
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vigild import __version__, terminal
from vigild.decoding import encoded
from vigild.doctor.finding import Finding, could_run
from vigild.terminal import BOLD, GREEN, RED, YELLOW, Screen

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_COLORS = {"ok": GREEN, "note": YELLOW, "problem": RED}
_MARK_WIDTH = 8
_NAME_WIDTH = 18


def lines(findings: Iterable[Finding], screen: Screen = Screen()) -> Iterator[str]:  # noqa: B008 - a tuple
    """A heading for each group, a line for each finding, and one below it for what to do; wrapped to the screen."""
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            yield screen.paint(group, BOLD)
        mark = _MARKS[finding.state]
        found = f"  {mark:{_MARK_WIDTH}} {finding.name:{_NAME_WIDTH}} {finding.found}"
        first, *rest = terminal.wrap(found, screen.columns, indent=_MARK_WIDTH + _NAME_WIDTH + 4)
        yield first.replace(mark, screen.paint(mark, _COLORS[finding.state]), 1)
        yield from rest
        if finding.todo:
            todo = f"  {'':{_MARK_WIDTH}} -> {finding.todo}"
            yield from terminal.wrap(todo, screen.columns, indent=_MARK_WIDTH + 6)


def verdict(findings: list[Finding]) -> str:
    """The last line."""
    problems = sum(finding.state == "problem" for finding in findings)
    blocking = [finding.name for finding in findings if finding.blocks]
    if blocking:
        return f"vigild could not run here because of: {', '.join(dict.fromkeys(blocking))}"
    if problems:
        return f"vigild could run here; {problems} thing{'' if problems == 1 else 's'} should be seen to"
    return "vigild could run here"


def as_json(findings: list[Finding]) -> bytes:
    """One object: could_run, version, findings. A finding's todo and blocks are left out when empty and false."""
    report: dict[str, Any] = {"could_run": could_run(findings), "version": __version__, "findings": findings}
    return encoded(msgspec.json.encode, report)
