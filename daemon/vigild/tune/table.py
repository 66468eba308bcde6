"""The measurements as a table for people.

VARIANT  INPUT         DELEGATE  THREADS   P50 ms  P95 ms  FIRST ms  LOAD ms  CPU ms  CORES  MEMORY  ACCURACY
int8     192x192 int8  xnnpack         1    0.842   0.912      1.31     41.2   0.880   1.00  41 MiB  99.1 % agree
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vigild import terminal
from vigild.catalogue.profile import Row
from vigild.figures import mebibytes

_RIGHT = frozenset(
    {"THREADS", "P50 ms", "P95 ms", "FIRST ms", "LOAD ms", "CPU ms", "CORES", "MEMORY", "RISE °C", "SUSTAINED"}
)


_SPARE = ("CPU ms", "FIRST ms", "LOAD ms", "CORES", "P95 ms", "INPUT")
"""Left out where the terminal is too narrow, in this order; --json and the profile have them all."""
_SPARE_SUSTAINED = (*_SPARE, "RISE °C")
"""Where it is known what the board holds for ever, how warm it got within seconds says little."""


def lines(rows: Iterable[Row], columns: int | None = None) -> Iterator[str]:
    """A head, a line for each setting that runs, and below them one for each that does not, `columns` wide."""
    everything = list(rows)
    working = [row for row in everything if row.works]
    heat = any(row.rise_celsius is not None for row in working)
    held = any(row.sustained_fps is not None for row in working)
    judged = any(row.accuracy is not None or row.dropped for row in working)
    head = ["VARIANT", "INPUT", "DELEGATE", "THREADS", "P50 ms", "P95 ms", "FIRST ms", "LOAD ms", "CPU ms", "CORES"]
    head.append("MEMORY")
    head += [name for name, shown in (("RISE °C", heat), ("SUSTAINED", held), ("ACCURACY", judged)) if shown]
    if working:
        cells = [_cells(row, heat, held, judged) for row in working]
        yield from terminal.table(head, cells, columns, right=_RIGHT, spare=_SPARE_SUSTAINED if held else _SPARE)
    reasons: dict[tuple[str, str], list[Row]] = {}
    for row in everything:
        if not row.works and row.failed:
            reasons.setdefault((row.variant, row.failed), []).append(row)
    for (variant, reason), alike in reasons.items():
        yield from terminal.wrap(f"{variant}{_settings(alike)}: {reason}", columns, indent=2)


def _settings(rows: list[Row]) -> str:
    """ " on xnnpack (1 and 2 threads) and none (1 thread)"; empty for a file that cannot be used."""
    threads: dict[str, list[int]] = {}
    for row in rows:
        if row.delegate:
            threads.setdefault(row.delegate, []).append(row.threads)
    parts = [
        f"{delegate} ({_and(map(str, counts))} thread{'' if counts == [1] else 's'})"
        for delegate, counts in threads.items()
    ]
    return f" on {_and(parts)}" if parts else ""


def _and(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _cells(row: Row, heat: bool, held: bool, judged: bool) -> list[str]:
    cells = [
        row.variant,
        f"{row.width}x{row.height} {row.dtype}",
        delegate(row),
        str(row.threads),
        figure(row.p50_ms),
        figure(row.p95_ms),
        figure(row.first_ms),
        figure(row.load_ms),
        figure(row.cpu_ms),
        f"{row.cores_busy:.2f}",
        mebibytes(row.memory_bytes),
    ]
    if heat:
        cells.append("" if row.rise_celsius is None else f"{row.rise_celsius:+.1f}")
    if held:
        cells.append(sustained(row))
    if judged:
        cells.append(row.dropped or accuracy(row))
    return cells


def sustained(row: Row) -> str:
    """ "14.2 fps 71 %": the rate that is held for ever, and the share of time that is at work for it."""
    if row.sustained_fps is None or row.duty is None:
        return ""
    digits = 1 if row.sustained_fps < 100 else 0
    return f"{row.sustained_fps:.{digits}f} fps {100 * row.duty:.0f} %"


def delegate(row: Row) -> str:
    """What executes the graph, and how many of its nodes where that is not all: "xnnpack (3/65)"."""
    if row.delegate == "none" or not row.total_nodes or row.delegate_nodes == row.total_nodes:
        return row.delegate
    return f"{row.delegate} ({row.delegate_nodes}/{row.total_nodes})"


def figure(value_ms: float) -> str:
    """Three digits: "0.842", "3.12", "47.1", "612"."""
    if value_ms >= 100:
        return f"{value_ms:.0f}"
    return f"{value_ms:.1f}" if value_ms >= 10 else f"{value_ms:.2f}" if value_ms >= 1 else f"{value_ms:.3f}"


def accuracy(row: Row) -> str:
    """ "AP 0.228 (AP50 0.374), 97.1 % agree" """
    of = row.accuracy
    if of is None:
        return ""
    parts = []
    if of.ap is not None and of.ap50 is not None:
        parts.append(f"AP {of.ap:.3f} (AP50 {of.ap50:.3f})")
    if of.found is not None and of.missed is not None:
        parts.append(f"{of.found} of {of.found + of.missed} shapes, {of.invented} invented")
    if of.agreement is not None:
        is_reference = (of.reference, of.score_error) == (row.variant, 0.0)
        parts.append("the reference" if is_reference else f"{100 * of.agreement:.1f} % agree")
    return ", ".join(parts) or "nothing to compare was seen"
