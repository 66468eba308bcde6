"""Budgets as somebody types them.

parse("memory=200MiB,latency=50ms", resolve(config.budget, board))
"""

from __future__ import annotations

import msgspec

from vigild.board import budgets as board
from vigild.catalogue.profile import Budgets
from vigild.config.units import UnitError, parse_duration, parse_size, parse_temperature

FORM = "memory=256MiB,latency=50ms,temperature=75C, or some of them"


class BudgetError(ValueError):
    """A sentence without a full stop."""


def parse(text: str | None, in_force: board.Budgets) -> Budgets:
    """`text` stands for the daemon's budgets, each by itself. Raises BudgetError."""
    budgets = Budgets(memory_bytes=in_force.memory, temperature_celsius=in_force.temperature)
    for part in (text or "").split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        try:
            if key == "memory" and equals:
                budgets = msgspec.structs.replace(budgets, memory_bytes=parse_size(value))
            elif key == "latency" and equals:
                budgets = msgspec.structs.replace(budgets, latency_ms=1000 * parse_duration(value))
            elif key == "temperature" and equals:
                budgets = msgspec.structs.replace(budgets, temperature_celsius=parse_temperature(value))
            else:
                raise BudgetError(f"--budget: found {part.strip()!r}, expected {FORM}")
        except UnitError as error:
            raise BudgetError(f"--budget: {key}: found {value!r}: {error}") from None
    return budgets
