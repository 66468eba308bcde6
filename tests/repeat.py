"""`python -m repeat`: run tests many times, and list what failed, how often.

    make test-repeat N=10                                   # the whole suite
    make test-repeat N=5 TESTS=tests/unit                   # part of it
    make test-repeat N=2 TESTS=tests/system BUSY=1          # while a loop keeps one core busy

A test that fails now and then is a fault of the test or of the program: this tells which it is, the output of each
failed run is kept in --out. Exit status: 0; 1 when something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

SPIN = "while True: pass"


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy meanwhile, the first ones of those that this process may use."""
    spinning = []
    try:
        for core in itertools.islice(itertools.cycle(sorted(os.sched_getaffinity(0))), cores):
            process = subprocess.Popen([sys.executable, "-c", SPIN])
            spinning.append(process)
            os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def failures(report: Path) -> list[str]:
    """The tests that failed, of a JUnit report, as `module::name`."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def once(number: int, out: Path, pytest: Sequence[str]) -> list[str]:
    """Run the tests, and say how it went; returns what failed."""
    report, log = out / f"{number}.xml", out / f"{number}.log"
    report.unlink(missing_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("wb") as file:
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *pytest]
        status = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    failed = failures(report) if report.exists() else []
    if status and not failed:
        failed = [f"pytest itself: exit status {status}"]
    print(f"run {number}: {len(failed)} failed, {wall_s:.0f} s, {cpu_s:.0f} s of processor time", flush=True)
    return failed


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="repeat", description="Run tests many times; list what failed, how often.")
    parser.add_argument("--times", type=int, default=10, metavar="N")
    parser.add_argument("--busy", type=int, default=0, metavar="CORES", help="keep so many cores busy meanwhile")
    parser.add_argument("--out", type=Path, default=Path("build/repeat"), metavar="FOLDER", help="logs and reports")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    args = parser.parse_args()
    if args.times < 1:
        parser.error(f"--times {args.times}: expected 1 or more")
    args.out.mkdir(parents=True, exist_ok=True)
    seen: Counter[str] = Counter()
    runs: dict[str, list[str]] = {}
    with busy(args.busy):
        for number in range(1, args.times + 1):
            for test in once(number, args.out, args.pytest):
                seen[test] += 1
                runs.setdefault(test, []).append(str(number))
    for test, count in seen.most_common():
        print(f"{count} of {args.times}  {test}  (run {', '.join(runs[test])}: see {args.out})")
    if not seen:
        print(f"nothing failed in {args.times} runs")
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
