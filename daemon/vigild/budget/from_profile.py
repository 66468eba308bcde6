"""Operating points from what `vigild tune` measured on this board.

    points = operating_points(profile.models["coco_ssd_mobilenet_v1"].rows, "int8-300", 4, "xnnpack")
    points = assumed("int8-300", 4, "xnnpack")       # nothing was measured

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vigild.budget.operating_points import OperatingPoint
from vigild.catalogue.profile import Row


def assumed(variant: str, threads: int, delegate: str) -> list[OperatingPoint]:
    """Where nothing was measured: the one that runs. The rate, cameras and a pause are left to give up."""
    return [OperatingPoint(variant=variant, threads=threads, delegate=delegate)]


def operating_points(
    rows: Iterable[Row], variant: str, threads: int, delegate: str, allowed: Collection[str] = (), detectors: int = 1
) -> list[OperatingPoint]:
    """The wanted point first, then its fewer threads, then the other variants, the more accurate before the lesser.

    `allowed`: the variants it may change to, in the order in which they are preferred; empty: all that were measured,
    by accuracy where it is known and by the size of their input where it is not. Cost is CPU time for a frame.
    `detectors`: so many run side by side; that they carry so many times as much is the most that can be.
    """
    working = [row for row in rows if row.works and not row.dropped and row.delegate == delegate and row.cpu_ms > 0]
    wanted = next((row for row in working if (row.variant, row.threads) == (variant, threads)), None)
    if wanted is None:
        return assumed(variant, threads, delegate)
    order = list(allowed)
    own = [row for row in working if row.variant == variant and row.threads <= threads]
    others = [row for row in working if row.variant != variant and (not order or row.variant in order)]
    if order:
        others.sort(key=lambda row: (order.index(row.variant), -row.threads))
    else:
        others.sort(key=lambda row: (-_accuracy(row), -row.width * row.height, row.cpu_ms))
    own.sort(key=lambda row: -row.threads)
    return [
        OperatingPoint(
            variant=row.variant,
            threads=row.threads,
            delegate=row.delegate,
            cost=row.cpu_ms / wanted.cpu_ms,
            capacity_fps=detectors * 1000.0 / row.p50_ms,
            cpu_s=row.cpu_ms / 1000.0,
            memory_bytes=row.memory_bytes,
        )
        for row in [*own, *others]
        if row.p50_ms > 0
    ]


def _accuracy(row: Row) -> float:
    """AP where it was measured, else 0: then the size of the input decides."""
    if row.accuracy is None or row.accuracy.ap is None:
        return 0.0
    return row.accuracy.ap
