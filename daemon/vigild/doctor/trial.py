"""The doctor's tries, each in a process of its own.

    tried = attempt("model", ModelTask(...))
    if tried.answer is None: print(tried.death)

What is tried, and what the answers are: `attempt`.
"""

from __future__ import annotations

from vigild.sandbox.parent import LIMIT_S, Tried, run

__all__ = ["Tried", "attempt"]


def attempt(task: str, argument: object, limit_s: float = LIMIT_S) -> Tried:
    """Run `task` of the module `attempt` on `argument` (anything msgspec encodes)."""
    return run("vigild.doctor.tasks", task, argument, limit_s)
