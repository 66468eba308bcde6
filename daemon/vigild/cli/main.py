"""`vigild COMMAND ...`: find the command's module, import only that, run it.

Each command is a module with `add_arguments(parser)` and `run(args) -> int` (the exit status), so
that `vigild watch` starts without the hub and `vigild run` without the client.

Exit status: 0 done, 1 it did not work, 2 wrong usage or configuration, 3 no daemon answers,
130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from vigild import __version__


class Command(NamedTuple):
    """A subcommand: the module that has it, and its line in the help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "run": Command("vigild.cli.run", "run the daemon in the foreground"),
    "check": Command("vigild.cli.check", "check a configuration file without running it"),
    "config": Command("vigild.cli.config", "print every configuration key with its meaning and default"),
    "watch": Command("vigild.cli.watch", "show detections as they come"),
    "status": Command("vigild.cli.status", "show what the daemon is doing"),
    "snapshot": Command("vigild.cli.snapshot", "save the last inferred frame as a JPEG file"),
    "set": Command("vigild.cli.control", "change one configuration key of the running daemon"),
    "pause": Command("vigild.cli.control", "stop inferring, for one camera or all"),
    "resume": Command("vigild.cli.control", "go on inferring"),
    "reload": Command("vigild.cli.control", "read the configuration file again"),
    "swap": Command("vigild.cli.control", "change to another model"),
    "sensors": Command("vigild.cli.sensors", "show what this board's sensors say, and the budgets in force and why"),
    "doctor": Command("vigild.cli.doctor", "say what is on this board, what is wrong, and what to do"),
    "selftest": Command("vigild.cli.selftest", "prove that this board computes what it should"),
    "tune": Command("vigild.cli.tune", "measure a model's variants on this board, and say which one to use"),
    "models": Command("vigild.cli.models", "list, check and download models"),
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="vigild",
        description="Object detection for small boards: camera frames in, detections out on a local socket.",
    )
    parser.add_argument("--version", action="version", version=f"vigild {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.help.capitalize() + ".")
        if name == chosen:
            try:
                module = importlib.import_module(command.module)
            except ImportError as error:
                return _missing(name, command, error)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (vigild config | head): keep the interpreter from saying so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except ValueError as error:
        problems = _config_problems(error)
        if problems is None:
            raise
        for problem in problems:
            print(problem, file=sys.stderr)
        return EXIT_USAGE


def _config_problems(error: ValueError) -> list[str] | None:
    """The sentences of a ConfigError; None for another error. Its module is imported only if something failed."""
    from vigild.config.load import ConfigError

    return error.problems if isinstance(error, ConfigError) else None


def _missing(name: str, command: Command, error: ImportError) -> int:
    if error.name == command.module:
        print(f"vigild: the command {name} is not part of this installation", file=sys.stderr)
    else:
        print(
            f"vigild: the command {name} cannot start: {error}; "
            'install what the daemon needs with: pip install "vigild[daemon,litert]"',
            file=sys.stderr,
        )
    return EXIT_FAILED
