"""`vigild tune`: measure every variant, number of threads and delegate of a model here, and say what to use.

    vigild tune                                           # the embedded model, on the test card
    vigild tune --model coco_ssd_mobilenet_v1 --images photos --annotations photos.json
    vigild tune --budget memory=200MiB,latency=50ms
    vigild tune --sustained                               # what rate this board holds for ever: some 20 to 40 minutes

Exit status: 0 done, 1 it could not be done (or --sustained came to no rate), 2 wrong usage or configuration, 130
stopped with Ctrl-C, SIGTERM or the end of its terminal (what is measured stays; the same command goes on).
"""

from __future__ import annotations

import argparse
import math
import signal
from pathlib import Path
from types import FrameType

from vigild import stdio
from vigild.config.load import from_command_line
from vigild.config.names import is_model_file

EXIT_FAILED, EXIT_USAGE = 1, 2

MAX_THREADS = 64
"""As of model.threads."""
SUSTAINED_MINUTES = 60.0
"""The most that it takes unasked: a board in a heavy case takes 40 (tests/simboard)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="NAME",
        help="a manifest entry, or .tflite files",
    )
    what.add_argument("--labels", metavar="FILE", help="label file of .tflite files that hold no labels")
    what.add_argument("--images", metavar="DIR", help="judge the accuracy on these pictures (default: the test card)")
    what.add_argument("--annotations", metavar="FILE", help="COCO annotations of the pictures: gives AP")
    what.add_argument("--limit", type=_count, default=200, metavar="N", help="pictures at most (default: %(default)s)")
    what.add_argument("--threads", type=_counts, metavar="N,N", help="default: 1, 2, 4, ... and all cores")
    what.add_argument("--delegates", type=_words, metavar="D,D", help="default: all that this board has")
    what.add_argument(
        "--sustained",
        nargs="?",
        type=_minutes,
        const=SUSTAINED_MINUTES,
        metavar="MINUTES",
        help="also the rate that this board holds for ever: heats it up to its budget and lets it cool, in at most "
        f"MINUTES (default: {SUSTAINED_MINUTES:g}); what is measured already is not measured again",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=_count, default=3, metavar="N", help="default: %(default)s")
    how.add_argument(
        "--seconds", type=_seconds, default=2.0, metavar="S", help="for a setting in each round (default: %(default)g)"
    )
    how.add_argument("--anew", action="store_true", help="do not go on with a run that was stopped")
    how.add_argument("--pause", action="store_true", help="let the running daemon pause meanwhile")
    how.add_argument("--anyway", action="store_true", help="measure although a daemon runs")
    result = parser.add_argument_group("what comes out")
    result.add_argument("--budget", metavar="LIST", help="memory=256MiB,latency=50ms,temperature=75C")
    result.add_argument("--profile", metavar="FILE", help="where to keep it all (default: where vigild looks)")
    result.add_argument("--pareto", metavar="FILE", help="where to draw them, .svg or .png (default: beside it)")
    result.add_argument("--show", action="store_true", help="measure nothing: show what is kept")
    result.add_argument("--json", action="store_true", help="for programs: the model's part of the profile")
    parser.add_argument("--config", metavar="FILE", help="the daemon's configuration: its model and budgets")
    parser.add_argument(
        "-o", "--override", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="as for vigild run"
    )
    parser.add_argument("--socket", metavar="PATH", help="where to look for a running daemon")
    parser.add_argument("--sysfs-root", metavar="DIR", default="/", help="sensors and devices below DIR (for tests)")


def run(args: argparse.Namespace) -> int:
    _stop_as_with_ctrl_c()
    from vigild.board.board import Board
    from vigild.board.budgets import resolve
    from vigild.catalogue.entry import ManifestError
    from vigild.client import NoDaemon, ProtocolError, Refused
    from vigild.tune import budgets, session
    from vigild.tune.measure import CannotMeasure
    from vigild.tune.race import Settings
    from vigild.tune.tasks import Pictures

    files = [name for name in args.model if is_model_file(name)]
    if 0 < len(files) < len(args.model) or (len(args.model) > 1 and not files):
        return _fail("--model takes one name of the manifest, or .tflite files", EXIT_USAGE)
    if args.annotations and not args.images:
        return _fail("--annotations says what is in pictures; name their folder with --images", EXIT_USAGE)
    config = from_command_line(
        config=args.config, model=args.model[0] if args.model else None, labels=args.labels, overrides=args.overrides
    )  # ConfigError is main's to print
    try:
        limits = budgets.parse(args.budget, resolve(config.budget, Board(Path(args.sysfs_root))))
    except budgets.BudgetError as error:
        return _fail(str(error), EXIT_USAGE)
    wanted = session.Wanted(
        config=config,
        files=files,
        budgets=limits,
        threads=args.threads,
        delegates=args.delegates,
        settings=Settings(
            rounds=args.rounds,
            seconds=args.seconds,
            pictures=Pictures(folder=_absolute(args.images), limit=args.limit, annotations=_absolute(args.annotations)),
            runtime=config.model.runtime,
            root=Path(args.sysfs_root),
        ),
        profile=Path(args.profile) if args.profile else None,
        pareto=Path(args.pareto) if args.pareto else None,
        anew=args.anew,
        daemon="pause" if args.pause else "anyway" if args.anyway else "stop",
        socket=args.socket,
        as_json=args.json,
        sustained_s=60 * args.sustained if args.sustained is not None else None,
    )
    try:
        return session.show(wanted) if args.show else session.measure(wanted)
    except BrokenPipeError:
        raise  # main's: the reader has seen enough
    except (CannotMeasure, ManifestError, Refused, NoDaemon, ProtocolError, OSError) as error:
        return _fail(str(error), EXIT_FAILED)


def _stop_as_with_ctrl_c() -> None:
    """Also when it is told to end, or its terminal goes away: what was paused has to go on, what is learned is kept."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # the kernel and the shell both tell of one terminal
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means that it goes on
        signal.signal(signal.SIGHUP, stop)


def _fail(message: str, status: int) -> int:
    stdio.complain(f"vigild: {message.rstrip('.')}.")
    return status


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number above 0")
    return int(text)


def _counts(text: str) -> list[int]:
    counts = [_count(part.strip()) for part in text.split(",")]
    if max(counts) > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"found {max(counts)} threads, expected at most {MAX_THREADS}")
    return list(dict.fromkeys(counts))


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected seconds from 0.05 to 3600")
    return seconds


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0.1 <= minutes <= 1440:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected minutes from 0.1 to 1440")
    return minutes
