"""The command line as a parser: with what one command needs, or whole, for completion and the manual.

parser = build(only="watch")       # imports vigild.cli.watch alone
parser = build()                   # every command with its options
for words, command in tree(parser): ...        # ("models", "pull"), its parser
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn

from vigild import __version__, plain, terminal
from vigild.cli.examples import EXAMPLES
from vigild.closest import closest


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
    "completion": Command("vigild.cli.completion", "print a script that completes commands in your shell"),
}

DESCRIPTION = "Object detection for small boards: camera frames in, detections out on a local socket."


class CannotStart(Exception):
    """A command's module, or what it imports, is not here; `error` is the ImportError."""

    def __init__(self, name: str, error: ImportError) -> None:
        super().__init__(name)
        self.name = name
        self.error = error


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; argparse makes one for each argument, and would ask shutil."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal.columns() - 2)


class _Parser(argparse.ArgumentParser):
    """argparse repeats an argument that it does not know: a line for a person, whatever is in it, and what may have
    been meant."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        if unknown.startswith("--"):
            options = {option for _, parser in tree(self) for option in parser._option_string_actions}
            message += _meant(unknown, (option for option in options if option.startswith("--")))
        super().error(plain.sentence(message))

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            meant = _meant(value, action.choices) or f"; {self.prog} --help lists them"
            raise argparse.ArgumentError(None, f"there is no command {value!r}{meant}")
        super()._check_value(action, value)


def _meant(word: str, known: Iterable[str]) -> str:
    """A question to follow a sentence; empty when nothing is like it."""
    near = closest(word, known)
    return f"; did you mean {near}?" if near else ""


def build(only: str | None = "", prog: str = "vigild") -> argparse.ArgumentParser:
    """The parser. `only`: the command whose arguments it knows; None: none; "": all. Raises CannotStart."""
    parser = _Parser(
        prog=prog,
        description="\n".join(terminal.wrap(DESCRIPTION, MAX_COLUMNS)),
        epilog=_epilog(""),
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"vigild {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=_epilog(name),
            formatter_class=_Help,
        )
        if only in (name, ""):
            try:
                module = importlib.import_module(command.module)
            except ImportError as error:
                raise CannotStart(name, error) from error
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def subparsers(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """The parsers of a parser's commands, with their line in the help; empty where it has none."""
    found: dict[str, tuple[argparse.ArgumentParser, str]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            found |= {name: (sub, helps.get(name, "")) for name, sub in action.choices.items()}
    return found


def tree(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The parser and all below it, each with the words that lead to it."""
    yield words, parser
    for name, (sub, _help) in subparsers(parser).items():
        yield from tree(sub, (*words, name))


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What may be given to a command: its options, then what has a place; without its subcommands."""
    found = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    return sorted(found, key=lambda action: not action.option_strings)


def help_text(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An argument's help with its defaults filled in."""
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _epilog(name: str) -> str:
    examples = EXAMPLES.get(name, ())
    width = max((len(example.line) for example in examples), default=0)
    rows = [f"  {example.line:{width}}  {example.what}" for example in examples]
    if any(len(row) > MAX_COLUMNS for row in rows):
        rows = [f"  # {example.what}\n  {example.line}" for example in examples]
    return "\n".join(["examples:", *rows]) if rows else ""


MAX_COLUMNS = 79
"""argparse does not wrap examples, and a terminal has 80."""
