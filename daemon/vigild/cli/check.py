"""`vigild check F`: read a configuration file as the daemon would, and say what is wrong with it.

Exit status 0 when the daemon would take it, 1 with one line for each problem otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vigild import stdio, terminal
from vigild.config import targets
from vigild.config.document import key_text
from vigild.config.load import ConfigError, load_file
from vigild.config.rules import unknown_labels, unused
from vigild.config.schema import Config, ModelConfig
from vigild.config.source import redact
from vigild.config.tree import ROOT, tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration file")
    parser.add_argument(
        "-o",
        "--override",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a key on top of the file, as for vigild run (may be repeated)",
    )


def run(args: argparse.Namespace) -> int:
    try:
        config = load_file(args.file, args.overrides)
    except ConfigError as error:
        for problem in error.problems:
            stdio.complain(problem)
        return 1
    if faults := _unknown_labels(config):
        for fault in faults:
            stdio.complain(f"{args.file}: {fault}")
        return 1
    for warning in [*_absent(config), *unused(config)]:
        stdio.complain(f"{args.file}: warning: {warning}")
    told = f"{args.file}: ok: {_cameras(config)}, {_model(config.model)}"
    for line in terminal.wrap(told, terminal.Screen.of(sys.stdout).columns, indent=2):
        print(line)
    return 0


def _cameras(config: Config) -> str:
    count = len(config.camera)
    names = f" ({', '.join(config.camera)})" if count else ""
    return f"{count} camera{'' if count == 1 else 's'}{names}"


def _model(model: ModelConfig) -> str:
    if model.name:
        return f"model {model.name}, variant {model.variant}"
    if model.path:
        return f"model {model.path}"
    return "the embedded model" + (f", variant {model.variant}" if model.variant != "auto" else "")


def _unknown_labels(config: Config) -> list[str]:
    """As the model's own labels say, read without running it; nothing where they cannot be told here."""
    if not (config.model.labels_allowed or config.model.labels_denied):
        return []
    from vigild.detector.known import known_labels

    return unknown_labels(config.model, known_labels(config.model))


def _absent(config: Config) -> list[str]:
    """Files that are named but not there. A warning: the file may be checked on another machine."""
    found: list[str] = []
    for path, section, table in tables(ROOT, config):
        for field in section.fields:
            for needed in targets.needed(field.target, getattr(table, field.name)):
                if not Path(needed).exists():
                    found.append(f"{key_text((*path, field.name))}: {redact(needed)} does not exist here")
    return found
