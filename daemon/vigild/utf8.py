"""Texts and names of files as UTF-8, whatever the locale says.

    utf8.to_begin()     # first of all; a process whose locale has another encoding begins once more

The configuration, the wire and what is printed are UTF-8. Names of files are bytes, which Python takes for texts of
the locale's encoding: with a locale such as de_DE.ISO-8859-1 a file named in the configuration would not be found, and
with plain ASCII not even be asked for.
"""

from __future__ import annotations

import os
import sys

MODE = "PYTHONUTF8"
"""Python's UTF-8 mode (PEP 540): inherited by the workers."""


def to_begin() -> None:
    """Returns where UTF-8 is in use already, which it nearly always is, or where Python was told to take no orders."""
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.ignore_environment or os.environ.get(MODE) == "1":
        return
    os.environ[MODE] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
