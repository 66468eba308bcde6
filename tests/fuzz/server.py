"""A process that has imported everything once, and forks a child for each model and each batch of texts.

    report = Server(corpus, folder).run(range(1000), seconds=60)
    report.failures

A child has a limit on its processor time and its memory. What a case did stands in a file that the
child appends to; the case that a dead child was at is the first that is missing there. Where it died
is what `faulthandler` wrote, so a death in the runtime can be told from one in Python.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from fuzz import targets
from fuzz.case import Case
from fuzz.corpus import Corpus

CPU_S = 3.0
"""Per case; the largest of the shared models takes half a second."""
WALL_S = 120.0
"""Per child, for one that waits for something for ever."""
ADDRESS_SPACE_BYTES = 2 * 2**30
"""Beyond what the server has."""
MEMORY_BYTES = 768 * 2**20
"""What a child may come to hold: half as much again as `input_spec` lets one tensor take."""
BATCH = 64

_NATIVE = ("/ai_edge_litert/", "/tflite_runtime/")


class Failure(msgspec.Struct, frozen=True):
    """A case that broke a promise."""

    cause: str
    """The same for the same defect, roughly."""
    text: str
    number: int


class Report(msgspec.Struct):
    """What a run saw; counts by target and outcome."""

    outcomes: dict[str, int] = {}
    deaths: dict[str, int] = {}
    """Of children inside the runtime, by cause: allowed."""
    failures: dict[str, Failure] = msgspec.field(default_factory=dict)
    """The first of each cause."""
    repeated: dict[str, int] = {}
    """How often each cause of failure came."""
    cases: int = 0
    seconds: float = 0.0
    most_memory_bytes: int = 0

    def add(self, other: Report) -> None:
        """Take in what another server saw at the same time."""
        for mine, theirs in (
            (self.outcomes, other.outcomes),
            (self.deaths, other.deaths),
            (self.repeated, other.repeated),
        ):
            for what, count in theirs.items():
                _count(mine, what, count)
        self.failures = {**other.failures, **self.failures}
        self.cases += other.cases
        self.seconds = max(self.seconds, other.seconds)
        self.most_memory_bytes = max(self.most_memory_bytes, other.most_memory_bytes)

    def text(self) -> str:
        """For people."""
        rate = self.cases / self.seconds if self.seconds else 0.0
        lines = [f"{self.cases} cases in {self.seconds:.0f} s ({rate:.0f} a second), ", "outcomes:"]
        lines[0] += f"at most {self.most_memory_bytes / 2**20:.0f} MiB for one"
        lines += [f"  {count:7} {what}" for what, count in sorted(self.outcomes.items())]
        lines += ["deaths inside the runtime, each of one child alone:"] if self.deaths else []
        lines += [f"  {count:7} {what}" for what, count in sorted(self.deaths.items(), key=lambda item: -item[1])]
        lines += ["FAILURES:"] if self.failures else ["no failures"]
        for cause, failure in self.failures.items():
            lines += [
                f"  {self.repeated[cause]:7} {cause}",
                *(f"          {line}" for line in failure.text.splitlines()),
            ]
        return "\n".join(lines)


class Server:
    """Forks children; import `targets` and build the corpus before."""

    def __init__(self, corpus: Corpus | None, folder: Path, replayed: list[Case] | None = None) -> None:
        """`folder`: for its own use. `replayed`: cases that take the place of the corpus, numbered from 0."""
        self._corpus = corpus
        self._replayed = replayed or []
        self._files = folder / "case"
        self._files.mkdir()
        self._results = folder / "results"
        self._crash = folder / "crash"
        self._crash_fd = os.open(self._crash, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.report = Report()

    def case(self, number: int) -> Case:
        """The case of this number."""
        if self._corpus is None:
            return self._replayed[number]
        return self._corpus.case(number)

    def run(self, numbers: Iterable[int], seconds: float = 0.0) -> Report:
        """Run these cases, for at most so many seconds (0: all of them)."""
        started = time.monotonic()
        for batch in self._batches(numbers):
            while batch:
                batch = batch[self._child(batch) :]
            self.report.seconds = time.monotonic() - started
            if seconds and self.report.seconds >= seconds:
                break
        return self.report

    def _batches(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        waiting: list[int] = []
        for number in numbers:
            target = self._corpus.target(number) if self._corpus is not None else self.case(number).target
            if target in targets.FORKED_EACH:
                yield [number]
            else:
                waiting.append(number)
            if len(waiting) == BATCH:
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    # ---- the child

    def _child(self, batch: list[int]) -> int:
        """Run a batch in a child; returns how many of its cases are done with."""
        self._results.write_bytes(b"")
        os.ftruncate(self._crash_fd, 0)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self._limit()
                self._run_all(batch)
                status = 0
            except BaseException:
                os.write(self._crash_fd, traceback.format_exc().encode())
            finally:
                os._exit(status)
        status, memory = _wait(pid)
        begun, *done = [json.loads(line) for line in self._results.read_bytes().splitlines()] or [memory]
        memory -= begun
        self.report.most_memory_bytes = max(self.report.most_memory_bytes, memory)
        return self._take_in(batch, done, status, memory)

    def _limit(self) -> None:
        os.dup2(self._null, 0)
        os.dup2(self._null, 1)
        os.dup2(self._null, 2)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ADDRESS_SPACE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable(self._crash_fd, all_threads=False)
        faulthandler.register(signal.SIGPROF, self._crash_fd, all_threads=False, chain=True)

    def _run_all(self, batch: list[int]) -> None:
        with self._results.open("ab", buffering=0) as results:
            # A fork does not take over the pages of mapped files, so it begins with less than the server has.
            results.write(b"%d\n" % _own_memory())
            for number in batch:
                case = self.case(number)
                case.write(self._files)
                signal.setitimer(signal.ITIMER_PROF, CPU_S)
                found = {"target": case.target, **_outcome(case, self._files)}
                signal.setitimer(signal.ITIMER_PROF, 0)
                results.write(json.dumps(found).encode() + b"\n")

    # ---- what became of it

    def _take_in(self, batch: list[int], done: list[dict[str, str]], status: int, memory: int) -> int:
        for number, found in zip(batch, done, strict=False):
            self.report.cases += 1
            _count(self.report.outcomes, f"{found['target']} {found['outcome']}")
            if "cause" in found:
                self._fail(found["cause"], found["text"], number)
        if memory > MEMORY_BYTES:
            self._fail(
                "memory", f"{memory / 2**20:.0f} MiB, at most {MEMORY_BYTES / 2**20:.0f} were expected", batch[0]
            )
        if status and len(done) < len(batch):
            self._died(batch[len(done)], status)
            return len(done) + 1
        return len(batch)

    def _died(self, number: int, status: int) -> None:
        self.report.cases += 1
        dump = self._crash.read_text(errors="replace")
        frames = [line.strip() for line in dump.splitlines() if line.lstrip().startswith('File "')]
        top = frames[0] if frames else "unknown place"
        how = _signal(status)
        if any(part in top for part in _NATIVE) and not (
            os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        ):
            _count(self.report.deaths, f"{how} in the runtime's {top.rpartition(' in ')[2]}()")
            _count(self.report.outcomes, "model died")
        else:
            self._fail(f"{how} at {top}", dump[:3000] or "nothing is known of it", number)

    def _fail(self, cause: str, text: str, number: int) -> None:
        _count(self.report.repeated, cause)
        self.report.failures.setdefault(cause, Failure(cause, text, number))


def _count(counts: dict[str, int], what: str, more: int = 1) -> None:
    counts[what] = counts.get(what, 0) + more


def _outcome(case: Case, folder: Path) -> dict[str, str]:
    try:
        return {"outcome": targets.run(case, folder)}
    except targets.Unfit as unfit:
        return {"outcome": "FAILED", "cause": f"{case.target}: {unfit.what}", "text": str(unfit)[:3000]}
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, MemoryError) and any(part in frame.filename for part in _NATIVE):
            return {"outcome": "out of memory in the runtime"}
        cause = f"{case.target}: {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        return {"outcome": "FAILED", "cause": cause, "text": traceback.format_exc()[-3000:]}


def _wait(pid: int) -> tuple[int, int]:
    """(wait status, most memory in bytes) of a child; one that does not end is killed."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(WALL_S * 1000):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    _, status, usage = os.wait4(pid, 0)
    return status, usage.ru_maxrss * 1024


def _own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _signal(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    return "more than its processor time" if number == signal.SIGPROF else signal.Signals(number).name
