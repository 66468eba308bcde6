"""Figures with their units, for people."""

from __future__ import annotations


def milliseconds(count: float) -> str:
    """ "0.31 ms", "8.5 ms", "85 ms"."""
    return f"{count:.2g} ms" if count < 10 else f"{count:.0f} ms"


def mebibytes(count: int) -> str:
    """ "512 MiB", "3.8 GiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
