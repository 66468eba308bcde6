"""What libraries take along wherever it is installed, though no process of the daemon has a use for it."""

from __future__ import annotations

import sys


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which costs each process 0.3 MiB and 8 ms: from Python 3.11 on `typing`
    has all that msgspec asks of it. Only this import does without; another library may need it."""
    if sys.version_info < (3, 11) or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
