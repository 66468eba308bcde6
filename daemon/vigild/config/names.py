"""What is said of a key or table that the schema does not have."""

from __future__ import annotations

from vigild.closest import closest
from vigild.config.tree import Section
from vigild.config.values import show


def unknown(name: str, value: object, section: Section, root: Section) -> str:
    """A sentence about a name that `section` does not have: what it held, and what was probably meant."""
    found = f"unknown {'key' if section.path else 'table'} (found {show(value)})"
    near = closest(name.replace("-", "_"), section.entries)
    if near:
        return f"{found}; did you mean {near}?"
    for other in root.walk():
        if other.path and name in other.entries:
            return f"{found}; did you mean {'.'.join((*other.path, name))}?"
    return f"{found}; known are {', '.join(section.entries)}"


def is_model_file(text: str) -> bool:
    """Whether a model on the command line is a file's path; otherwise it is a name of the manifest."""
    return "/" in text or text.endswith(".tflite")
