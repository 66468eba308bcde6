"""The power cut off in the middle of a deploy: what is on the disk then, and what the board makes of it.

    with held(board, GUARD_UNIT), stopped(board, command) as pid:
        for change in changes(board, [pid], [board.leader]):
            for picture in pictures.take(change): ...
    comes_up(1, picture, known)           # a board that starts from it

A deploy runs once, and after each change that it makes to the disk it stands still while the disk is copied: that is
what would be there if the power failed right then. A board is started from each such picture. So no cut has to wait
until a deploy has come to its place again.

What a kernel still had in its memory is lost with the power, and a container that is killed does not show it. So where
there are bytes that nobody forced onto the disk yet, there is a second picture in which files have lost them. (What
folders list is taken for kept, in the order in which it was changed.)

Two kinds of changes are not taken one by one. Of a file that is written piece by piece, the first piece and the last
one (which is there with the change that follows). And below a folder that is not named whole yet (pip unpacks into it;
there are thousands), or that has lost its name already, the first and then some at growing distances, drawn by seed:
all of them leave the same kind of state, of which the board knows one thing, that there is no complete.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from board import Board, Failed
from tracing import HOLD, Change

SETTLED_S = 240.0
"""For a board to decide: two starts, two trials and a busy machine."""

_UNNAMED = re.compile(r"/opt/vigild/(releases|environments)/(?P<name>[^/]+)(/|$)")
_JUDGED = ("etc", "opt", "usr")
"""What makes two disks different; the rest is of programs that were not cut off."""


def journal(board: Board) -> dict[str, Any]:
    path = board.root / "opt/vigild/journal.json"
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def settled(board: Board) -> bool:
    return journal(board)["phase"] == "settled" and board.run("systemctl is-active vigild", check=False) == "active\n"


def wrong(board: Board, known: set[str]) -> str:
    """What is not as it has to be; empty when all is well."""
    current = (board.root / "opt/vigild/current").readlink().name
    if journal(board)["current"] != current:
        return f"the journal says {journal(board)['current']}, and current is {current}"
    if current not in known:
        return f"{current} is not among those that may run"
    if not (board.root / "opt/vigild/releases" / current / "complete.json").is_file():
        return f"{current} is not whole"
    hub = board.run("systemctl show -P MainPID vigild").strip()
    # The command in bin/ leads through the link; the Python that it runs on is the release's own.
    runs = board.run(f"tr '\\0' ' ' < /proc/{hub}/cmdline")
    if f"/releases/{current}/" not in runs:
        return f"what runs is not {current}: {runs}"
    # What comes before it depends on how long the service has been running.
    if board.status('timeout 90 vigild watch --json --empty | grep -qm1 \'"type":"detections"\'', timeout_s=120):
        return "no detections reach a client"
    return ""


@contextlib.contextmanager
def held(board: Board, unit: str, command: str) -> Iterator[None]:
    """That unit of the deploy waits to be traced when it starts. Gone when the board starts again."""
    folder = f"/run/systemd/system/{unit}.d"
    board.run(f"mkdir -p {folder} && cat >{folder}/held.conf <<'EOF'\n{hold(command)}EOF\nsystemctl daemon-reload")
    yield
    board.run(f"rm -rf {folder} && systemctl daemon-reload")


def hold(command: str) -> str:
    """A drop-in: a unit of the deploy begins only when it is traced."""
    program = f"/usr/bin/python3 -I /opt/vigild/vigild-deploy {command}"
    return f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{HOLD} {program}'\n"


class Picture(NamedTuple):
    layers: list[Path]
    """A board's disk, topmost layer first."""
    after: str
    """The change that was the last one."""


class Pictures:
    """Takes them; only of disks that were not seen before."""

    def __init__(self, board: Board, layers: Sequence[Path], folder: Path, seed: int = 1) -> None:
        self._board, self._layers, self._folder = board, list(layers), folder
        self._chance = random.Random(seed)
        self._unsynced: set[str] = set()
        self._last: Change | None = None
        self._below: dict[str, list[int]] = {}
        """Of a folder without its name: how many changes there were, and which is taken next."""
        self._read: dict[tuple[int, int, int], bytes] = {}
        self._seen = {self._fingerprint(set())}
        self.changes = 0
        self.passed_over = 0
        """Changes of the two kinds of which only some are taken."""

    def take(self, change: Change) -> list[Picture]:
        """Of the disk as it is; none when it is as it was before, or not drawn."""
        self.changes += 1
        self._note(change)
        if self._passed_over(change):
            return []
        taken = []
        for lost in (set(), set(self._unsynced)):
            mark = self._fingerprint(lost)
            if mark in self._seen:
                continue
            self._seen.add(mark)
            number = len(self._seen)
            copy = self._folder / f"{number}"
            subprocess.run(["cp", "-a", self._board.written, copy], check=True)
            for path in lost:
                if (copy / path.lstrip("/")).is_file():
                    os.truncate(copy / path.lstrip("/"), 0)
            told = f"{change}{', unsynced bytes lost' if lost else ''}"
            taken.append(Picture([copy, *self._layers], told))
        return taken

    def _passed_over(self, change: Change) -> bool:
        last, self._last = self._last, change
        names = [self._is_unnamed(path) for path in change.paths]
        if names and all(names):
            below = self._below.setdefault(names[0], [0, 1])
            below[0] += 1
            if below[0] < below[1]:
                self.passed_over += 1
                return True
            below[1] += 1 + int(below[0] * self._chance.random())
        elif change == last and change.call == "write":
            self.passed_over += 1
            return True
        return False

    def _is_unnamed(self, path: str) -> str:
        """The release or environment that the path is in, if nothing can take that for a whole one."""
        found = _UNNAMED.match(path)
        if found is None or path.rpartition("/")[2].startswith("complete.json"):
            return ""
        below = path[found.start("name") :] != found["name"]
        whole = (self._board.root / found[0].strip("/") / "complete.json").is_file()
        return found["name"] if below and (not whole or found["name"].startswith(".")) else ""

    def _note(self, change: Change) -> None:
        """Which files have bytes that are nowhere but in memory."""
        match change.call:
            case "sync" | "syncfs":
                self._unsynced.clear()
            case "fsync" | "fdatasync":
                self._unsynced -= set(change.paths)
            case "rename" | "renameat" | "renameat2":
                old, new = change.paths
                self._unsynced.discard(new)
                moved = {path for path in self._unsynced if path == old or path.startswith(f"{old}/")}
                self._unsynced -= moved
                self._unsynced |= {new + path[len(old) :] for path in moved}
            case "unlink" | "unlinkat":
                self._unsynced -= set(change.paths)
            case "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendfile" | "copy_file_range":
                self._unsynced |= set(change.paths)
            case _:
                pass

    def _fingerprint(self, lost: set[str]) -> bytes:
        digest, above = hashlib.sha256(), len(str(self._board.written))
        for top in _JUDGED:
            for folder, folders, files in os.walk(self._board.written / top):
                folders.sort()
                for name in [*folders, *sorted(files)]:
                    path = f"{folder}/{name}"
                    with contextlib.suppress(FileNotFoundError):  # of programs that run
                        digest.update(path[above:].encode() + b"\0" + self._content(path, path[above:] in lost))
        return digest.digest()

    def _content(self, path: str, lost: bool) -> bytes:
        found = os.lstat(path)
        kind = f"{found.st_mode} {found.st_rdev}\0".encode()
        if stat.S_ISLNK(found.st_mode):
            return kind + os.fsencode(os.readlink(path)) + b"\0"  # noqa: PTH115
        if stat.S_ISDIR(found.st_mode):
            # What the overlay notes of a folder that was renamed, or that hides another.
            return kind + b"".join(
                os.getxattr(path, name) for name in sorted(os.listxattr(path)) if "origin" not in name
            )
        if not stat.S_ISREG(found.st_mode):
            return kind
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if key not in self._read:
            self._read[key] = hashlib.sha256(Path(path).read_bytes()).digest()
        return kind + (hashlib.sha256(b"").digest() if lost else self._read[key])


def comes_up(number: int, picture: Picture, known: set[str], *, first: bool = False) -> tuple[str, str]:
    """A board that starts from it: what is wrong (empty when nothing is), and what became of it.

    `first`: of a first deploy, before which there was nothing: then it may be that nothing runs.
    """
    try:
        with Board(f"cut-{number}", layers=picture.layers) as board:
            if first and not (board.root / "opt/vigild/journal.json").exists():
                if (board.root / "opt/vigild/current").is_symlink():
                    return "a link and no journal", ""
                return "", "nothing was begun"
            if first and journal(board)["current"] is None:
                return "", "nothing was begun"
            phase = str(journal(board)["phase"])
            board.wait_for(lambda: settled(board), "the board has decided, and its service runs", SETTLED_S)
            return wrong(board, known), f"{phase} at first, then {(board.root / 'opt/vigild/current').readlink().name}"
    except (Failed, OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}", ""
