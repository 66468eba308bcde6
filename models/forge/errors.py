"""What a person can put right: a command prints it as one sentence and ends with status 1."""

from __future__ import annotations


class ForgeError(ValueError):
    """Its text says what was found, what was expected and what to do."""
