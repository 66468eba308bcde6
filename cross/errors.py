"""What the programs of cross/ tell people."""

from __future__ import annotations


class CrossError(Exception):
    """A sentence for whoever runs make: what was found, what was expected, what to do."""
