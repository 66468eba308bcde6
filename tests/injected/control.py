"""What is to fail: a file that the test writes and the hub reads, and one for what did fail.

A rule is a line "CALL ERRNO COUNT SKIP": the next COUNT of these calls after SKIP of them. The hub appends a line
"CALL ERRNO" for each call that it let fail, before that is seen by anybody.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "VIGILD_TEST_FAULTS"
MANY = 1_000_000
"""Until it is lifted."""


class Faults:
    """The test's side."""

    def __init__(self, folder: Path) -> None:
        self._rules = folder / "faults"
        self._done = folder / "faults.done"
        self._rules.write_text("")
        self._done.write_text("")
        path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {VARIABLE: str(self._rules), "PYTHONPATH": os.pathsep.join(path)}

    def fail(self, call: str, number: int, count: int = MANY, skip: int = 0) -> None:
        """From now on this fails, and nothing else."""
        self._done.write_text("")
        self._write(f"{call} {number} {count} {skip}\n")

    def lift(self) -> None:
        """Nothing fails any more."""
        self._write("")

    def hits(self) -> int:
        """How often something has failed since the last `fail`."""
        return len(self._done.read_text().splitlines())

    def _write(self, text: str) -> None:
        beside = self._rules.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._rules)


class Rule:
    """The hub's side: the rule in force."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._done = os.open(f"{path}.done", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._stat, self._open, self._read, self._close = os.stat, os.open, os.read, os.close
        self._seen: tuple[int, int] | None = None
        self._call = ""
        self._number = self._left = self._skip = 0

    def check(self, call: str) -> None:
        """Raises OSError if the next call of this name is to fail."""
        self._look()
        if call != self._call or not self._left:
            return
        if self._skip:
            self._skip -= 1
            return
        self._left -= 1
        os.write(self._done, f"{call} {self._number}\n".encode())
        raise OSError(self._number, os.strerror(self._number))

    def _look(self) -> None:
        info = self._stat(self._path)
        seen = info.st_ino, info.st_mtime_ns
        if seen == self._seen:
            return
        self._seen = seen
        fd = self._open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        words = self._read(fd, 4096).decode().split()
        self._close(fd)
        self._call, numbers = (words[0], words[1:]) if words else ("", ["0", "0", "0"])
        self._number, self._left, self._skip = (int(number) for number in numbers)
