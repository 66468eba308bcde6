"""Several boards at once: who did what, as a table.

outcomes = roll(rollout, work)            # `work(board) -> Outcome`, side by side
print(table(outcomes))
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from cross.deploy import Job, Outcome, ask
from cross.errors import CrossError
from cross.rollout import Rollout

_printing = Lock()


def say_for(board: str, alone: bool) -> Callable[[str], None]:
    """Lines of several boards side by side bear the board's name."""

    def say(text: str) -> None:
        with _printing:
            print(text if alone else f"{board}: {text}", flush=True)

    return say


def roll(rollout: Rollout, work: Callable[[str], Outcome]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while boards := rollout.next():
        with ThreadPoolExecutor(len(boards)) as pool:
            done = list(pool.map(work, boards))
        outcomes += done
        rollout.done({board: outcome.good for board, outcome in zip(boards, done, strict=True)})
    return outcomes


def table(outcomes: Sequence[Outcome], untouched: Sequence[str] = ()) -> str:
    rows = [("board", "outcome", "release", "took", "sent", "")]
    for each in outcomes:
        first = each.detail.strip().splitlines()[0] if each.detail.strip() else ""
        detail = "" if each.good else first.removeprefix(each.release).strip()
        sent = f"{each.sent_bytes / 2**20:.1f} MiB"
        rows.append(
            (each.board, "good" if each.good else "FAILED", each.release or "-", f"{each.seconds:.0f} s", sent, detail)
        )
    rows += [(board, "not begun", "-", "-", "-", "") for board in untouched]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def status(jobs: Sequence[Job]) -> tuple[str, bool]:
    """A table of what each board says, and whether all are well."""
    with ThreadPoolExecutor(min(len(jobs), 32)) as pool:
        told = list(pool.map(_status_of, jobs))
    head = ("board", "release", "deploy", "unit", "says")
    return aligned([head, *(row for row, _ in told)]), all(well for _, well in told)


def _status_of(job: Job) -> tuple[tuple[str, ...], bool]:
    try:
        said = json.loads(ask(job, "status --json").splitlines()[-1])
        journal, unit = said["journal"], said["unit"]
    except CrossError as error:
        return (job.shown, "-", "-", "-", str(error).splitlines()[0]), False
    except (ValueError, KeyError, IndexError):
        return (job.shown, "-", "-", "-", "its vigild-deploy says something else than expected"), False
    deploy = "ailing" if journal["ailing"] else journal["phase"]
    well = deploy == "settled" and unit["ActiveState"] == "active"
    says = journal["reason"] if journal["ailing"] else unit["StatusText"] or unit["Result"]
    return (job.shown, journal["current"] or "-", deploy, unit["ActiveState"], says), well


def complain(text: str) -> None:
    print(f"vigild: {text}", file=sys.stderr, flush=True)
