"""`python -m fuzz`: run cases, print what became of them, keep what reproduces a failure.

Exit status: 0; 1 when something failed.
"""

from __future__ import annotations

import os

# Before NumPy: a server that forks has one thread.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import gc
import importlib
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from fuzz.case import FACTS, Case
from fuzz.corpus import SHARES, Corpus
from fuzz.server import Report, Server

REPRODUCERS = Path(__file__).parent / "reproducers"
MAX_KEPT = 20
"""Reproducers of one run; more are of one defect, mostly."""


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description="Damaged models, labels, manifests, configurations, lines."
    )
    parser.add_argument("--cases", type=int, default=0, help="how many; default: until --seconds are over")
    parser.add_argument("--seconds", type=float, default=0.0, help="for how long at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with case N")
    parser.add_argument("--only", choices=list(SHARES), default="", help="one reader")
    parser.add_argument("--jobs", type=int, default=1, help="servers at a time")
    parser.add_argument("--part", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, default=REPRODUCERS, metavar="FOLDER", help="where reproducers go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there, too")
    parser.add_argument("--replay", type=Path, nargs="*", metavar="FOLDER", help="reproducers; default: all")
    args = parser.parse_args()
    if not (args.cases or args.seconds) and args.replay is None:
        parser.error("give --cases, --seconds or --replay")
    _import_runtime()
    with tempfile.TemporaryDirectory(prefix="vigild-fuzz-") as folder:
        report = _replay(args, Path(folder)) if args.replay is not None else _run(args, Path(folder))
    if args.part == 0:
        print(report.text())
    if args.json:
        args.json.write_bytes(msgspec.json.encode(report))
    return 1 if report.failures else 0


def _import_runtime() -> None:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            importlib.import_module(module)
            break
        except ImportError:
            continue
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number
    if threads != 1:
        print(f"the server has {threads} threads; a lock that one of them holds stays locked in a child")


def _run(args: argparse.Namespace, folder: Path) -> Report:
    others = []
    if args.part == 0:
        for part in range(1, args.jobs):
            command = [sys.executable, "-m", "fuzz", *sys.argv[1:], "--part", str(part)]
            command += ["--json", str(folder / f"part{part}.json")]
            others.append((folder / f"part{part}.json", subprocess.Popen(command)))
    corpus = Corpus(args.seed, args.only)
    gc.freeze()  # a collection in a child would touch, and so copy, every page
    server = Server(corpus, folder)
    every = itertools.count(args.first + args.part, args.jobs)
    numbers = itertools.takewhile(lambda number: number < args.first + args.cases, every) if args.cases else every
    report = server.run(numbers, args.seconds)
    for failure in list(report.failures.values())[:MAX_KEPT]:
        place = corpus.case(failure.number).save(args.keep, failure.cause)
        print(f"kept {place}")
    for path, process in others:
        process.wait()
        report.add(msgspec.json.decode(path.read_bytes(), type=Report))
    return report


def _replay(args: argparse.Namespace, folder: Path) -> Report:
    places = args.replay or sorted(path.parent for path in REPRODUCERS.glob(f"*/{FACTS}"))
    cases = [Case.load(place) for place in places]
    return Server(None, folder, cases).run(range(len(cases)))


if __name__ == "__main__":
    sys.exit(main())
