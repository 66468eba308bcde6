"""The process that may die of what it tries: `python -m MODULE PARENT TASK ARGUMENT`.

    def model(argument: bytes, step: Step) -> Answer: ...

    if __name__ == "__main__":
        main({"model": model})

Writes lines of JSON to its standard output: {"step": "while ..."} before each thing that may kill it, and
{"answer": {...}} at the end. An answer is what the task returns, or {"code", "refused"} when it
was refused in words.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vigild.decoding import encoded
from vigild.ipc.worker import die_with

Answer = dict[str, Any]
Step = Callable[[str], None]
"""Told what comes next, as a clause that begins with "while"."""
Task = Callable[[bytes, Step], Answer]
"""Gets its argument as JSON."""


def main(tasks: Mapping[str, Task]) -> None:
    """Run the task that the command line names, and end this process."""
    parent, task, argument = sys.argv[1:]
    die_with(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What libraries print to the standard output must not come between the lines.
    lines = os.dup(1)
    os.dup2(2, 1)

    def say(line: Answer) -> None:
        whole = memoryview(encoded(msgspec.json.encode, line) + b"\n")
        while whole:  # a pipe takes 64 KiB at once
            whole = whole[os.write(lines, whole) :]

    try:
        answer = tasks[task](argument.encode(), lambda step: say({"step": step}))
    except ImportError as error:
        # A missing library is an answer; a traceback of it would only be longer.
        text = " ".join(str(error).split())
        answer = {"code": "import", "refused": text, "missing": (error.name or "").split(".")[0]}
        if not isinstance(error, ModuleNotFoundError):
            answer["missing"] = ""
    say({"answer": answer})
    # A library that crashes while Python unwinds has done all that a worker needs of it.
    os._exit(0)
