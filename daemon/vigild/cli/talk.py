"""What every command that talks to a running daemon shares: where it is, and how failure reads.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage (argparse), 3 no daemon answers, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from vigild import stdio
from vigild.client import NoDaemon, ProtocolError, Refused
from vigild.files import CannotWrite

EXIT_FAILED = 1
EXIT_NO_DAEMON = 3
EXIT_INTERRUPTED = 130


def add_socket_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket",
        metavar="PATH",
        help="the daemon's socket (default: $VIGILD_SOCKET, else the usual places)",
    )


def talk(action: Callable[[], None]) -> int:
    """Carry out `action`; what goes wrong becomes one sentence on stderr and an exit code."""
    try:
        action()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except NoDaemon as error:
        return _fail(str(error), EXIT_NO_DAEMON)
    except (Refused, ProtocolError) as error:
        return _fail(str(error), EXIT_FAILED)
    except CannotWrite as error:
        return _fail(f"{error}.", EXIT_FAILED)
    except OSError as error:
        if error.filename is not None or stdio.stdout_fault():
            raise  # main's: a file, or nobody takes what is printed
        return _fail(f"the connection failed: {error.strerror or error}", EXIT_FAILED)
    return 0


def _fail(message: str, code: int) -> int:
    stdio.complain(f"vigild: {message}")
    return code
