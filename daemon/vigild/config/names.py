"""Naming the nearest known key when one is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vigild.config.tree import Section
from vigild.config.values import show


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, if any is."""
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold().replace("-", "_")[:64], folded, 1, cutoff=0.6)
    return folded[near[0]] if near else None


def unknown(name: str, value: object, section: Section, root: Section) -> str:
    """A sentence about a name that `section` does not have: what it held, and what was probably meant."""
    found = f"unknown {'key' if section.path else 'table'} (found {show(value)})"
    near = nearest(name, section.entries)
    if near:
        return f"{found}; did you mean {near}?"
    for other in root.walk():
        if other.path and name in other.entries:
            return f"{found}; did you mean {'.'.join((*other.path, name))}?"
    return f"{found}; known are {', '.join(section.entries)}"


def is_model_file(text: str) -> bool:
    """Whether a model on the command line is a file's path; otherwise it is a name of the manifest."""
    return "/" in text or text.endswith(".tflite")
