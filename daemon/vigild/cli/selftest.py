"""`vigild selftest`: whether this board computes what it should, in seconds.

Exit status 0 when all that was tried is right, 1 when not, 2 for a configuration that is not valid.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vigild import stdio, terminal
from vigild.config.load import from_command_line
from vigild.terminal import Screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="whose runtime, delegate and threads are tried")
    parser.add_argument(
        "-o",
        "--override",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key on top of the file, e.g. -o model.delegate=none (may be repeated)",
    )
    parser.add_argument("--all", action="store_true", help="every runtime, delegate and variant that can run here")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    parser.add_argument("--sysfs-root", metavar="DIR", default="/", help="look for an Edge TPU below DIR (for tests)")


def run(args: argparse.Namespace) -> int:
    config = from_command_line(config=args.config, overrides=args.overrides)  # ConfigError is main's to print
    from vigild.catalogue.entry import ManifestError  # these, and what they import, are not for --help
    from vigild.selftest import report
    from vigild.selftest.conduct import Selftests

    screen = Screen.of(sys.stdout)

    def tell(text: str, indent: int = 0) -> None:
        for line in terminal.wrap(text, screen.columns, indent):
            print(line, flush=True)

    tests = Selftests(config.model, Path(args.sysfs_root))
    outcomes = []
    try:
        if not args.json:
            tell(report.heading())
        for outcome in tests.every() if args.all else tests.configured():
            outcomes.append(outcome)
            if not args.json:
                for line in report.lines(outcome):
                    tell(line, 13)
    except ManifestError as error:
        stdio.complain(f"vigild: {error.message}")
        return 1
    if args.json:
        sys.stdout.write(report.as_json(outcomes).decode() + os.linesep)
    else:
        tell(report.verdict(outcomes))
    return 0 if report.passed(outcomes) else 1
