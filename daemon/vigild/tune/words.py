"""The measurements in one sentence: what to use, and why not the others.

sentence(rows, choice, budgets)
# int8 with 1 thread on xnnpack: 3.1 ms, 41 MiB, AP -0.002 against float32; float32 is 2.4 times slower,
# int16x8 runs on plain kernels here and is 40 times slower.
"""

from __future__ import annotations

from collections.abc import Iterable

from vigild.catalogue.choose import AGREEMENT_TIE, AP_TIE, Choice, name, unfit
from vigild.catalogue.profile import Budgets, Row
from vigild.figures import mebibytes
from vigild.tune.table import figure

MAX_OTHERS = 4
"""Variants that are compared with; the table has all."""

SAME_SPEED = 1.1

BUSY_CORES = 0.3
"""Of other processes: above it the times say little."""


def sentence(rows: Iterable[Row], choice: Choice, budgets: Budgets) -> str:
    """One sentence; with nothing to recommend it says why."""
    everything = list(rows)
    row = choice.row
    if row is None:
        return f"Nothing can be recommended: {choice.reason}."
    first = f"{name(row)}: {figure(row.p50_ms)} ms, {mebibytes(row.memory_bytes)}{_accuracy(row, everything)}"
    others = [text for other in _others(everything, row) if (text := _beside(other, row, budgets))]
    return f"{first} ({choice.reason})" + (f"; {', '.join(others)}" if others else "") + "."


def settings(row: Row, model: str) -> list[str]:
    """The lines of a configuration that use a setting without a profile, as TOML."""
    lines = ["[model]", f'name = "{model}"', f'variant = "{row.variant}"', f"threads = {row.threads}"]
    if row.delegate not in ("xnnpack", "edgetpu"):  # what `auto` begins with
        lines.append(f'delegate = "{row.delegate}"')
    return lines


def warnings(rows: Iterable[Row]) -> list[str]:
    """What makes the figures doubtful, as sentences."""
    working = [row for row in rows if row.works]
    found = []
    busy = max((row.others_busy for row in working), default=0.0)
    if busy > BUSY_CORES:
        found.append(
            f"Other programs kept {busy:.1f} cores busy meanwhile: measure again on a quiet board before you "
            "believe the times."
        )
    flags = sorted({flag for row in working for flag in row.flags})
    if flags:
        found.append(f"The board was limited meanwhile ({', '.join(flags).replace('_', ' ')}): see vigild doctor.")
    if working and all(
        row.accuracy is None or (row.accuracy.agreement, row.accuracy.ap) == (None, None) for row in working
    ):
        found.append("How accurate the variants are is not known: bring pictures with --images FOLDER.")
    return found


def _accuracy(row: Row, rows: list[Row]) -> str:
    """ ", AP -0.002 against float32": with what there is to say."""
    mine = row.accuracy
    if mine is None:
        return ""
    reference = next((other for other in rows if other.variant == mine.reference and other.accuracy), None)
    if mine.ap is not None:
        theirs = reference.accuracy.ap if reference is not None and reference.accuracy is not None else None
        if theirs is None or mine.reference == row.variant:
            return f", AP {mine.ap:.3f}"
        return f", AP {mine.ap - theirs:+.3f} against {mine.reference}"
    if mine.agreement is not None and mine.reference != row.variant:
        return f", agrees with {mine.reference} on {100 * mine.agreement:.0f} % of the detections"
    return ""


def _others(rows: list[Row], chosen: Row) -> list[Row]:
    """Of each other variant the setting with the chosen one's number of threads, else its fastest."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.works and row.variant != chosen.variant:
            known = best.get(row.variant)
            if known is None or _rank(row, chosen) < _rank(known, chosen):
                best[row.variant] = row
    # What somebody may be tempted to use comes first.
    return sorted(best.values(), key=lambda row: row.p50_ms)[:MAX_OTHERS]


def _rank(row: Row, chosen: Row) -> tuple[bool, float]:
    return row.threads != chosen.threads, row.p50_ms


def _beside(other: Row, chosen: Row, budgets: Budgets) -> str:
    """Another variant against the chosen one, as a clause."""
    plain = ""
    if other.delegate == "none" or 2 * other.delegate_nodes < other.total_nodes:
        plain = "runs on plain kernels here and "
    speed = _speed(other, chosen)
    but = _why_not(other, chosen, budgets) if "slower" not in speed else ""
    return f"{other.variant} {plain}{speed}{but}"


def _speed(other: Row, chosen: Row) -> str:
    times = other.p50_ms / chosen.p50_ms
    if times >= SAME_SPEED:
        return f"is {_times(times)} times slower"
    return f"is {_times(1 / times)} times faster" if times <= 1 / SAME_SPEED else "is as fast"


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _why_not(other: Row, chosen: Row, budgets: Budgets) -> str:
    if over := unfit(other, budgets):
        return f" but takes {over}"
    mine, theirs = chosen.accuracy, other.accuracy
    if mine is not None and theirs is not None and mine.ap is not None and theirs.ap is not None:
        if theirs.ap < mine.ap - AP_TIE:
            return f" but loses {mine.ap - theirs.ap:.3f} AP"
        return ""
    if mine is not None and theirs is not None and mine.found is not None and theirs.found is not None:
        wrong = (theirs.missed or 0) + (theirs.invented or 0) - (mine.missed or 0) - (mine.invented or 0)
        if wrong > 0:
            return f" but is wrong about {wrong} more shapes of the test card"
    if other.width * other.height < chosen.width * chosen.height:
        return f" but sees only {other.width}x{other.height} pixels"
    if theirs is not None and theirs.agreement is not None and theirs.agreement < 1 - AGREEMENT_TIE:
        return f" but agrees with {theirs.reference} on only {100 * theirs.agreement:.0f} % of the detections"
    return ""
