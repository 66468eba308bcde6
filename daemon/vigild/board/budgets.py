"""Budgets in force: what the configuration says, and where it says nothing, what this board suggests.

budgets = resolve(config.budget, board)
budgets.temperature, budgets.temperature_why      # 75.0, "5 °C under where a Raspberry Pi's firmware slows it, 80 °C"
"""

from __future__ import annotations

import msgspec


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """Both numbers, each with its reason in words (a clause without a full stop)."""

    temperature: float
    """°C"""
    memory: int
    """Bytes, of all the daemon's processes together."""
    temperature_why: str = ""
    memory_why: str = ""
