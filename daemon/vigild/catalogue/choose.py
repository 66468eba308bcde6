"""From what was measured and budgets to one setting: the most accurate that fits, and of equals the fastest.

    choice = choose(model.rows, model.budgets, board.cores)
    choice.row, choice.reason

Accuracy is judged by what there is: AP where annotations were given. Without them, by known truth (the test
card), then by size of the input (of the same network the larger one is the more accurate, as far as
is known), then by agreement with the reference. Differences that a set of some hundred pictures cannot show
count as none.

Pure: no I/O, so that the governor can ask as often as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from vigild.catalogue.profile import Accuracy, Budgets, Row, Sustained

AP_TIE = 0.005
"""What int8 may lose against float32 before it counts."""
TRUTH_TIE = 0.02
AGREEMENT_TIE = 0.05
"""Of some hundred detections a few lie beside the threshold in any two builds."""
SPEED_TIE = 1.05
"""p50 within a twentieth is the same: then the one that takes less CPU."""

REST_OF_DAEMON_BYTES = 72 * 2**20
"""The hub and one 720p MJPEG camera: 109 MiB (docs/benchmarks.md) less the detector's 37."""


class Choice(NamedTuple):
    """What to use."""

    row: Row | None
    """None: nothing fits."""
    reason: str
    """Why, as a clause."""


def choose(rows: Iterable[Row], budgets: Budgets, cores: int) -> Choice:
    """`cores`: of the board; one is left to the cameras where another setting fits too."""
    working = [row for row in rows if row.works and not row.dropped]
    if not working:
        return Choice(None, "nothing that was measured runs here")
    left = [row for row in working if not unfit(row, budgets)]
    if not left:
        nearest = min(working, key=lambda row: row.p50_ms)
        return Choice(None, f"no setting fits the budget: even {name(nearest)} takes {unfit(nearest, budgets)}")
    fitting = len(left)
    left = [row for row in left if row.threads < max(cores, 2)] or left
    left, why = _most_accurate(left)
    fastest = min(row.p50_ms for row in left)
    equals = [row for row in left if row.p50_ms <= fastest * SPEED_TIE]
    best = min(equals, key=lambda row: (row.cpu_ms, row.p50_ms, row.memory_bytes))
    reason = "the only setting that fits" if fitting == 1 else f"the fastest {why}"
    return Choice(best, reason)


def unfit(row: Row, budgets: Budgets) -> str:
    """What a setting takes too much of, as "p95 60 ms of 50 ms"; empty when it fits."""
    found = []
    needs_bytes = row.memory_bytes + REST_OF_DAEMON_BYTES
    if budgets.memory_bytes is not None and needs_bytes > budgets.memory_bytes:
        found.append(f"{_mib(needs_bytes)} with the rest of the daemon, of {_mib(budgets.memory_bytes)}")
    if budgets.latency_ms is not None and row.p95_ms > budgets.latency_ms:
        found.append(f"{row.p95_ms:.3g} ms (p95) of {budgets.latency_ms:g} ms")
    limit = budgets.temperature_celsius
    if limit is not None and row.celsius is not None and row.celsius > limit:
        found.append(f"{row.celsius:.0f} °C of {limit:g} °C")
    return " and ".join(found)


def name(row: Row | Sustained) -> str:
    """ "int8 with 2 threads on xnnpack" """
    return f"{row.variant} with {row.threads} thread{'' if row.threads == 1 else 's'} on {row.delegate}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _most_accurate(rows: list[Row]) -> tuple[list[Row], str]:
    """(the most accurate of them, in words what they are)."""
    if any(_accuracy(row, _ap) is not None for row in rows):
        return _best(rows, _ap, AP_TIE), f"within {AP_TIE:g} AP of the best"
    left = _best(rows, _truth, TRUTH_TIE)
    area = max(row.width * row.height for row in left)
    sizes = {row.width * row.height for row in left}
    left = [row for row in left if row.width * row.height == area]
    known = any(_accuracy(row, _agreement) is not None for row in left)
    left = _best(left, _agreement, AGREEMENT_TIE)
    size = " with the largest input" if len(sizes) > 1 else ""
    if not known:
        return left, f"of those{size} (how accurate they are is not known)"
    return left, f"of those{size} that agree with {_reference(left)}"


def _reference(rows: list[Row]) -> str:
    return next((row.accuracy.reference for row in rows if row.accuracy and row.accuracy.reference), "the reference")


Judge = Callable[[Accuracy], float | None]


def _accuracy(row: Row, judge: Judge) -> float | None:
    return judge(row.accuracy) if row.accuracy is not None else None


def _best(rows: list[Row], judge: Judge, tie: float) -> list[Row]:
    """Those within `tie` of the best; all when none of them was judged, and only judged ones otherwise."""
    judged = [(row, value) for row in rows if (value := _accuracy(row, judge)) is not None]
    if not judged:
        return rows
    best = max(value for _, value in judged)
    return [row for row, value in judged if value >= best - tie]


def _ap(accuracy: Accuracy) -> float | None:
    return accuracy.ap


def _agreement(accuracy: Accuracy) -> float | None:
    return accuracy.agreement


def _truth(accuracy: Accuracy) -> float | None:
    """F1 of the test card's shapes."""
    if accuracy.found is None:
        return None
    wrong = (accuracy.missed or 0) + (accuracy.invented or 0)
    return 2 * accuracy.found / max(2 * accuracy.found + wrong, 1)
