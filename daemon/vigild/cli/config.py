"""`vigild config`: the whole configuration reference, as a file to start from.

vigild config > vigild.toml
"""

from __future__ import annotations

import argparse
import sys

from vigild.config.reference import reference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(args: argparse.Namespace) -> int:
    # A TOML file is UTF-8, whatever the terminal's encoding.
    sys.stdout.flush()
    sys.stdout.buffer.write(reference().encode("utf-8"))
    sys.stdout.buffer.flush()
    return 0
