"""Budgets as somebody types them.

parse("memory=200MiB,latency=50ms", config.budget)
"""

from __future__ import annotations

import msgspec

from vigild.catalogue.profile import Budgets
from vigild.config.schema import BudgetConfig
from vigild.config.units import UnitError, parse_duration, parse_size, parse_temperature

FORM = "memory=256MiB,latency=50ms,temperature=75C, or some of them"


class BudgetError(ValueError):
    """A sentence without a full stop."""


def parse(text: str | None, configured: BudgetConfig) -> Budgets:
    """`text` stands for the configuration's budgets, each by itself. Raises BudgetError."""
    budgets = Budgets(memory_bytes=configured.memory, temperature_celsius=configured.temperature)
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
