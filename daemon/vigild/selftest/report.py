"""Outcomes as text for people, or as JSON.

ok       int8 on litert 2.3.0, xnnpack takes 107 of 108 nodes
         72 of 72 objects found, none invented, worst box IoU 0.82; 0.94 ms per invoke(), 0.3 s in all
         against plain kernels: scores off by up to 0.012, worst box IoU 0.94
WRONG    int8 on litert 2.3.0, /opt/lib.so takes 2 of 108 nodes
         0 of 72 objects found, 12 invented; 4.1 ms per invoke(), 0.4 s in all
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vigild import __version__
from vigild.catalogue import embedded
from vigild.decoding import encoded
from vigild.figures import milliseconds
from vigild.selftest.conduct import CARDS, Outcome
from vigild.selftest.judge import LEAST_AGREEING_IOU, SCORE_TOLERANCE_FLOAT, SCORE_TOLERANCE_INT8, Agreement, Truth

_MARKS = {"right": "ok", "wrong": "WRONG", "failed": "FAILED", "skipped": "skipped"}
_MARK_WIDTH = 8


def passed(outcomes: Iterable[Outcome]) -> bool:
    """Whether something was tried, and all of it is right."""
    states = [outcome.state for outcome in outcomes if outcome.state != "skipped"]
    return bool(states) and set(states) == {"right"}


def heading() -> str:
    """What it is about."""
    cards = len(CARDS)
    return f"The embedded model {embedded.ENTRY} on {cards} test cards whose objects are known"


def lines(outcome: Outcome) -> Iterator[str]:
    """What was tried, and below it what came of it."""
    yield f"  {_MARKS[outcome.state]:{_MARK_WIDTH}} {_what(outcome)}"
    for text in (_seen(outcome), _agrees(outcome), outcome.reason):
        if text:
            yield f"  {'':{_MARK_WIDTH}} {text}"


def verdict(outcomes: list[Outcome]) -> str:
    """All of it in one sentence."""
    right = [outcome for outcome in outcomes if outcome.state == "right"]
    bad = [outcome for outcome in outcomes if outcome.state in ("wrong", "failed")]
    if bad:
        more = f" ({len(bad) - 1} more like it above)" if len(bad) > 1 else ""
        instead = f"{_with(right[0])} computes right" if right else ""
        return "; ".join(filter(None, (_fault(bad[0]) + more, instead, _todo(bad[0])))) + "."
    if not right:
        return f"Nothing was tested: {'; '.join(f'{_what(o)}: {o.reason}' for o in outcomes)}."
    if len(right) > 1:
        return f"All {len(right)} combinations compute right: {_worst(right)}."
    (one,) = right
    assert one.truth is not None
    agrees = f", and agrees with plain kernels within {_off(one.agreement)} of a score" if one.agreement else ""
    return f"{_with(one)} computes right: it finds {_count(one.truth)}, invents {one.truth.invented or 'none'}{agrees}."


def as_json(outcomes: list[Outcome]) -> bytes:
    """One object: passed, verdict, version, model, outcomes. What an outcome does not have is left out."""
    report: dict[str, Any] = {
        "passed": passed(outcomes),
        "verdict": verdict(outcomes),
        "version": __version__,
        "model": embedded.ENTRY,
        "outcomes": outcomes,
    }
    return encoded(msgspec.json.encode, report)


def _what(outcome: Outcome) -> str:
    """ "int8 on litert 2.3.0, xnnpack takes 107 of 108 nodes"."""
    runtime = " ".join(filter(None, (outcome.runtime, outcome.version)))
    known = " on ".join(text for text in (outcome.variant, runtime) if text not in ("", "auto"))
    text = ", ".join(filter(None, (known, _name(outcome.delegate))))
    if not outcome.nodes or outcome.delegate == "none":
        return text
    if outcome.executes == "none":
        return f"{text} takes none of {outcome.nodes} nodes, so plain kernels"
    return f"{text} takes {outcome.taken} of {outcome.nodes} nodes"


def _with(outcome: Outcome) -> str:
    """ "litert 2.3.0 with xnnpack"."""
    executes = outcome.executes or outcome.delegate
    if outcome.runtime == "auto":
        return _name(executes)
    return f"{' '.join(filter(None, (outcome.runtime, outcome.version)))} with {_name(executes)}"


def _name(delegate: str) -> str:
    return "plain kernels" if delegate == "none" else delegate


def _worst(outcomes: list[Outcome]) -> str:
    truths = [outcome.truth for outcome in outcomes if outcome.truth is not None]
    if not any(truth.mistakes for truth in truths):
        return "every object found, none invented"
    worst = max(truths, key=lambda truth: truth.mistakes)
    return f"at worst {_count(worst)} found and {worst.invented or 'none'} invented"


def _count(truth: Truth) -> str:
    return f"{truth.found} of {truth.objects} objects"


def _seen(outcome: Outcome) -> str:
    if outcome.truth is None:
        return ""
    truth = outcome.truth
    worst = f", worst box IoU {truth.worst_iou:.2f}" if truth.found else ""
    took = f"{milliseconds(outcome.invoke_ms)} per invoke(), {outcome.seconds:.1f} s in all"
    return f"{_count(truth)} found, {truth.invented or 'none'} invented{worst}; {took}"


def _agrees(outcome: Outcome) -> str:
    agreement = outcome.agreement
    if agreement is None:
        return ""
    return f"against plain kernels: scores off by up to {_off(agreement)}, worst box IoU {agreement.iou:.2f}"


def _off(agreement: Agreement) -> str:
    """Of scores, in thousandths, rounded up: float kernels differ by millionths."""
    return f"{math.ceil(agreement.score * 1000) / 1000:.3f}"


def _fault(outcome: Outcome) -> str:
    """ "WRONG RESULTS: litert 2.3.0 with /opt/lib.so finds 0 of 72 objects and invents 300"."""
    if outcome.state == "failed" or outcome.truth is None:
        return f"NO RESULTS: {_with(outcome)}: {outcome.reason}"
    if not outcome.truth.right:
        truth = outcome.truth
        sees = f"finds {_count(truth)} and invents {truth.invented or 'none'}"
        others = ", where plain kernels are right" if outcome.plain is not None and outcome.plain.right else ""
        return f"WRONG RESULTS: {_with(outcome)} {sees}{others}"
    assert outcome.agreement is not None
    return f"WRONG RESULTS: {_with(outcome)} {_differs(outcome.agreement, outcome.dtype)}"


def _differs(agreement: Agreement, dtype: str) -> str:
    tolerance = SCORE_TOLERANCE_FLOAT if dtype == "float32" else SCORE_TOLERANCE_INT8
    return (
        f"sees the objects, but its scores are off by up to {agreement.score:.2f} from those of plain kernels "
        f"(up to {tolerance} is taken for rounding) and its boxes agree to an IoU of {agreement.iou:.2f} "
        f"({LEAST_AGREEING_IOU} is taken for rounding)"
    )


def _todo(outcome: Outcome) -> str:
    if outcome.state == "failed":
        return "" if outcome.code else "vigild doctor says more"  # a refusal says itself what to do
    if outcome.executes != "none" and outcome.plain is not None and outcome.plain.right:
        return f'install another release of it, or set model.delegate = "{_below(outcome.executes)}"'
    return "install vigild and the runtime again, and if that does not help, take another release of the runtime"


def _below(delegate: str) -> str:
    """A rung to go down to."""
    return "none" if delegate == "xnnpack" else "xnnpack"
