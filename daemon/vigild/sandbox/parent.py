"""A task in a process of its own, with a time limit, and what became of it in words.

    result = run("vigild.doctor.tasks", "model", {"runtime": "litert", ...})
    if result.answer is None: print(result.death)

Native code may hang, abort or segfault; here that costs one line of a report. The process: `child`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import Any, NamedTuple

import msgspec

from vigild.decoding import decoded, encoded

LIMIT_S = 60.0
"""Importing NumPy and a runtime from a slow SD card, and a first invoke."""

_SAID_BYTES = 8192
"""How much of its standard error is read, from the end: the last line says most."""

# What libraries say when all is well: TensorFlow Lite's "INFO: ...", absl's "I0000 00:00:...".
_CHATTER = re.compile(r"(INFO|VERBOSE|DEBUG|WARNING|W0000)\b|[IVW]\d{4} |\s*$")

_DEATHS = {
    signal.SIGILL: "it uses instructions that this processor does not have",
    signal.SIGSEGV: "it crashed; its build does not fit this system or another library",
    signal.SIGBUS: "it crashed on a bad memory access",
    signal.SIGABRT: "it gave up by itself",
    signal.SIGFPE: "it divided by zero",
    signal.SIGKILL: "something killed it, most likely the kernel for lack of memory",
}


class TaskResult(NamedTuple):
    """How a task ended."""

    answer: dict[str, Any] | None
    """What the task answered; None when it did not come to that."""
    death: str
    """How it ended instead, as a clause; empty with an answer."""


class Running:
    """A task that runs while its parent does something else; to be ended, whatever happens: `end`."""

    def __init__(self, module: str, task: str, argument: object) -> None:
        """As `run`."""
        self._said = os.memfd_create("vigild-sandbox-stderr", os.MFD_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(os.getpid()), task, encoded(msgspec.json.encode, argument)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for the parent, whose death ends this one too
            )
        except BaseException:
            os.close(self._said)
            raise

    def ended(self) -> TaskResult | None:
        """How it ended; None while it runs. It must not say more than a pipe holds until it is asked for (64 KiB)."""
        return None if self._process.poll() is None else self.wait(None)

    def wait(self, limit_s: float | None) -> TaskResult:
        """Its end; after `limit_s` seconds (None: however long) it is killed."""
        try:
            out, _ = self._process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            out = _end(self._process)
            return TaskResult(None, f"it hung for {limit_s:g} s {_step(out)}, and was killed")
        answer = _answer(out)
        if answer is not None:
            return TaskResult(answer, "")
        return TaskResult(None, _death(self._process.returncode, _step(out), _last_words(self._said)))

    def end(self) -> None:
        """Kill it, unless it has ended. May be called twice."""
        if self._said < 0:
            return
        if self._process.returncode is None:
            _end(self._process)
        os.close(self._said)
        self._said = -1


def run(module: str, task: str, argument: object, limit_s: float = LIMIT_S) -> TaskResult:
    """Run `task` of `module` on `argument` (anything msgspec encodes), for up to `limit_s` seconds."""
    running = Running(module, task, argument)
    try:
        return running.wait(limit_s)
    finally:
        running.end()


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """SIGKILL; what it had said by then. A process that not even that ends (a driver) is left behind."""
    process.kill()
    try:
        out, _ = process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired as still:
        return still.stdout or b""
    return out


_line = msgspec.json.Decoder(dict[str, Any])


def _lines(out: bytes) -> list[dict[str, Any]]:
    found = []
    for line in out.splitlines():
        try:
            found.append(decoded(_line.decode, line))
        except msgspec.DecodeError:
            continue  # cut off by its death
    return found


def _answer(out: bytes) -> dict[str, Any] | None:
    return next((line["answer"] for line in _lines(out) if "answer" in line), None)


def _step(out: bytes) -> str:
    """ "while importing NumPy": the last step it announced."""
    steps = [str(line["step"]) for line in _lines(out) if "step" in line]
    return steps[-1] if steps else "while starting"


def _death(status: int, step: str, words: str) -> str:
    said = f" ({words})" if words else ""
    if status >= 0:
        return f"exited with status {status} {step}{said}"
    try:
        number = signal.Signals(-status)
    except ValueError:
        return f"killed by signal {-status} {step}{said}"
    meaning = f": {_DEATHS[number]}" if number in _DEATHS else ""
    return f"killed by {number.name} {step}{meaning}{said}"


def _last_words(said: int) -> str:
    size = os.lseek(said, 0, os.SEEK_END)
    raw = os.pread(said, _SAID_BYTES, max(0, size - _SAID_BYTES))
    lines = [line.strip() for line in raw.decode(errors="replace").splitlines() if not _CHATTER.match(line)]
    return lines[-1][:300] if lines else ""
