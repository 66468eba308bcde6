"""`vigild config`: the whole configuration reference, as a file to start from.

vigild config > vigild.toml
"""

from __future__ import annotations

import argparse

from vigild.config.reference import reference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(args: argparse.Namespace) -> int:
    print(reference(), end="")
    return 0
