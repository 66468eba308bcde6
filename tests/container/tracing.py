"""The system calls with which programs on a board change its disk, one after the other, found by ptrace(2).

    with stopped(board, ["python3", "tool", "receive"]) as pid:
        for change in changes(board, follow=[pid], watch=[board.leader]):
            ...                            # whoever made it stands still meanwhile, the change just done

strace could list them, but it neither stands still after one nor counts over several processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from board import Board

MACHINE = "x86_64"
"""Whose numbers of system calls are below."""

_NOT_ON_DISK = ("/dev", "/proc", "/run", "/sys", "/tmp")
_LOGS = ("/var/log", "/var/tmp")
"""journald's own, at any time."""


class _Kind(NamedTuple):
    """Where a call's paths are: each as the numbers of the arguments (folder or None, name)."""

    name: str
    paths: tuple[tuple[int | None, int], ...] = ()
    fd: int | None = None
    """The argument that is an open file."""


_CALLS = {
    1: _Kind("write", fd=0),
    2: _Kind("open", ((None, 0),)),
    18: _Kind("pwrite64", fd=0),
    20: _Kind("writev", fd=0),
    40: _Kind("sendfile", fd=0),
    74: _Kind("fsync", fd=0),
    75: _Kind("fdatasync", fd=0),
    76: _Kind("truncate", ((None, 0),)),
    77: _Kind("ftruncate", fd=0),
    82: _Kind("rename", ((None, 0), (None, 1))),
    83: _Kind("mkdir", ((None, 0),)),
    84: _Kind("rmdir", ((None, 0),)),
    85: _Kind("creat", ((None, 0),)),
    86: _Kind("link", ((None, 0), (None, 1))),
    87: _Kind("unlink", ((None, 0),)),
    88: _Kind("symlink", ((None, 1),)),
    90: _Kind("chmod", ((None, 0),)),
    91: _Kind("fchmod", fd=0),
    92: _Kind("chown", ((None, 0),)),
    93: _Kind("fchown", fd=0),
    94: _Kind("lchown", ((None, 0),)),
    132: _Kind("utime", ((None, 0),)),
    133: _Kind("mknod", ((None, 0),)),
    162: _Kind("sync"),
    188: _Kind("setxattr", ((None, 0),)),
    189: _Kind("lsetxattr", ((None, 0),)),
    190: _Kind("fsetxattr", fd=0),
    197: _Kind("removexattr", ((None, 0),)),
    198: _Kind("lremovexattr", ((None, 0),)),
    199: _Kind("fremovexattr", fd=0),
    235: _Kind("utimes", ((None, 0),)),
    257: _Kind("openat", ((0, 1),)),
    258: _Kind("mkdirat", ((0, 1),)),
    259: _Kind("mknodat", ((0, 1),)),
    260: _Kind("fchownat", ((0, 1),)),
    261: _Kind("futimesat", ((0, 1),)),
    263: _Kind("unlinkat", ((0, 1),)),
    264: _Kind("renameat", ((0, 1), (2, 3))),
    265: _Kind("linkat", ((0, 1), (2, 3))),
    266: _Kind("symlinkat", ((1, 2),)),
    268: _Kind("fchmodat", ((0, 1),)),
    280: _Kind("utimensat", ((0, 1),)),
    285: _Kind("fallocate", fd=0),
    296: _Kind("pwritev", fd=0),
    306: _Kind("syncfs"),
    316: _Kind("renameat2", ((0, 1), (2, 3))),
    326: _Kind("copy_file_range", fd=2),
    328: _Kind("pwritev2", fd=0),
    437: _Kind("openat2", ((0, 1),)),
}
_FLAGS = {"open": 1, "openat": 2}
"""The argument that says how a file is opened."""

_SYSCALL, _DETACH, _SEIZE, _INTERRUPT, _SYSCALL_INFO = 24, 17, 0x4206, 0x4207, 0x420E
_SYSGOOD, _FORKS = 1, 2 | 4 | 8
_EVENT_STOP = 128
_WALL, _NOT_OTHER_THREADS = 0x40000000, 0x20000000
_ENTRY, _EXIT = 1, 2
_AT_FDCWD = -100


class _Info(ctypes.Structure):
    """struct ptrace_syscall_info: at the entry `words` are the number and six arguments, at the exit the result."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("place", ctypes.c_uint64 * 2),
        ("words", ctypes.c_uint64 * 8),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Change(NamedTuple):
    call: str
    paths: tuple[str, ...]
    """As the board names them; for a rename the old and the new name."""

    def __str__(self) -> str:
        return f"{self.call} {' -> '.join(self.paths)}".rstrip()


def unavailable() -> str:
    """Why nothing can be traced here; empty when it can."""
    return "" if platform.machine() == MACHINE else f"system calls are known by the numbers of {MACHINE} only"


@contextlib.contextmanager
def stopped(board: Board, command: Sequence[str], **how: Any) -> Iterator[int]:
    """A command in the board that waits to be traced before it begins; its number as seen from here."""
    process = board.start_process(["/bin/sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *command], **how)
    try:
        word = " ".join(command)
        yield board.wait_for(lambda: find_stopped(board, word), "a program waits to be traced")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


HOLD = "kill -STOP $$$$; exec"
"""As the beginning of a unit's command by /bin/sh, which then waits to be traced."""


def find_stopped(board: Board, word: str) -> int:
    """A program of the board that waits to be traced, with this on its command line; 0 when there is none."""
    there = Path(f"/proc/{board.leader}/ns/pid").readlink()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = os.fsdecode((folder / "cmdline").read_bytes().replace(b"\0", b" "))
            if "kill -STOP" not in words or word not in words or (folder / "ns/pid").readlink() != there:
                continue
            if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "T":
                return int(folder.name)
    return 0


def changes(board: Board, follow: Sequence[int], watch: Sequence[int] = ()) -> Iterator[Change]:
    """Until all that `follow` names have ended, their children included. Of `watch` (systemd itself) children are
    not followed, and it goes on unwatched afterwards."""
    tracer = _Tracer(board)
    try:
        for pid in watch:
            tracer.seize(pid, _SYSGOOD)
        for pid in follow:
            tracer.seize(pid, _SYSGOOD | _FORKS)
        for pid in follow:
            os.kill(pid, signal.SIGCONT)
        yield from tracer.run(set(watch))
    finally:
        tracer.close()


class _Tracer:
    """All of it in one thread: ptrace(2) knows its tracer by the thread."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._inside: dict[int, tuple[_Kind, Change] | None] = {}
        """Every thread that is traced, and what it is about to do."""
        self._still = 0
        self._info = _Info()

    def seize(self, pid: int, options: int) -> None:
        if _libc.ptrace(_SEIZE, pid, None, options) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot trace {pid}: {os.strerror(code)}")
        self._inside[pid] = None

    def run(self, watched: set[int]) -> Iterator[Change]:
        while set(self._inside) - watched:
            pid, status = os.waitpid(-1, _WALL | _NOT_OTHER_THREADS)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._inside.pop(pid, None)
                continue
            if not os.WIFSTOPPED(status):
                continue
            self._inside.setdefault(pid, None)
            number, event, pass_on = os.WSTOPSIG(status), status >> 16, 0
            if number == signal.SIGTRAP | 0x80:
                self._still = pid
                if (change := self._syscall(pid)) is not None:
                    yield change
                self._still = 0
            elif event == 0:
                pass_on = number
            _libc.ptrace(_SYSCALL, pid, None, pass_on)  # fails only when it was killed meanwhile

    def close(self) -> None:
        """Let go of those that are left; one that was killed meanwhile ends only when its tracer has been told."""
        for pid in list(self._inside):
            if pid == self._still and _libc.ptrace(_DETACH, pid, None, 0) == 0:
                continue
            _libc.ptrace(_INTERRUPT, pid, None, None)
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(pid, _WALL)
                if os.WIFSTOPPED(status):
                    number = os.WSTOPSIG(status)
                    own = status >> 16 or number == signal.SIGTRAP | 0x80
                    _libc.ptrace(_DETACH, pid, None, 0 if own else number)

    def _syscall(self, pid: int) -> Change | None:
        info = self._info
        if _libc.ptrace(_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info)) <= 0:
            return None
        if info.op == _ENTRY:
            kind = _CALLS.get(info.words[0])
            change = self._about(pid, kind, list(info.words[1:7])) if kind is not None else None
            self._inside[pid] = (kind, change) if kind is not None and change is not None else None
            return None
        begun, self._inside[pid] = self._inside[pid], None
        if info.op != _EXIT or begun is None or ctypes.c_int64(info.words[0]).value < 0:
            return None
        return begun[1]

    def _about(self, pid: int, kind: _Kind, words: list[int]) -> Change | None:
        """None for what does not change the disk."""
        if kind.name in _FLAGS and not words[_FLAGS[kind.name]] & (os.O_CREAT | os.O_TRUNC):
            return None
        if kind.name == "openat2":
            how = int.from_bytes(self._memory(pid, words[2], 8), "little")
            if not how & (os.O_CREAT | os.O_TRUNC):
                return None
        paths = [self._path(pid, words[at] if at is not None else None, words[name]) for at, name in kind.paths]
        if kind.fd is not None:
            paths.append(self._open_file(pid, words[kind.fd]))
        if kind.name not in ("sync", "syncfs") and not any(_on_disk(path) for path in paths):
            return None
        return Change(kind.name, tuple(paths))

    def _path(self, pid: int, folder: int | None, address: int) -> str:
        if address == 0:  # utimensat of an open file
            return self._open_file(pid, folder or 0)
        name = os.fsdecode(self._memory(pid, address, 4096).split(b"\0", 1)[0])
        if name.startswith("/"):
            return name
        at = ctypes.c_int32((folder if folder is not None else _AT_FDCWD) & 0xFFFFFFFF).value
        above = self._link(pid, "cwd") if at == _AT_FDCWD else self._open_file(pid, at)
        return os.path.normpath(f"{above}/{name}") if name else above

    def _open_file(self, pid: int, fd: int) -> str:
        return self._link(pid, f"fd/{ctypes.c_int32(fd & 0xFFFFFFFF).value}")

    def _link(self, pid: int, name: str) -> str:
        try:
            return str(Path(f"/proc/{pid}/{name}").readlink()).removeprefix(str(self._board.root))
        except OSError:
            return ""

    @staticmethod
    def _memory(pid: int, address: int, size: int) -> bytes:
        try:
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(address)
                # First to the end of the page: the next one may not be there.
                found = memory.read(min(size, 4096 - address % 4096)) or b""
                if b"\0" not in found and len(found) < size:
                    found += memory.read(size - len(found)) or b""
                return found
        except OSError:
            return b""


def _on_disk(path: str) -> bool:
    """In a container these are in memory, and gone with the power."""
    if not path.startswith("/") or path.endswith(" (deleted)"):
        return False
    return not any(path == each or path.startswith(f"{each}/") for each in (*_NOT_ON_DISK, *_LOGS))
