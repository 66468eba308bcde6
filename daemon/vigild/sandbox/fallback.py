"""A task on the TFLite runtime that the daemon would come to use."""

from __future__ import annotations

from collections.abc import Callable

from vigild.ipc.progress import RUNTIME_STAGES, STAGE_TEXT
from vigild.sandbox.parent import TaskResult


def on_runtime(wanted: str, task: Callable[[str], TaskResult]) -> TaskResult:
    """`task` on `wanted`, as in model.runtime; of "auto" on the other one, if the first dies of being started."""
    result = task(wanted)
    if wanted != "auto":
        return result
    deadly = died_starting(result)
    if not deadly:
        return result
    (other,) = RUNTIME_STAGES.keys() - {deadly}
    again = task(other)
    return again if again.answer is not None and "refused" not in again.answer else result


def died_starting(result: TaskResult) -> str:
    """The runtime that killed the task by being started; empty when that is not what happened."""
    if result.answer is not None:
        return ""
    return next((name for name, stage in RUNTIME_STAGES.items() if STAGE_TEXT[stage] in result.death), "")
