"""A try on the TFLite runtime that the daemon would come to use."""

from __future__ import annotations

from collections.abc import Callable

from vigild.ipc.progress import RUNTIME_STAGES, STAGE_TEXT
from vigild.sandbox.parent import Tried


def on_runtime(wanted: str, attempt: Callable[[str], Tried]) -> Tried:
    """`attempt` on `wanted`, as in model.runtime; of "auto" on the other one, if the first dies of being started."""
    tried = attempt(wanted)
    if wanted != "auto":
        return tried
    deadly = died_starting(tried)
    if not deadly:
        return tried
    (other,) = RUNTIME_STAGES.keys() - {deadly}
    again = attempt(other)
    return again if again.answer is not None and "refused" not in again.answer else tried


def died_starting(tried: Tried) -> str:
    """The runtime that killed the attempt by being started; empty when that is not what happened."""
    if tried.answer is not None:
        return ""
    return next((name for name, stage in RUNTIME_STAGES.items() if STAGE_TEXT[stage] in tried.death), "")
