"""`vigild COMMAND ...`: find the command's module, import only that, run it.

Each command is a module with `add_arguments(parser)` and `run(args) -> int` (the exit status), so
that `vigild watch` starts without the hub and `vigild run` without the client.

Exit status: 0 done, 1 it did not work, 2 wrong usage or configuration, 3 no daemon answers,
130 interrupted.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

from vigild import openfiles, stdio, utf8
from vigild.cli.parser import COMMANDS, CannotStart, build

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

_LACKING = {
    errno.EMFILE: "too many files are open for this process; raise the limit with ulimit -n, or LimitNOFILE= in a unit",
    errno.ENFILE: "too many files are open on this machine; see fs.file-max in /proc/sys, and what holds them: lsof",
    errno.ENOMEM: "the machine has no memory left",
    errno.EAGAIN: "no process or thread can be started: raise the limit with ulimit -u, or TasksMax= in a unit",
}
"""By errno: what is missing, which is no fault of the program."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    if argv is None:
        utf8.to_begin()
    stdio.open_all()
    if refusal := openfiles.to_begin():
        stdio.complain(f"vigild: {refusal}")
        return EXIT_FAILED
    stdio.notice_failures()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _command(arguments)
        fault = stdio.stdout_fault()
        # Kept quiet so far by argparse, for one. The daemon is not there for what it prints.
        return status if fault is None or arguments[:1] == ["run"] else _failed(fault)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        return _failed(error)


def _failed(error: OSError) -> int:
    """What no command foresaw. A fault of the program itself stays a traceback: that is for its makers."""
    fault = stdio.stdout_fault()
    if fault is not None:
        stdio.hush(sys.stdout)
        if isinstance(fault, BrokenPipeError):
            return 0  # the reader has seen enough (vigild config | head)
        stdio.complain(f"vigild: what it prints cannot be written: {fault.strerror or fault}")
        return EXIT_FAILED
    if error.filename is not None:
        stdio.complain(f"vigild: {error.filename}: {error.strerror or error}")
    elif error.errno in _LACKING:
        stdio.complain(f"vigild: {_LACKING[error.errno]}")
    else:
        raise error
    return EXIT_FAILED


def _command(arguments: Sequence[str]) -> int:
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        parser = build(only=chosen or None)
    except CannotStart as missing:
        return _missing(missing.name, missing.error)
    try:
        args = parser.parse_args(arguments)
        status = int(args.run(args))
    except SystemExit as ended:  # argparse: help, version, or wrong usage
        status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
    except ValueError as error:
        problems = _config_problems(error)
        if problems is None:
            raise
        for problem in problems:
            stdio.complain(problem)
        status = EXIT_USAGE
    return status


def _config_problems(error: ValueError) -> list[str] | None:
    """The sentences of a ConfigError; None for another error. Its module is imported only if something failed."""
    from vigild.config.load import ConfigError

    return error.problems if isinstance(error, ConfigError) else None


def _missing(name: str, error: ImportError) -> int:
    if error.name == COMMANDS[name].module:
        stdio.complain(f"vigild: the command {name} is not part of this installation")
    else:
        stdio.complain(
            f"vigild: the command {name} cannot start: {error}; "
            'install what the daemon needs with: pip install "vigild[daemon,litert]"'
        )
    return EXIT_FAILED
