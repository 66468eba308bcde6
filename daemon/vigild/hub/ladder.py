"""The delegate ladder: what to try, best first.

rungs("auto")        # ["xnnpack", "none"]
rungs("xnnpack")     # ["xnnpack"]: demanded explicitly, so it may fail loudly
"""

from __future__ import annotations


def rungs(delegate: str) -> list[str]:
    """The rungs for a `model.delegate` value, best first; never empty."""
    if delegate == "auto":
        return ["xnnpack", "none"]
    return [delegate]
