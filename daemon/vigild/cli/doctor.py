"""`vigild doctor`: what is on this board, what is wrong with it, and what to do.

Exit status 0 when vigild could run, 1 when it could not, 2 for a configuration that is not valid.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vigild import terminal
from vigild.config import credentials
from vigild.config.load import from_command_line
from vigild.doctor import report
from vigild.doctor.finding import Finding, could_run
from vigild.terminal import Screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="try this configuration's cameras and model too")
    parser.add_argument("--source", metavar="SOURCE", help="try this camera, as for vigild run")
    parser.add_argument("--model", metavar="FILE", help="try this model, as for vigild run")
    parser.add_argument("--socket", metavar="PATH", help="where a daemon listens, or is to")
    parser.add_argument(
        "-o",
        "--override",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key on top of the file, as for vigild run (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    parser.add_argument("--sysfs-root", metavar="DIR", default="/", help="look at the files below DIR (for tests)")


def run(args: argparse.Namespace) -> int:
    credentials.beside(Path(args.config) if args.config else None)
    config = from_command_line(
        config=args.config, source=args.source, model=args.model, overrides=args.overrides
    )  # ConfigError is main's to print
    from vigild.doctor.examine import Subject, examine  # and what it imports: not for --help

    findings: list[Finding] = []

    def kept() -> Iterator[Finding]:
        """Line by line as things are found: the tries take some seconds."""
        for finding in examine(subject):
            findings.append(finding)
            yield finding

    subject = Subject(root=Path(args.sysfs_root), config=config, socket=args.socket)
    if args.json:
        findings += examine(subject)
        sys.stdout.write(report.as_json(findings).decode() + os.linesep)
    else:
        screen = Screen.of(sys.stdout)
        for line in report.lines(kept(), screen):
            print(line, flush=True)
        for line in terminal.wrap(report.verdict(findings), screen.columns):
            print(line)
    return 0 if could_run(findings) else 1
