"""Naming the nearest known key when one is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vigild.config.fields import FIELDS
from vigild.config.values import show


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, if any is."""
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold().replace("-", "_")[:64], folded, 1, cutoff=0.6)
    return folded[near[0]] if near else None


def unknown(name: str, value: object, known: Iterable[str], what: str) -> str:
    """A sentence about an unknown key or table: what it held, and what was probably meant."""
    known = list(known)
    found = f"unknown {what} (found {show(value)})"
    near = nearest(name, known)
    if near:
        return f"{found}; did you mean {near}?"
    for table, fields in FIELDS.items():
        if name in fields:
            return f"{found}; did you mean {'camera.NAME' if table == 'camera' else table}.{name}?"
    return f"{found}; known are {', '.join(known)}"


def is_model_file(text: str) -> bool:
    """Whether a model on the command line is a file's path; otherwise it is a name of the manifest."""
    return "/" in text or text.endswith(".tflite")
