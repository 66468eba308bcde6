"""Runs a command so that nothing of it can stay behind.

    python -I -S warden.py --parent PID -- 'rpicam-vid --codec mjpeg -o - -t 0'

The command gets a process group of its own. The warden is the subreaper of all its descendants,
also of those that leave the group or the session; when the command ends, when the warden is told
to (SIGTERM), or when the camera worker dies, however it dies, all of them are killed. The warden
exits with the command's status.

It imports nothing of the package: it must start fast and stay small beside every command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

POLITE_S = 0.2
"""Between SIGTERM and SIGKILL: enough for a camera program to stop its sensor."""

KILL_WITHIN_S = 2.0
"""Then the warden leaves, with whatever the kernel cannot end; the next subreaper inherits it."""

_STEP_S = 0.01


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def descendants() -> list[int]:
    """All processes below this one, from /proc (the `children` files are not in every kernel)."""
    children: dict[int, list[int]] = {}
    # Not pathlib: importing it takes longer than all the rest here.
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:
            continue
        # The name in parentheses may hold anything, also parentheses.
        state, parent = stat[stat.rindex(b")") + 2 :].split(None, 2)[:2]
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _signal_all(number: int) -> bool:
    """Signal every descendant; whether there was one."""
    pids = descendants()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            # A set-uid program: its pipes break, that is all that can be done.
            continue
    return bool(pids)


def _reap(command: int) -> int | None:
    """Collect ended children; the command's wait status, if it is among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == command:
            status = ended


def _end_all(command: int, polite: bool) -> int | None:
    """End all descendants; the command's wait status, if it ended here."""
    status = None
    started_s = time.monotonic()
    if polite:
        _signal_all(signal.SIGTERM)
        _signal_all(signal.SIGCONT)
        while descendants() and time.monotonic() - started_s < POLITE_S:
            time.sleep(_STEP_S)
    # Again and again: what is killed may have forked a moment before.
    while _signal_all(signal.SIGKILL) and time.monotonic() - started_s < KILL_WITHIN_S:
        ended = _reap(command)
        status = ended if ended is not None else status
        time.sleep(_STEP_S)
    ended = _reap(command)
    return ended if ended is not None else status


def _start(command: str, blocked: set[signal.Signals]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        # Should the warden be killed: at least the command itself goes with it.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        os.execv("/bin/sh", ["/bin/sh", "-c", command])
    except OSError as error:
        os.write(2, f"cannot start /bin/sh: {error}\n".encode())
    os._exit(127)


def main(argv: list[str]) -> int:
    if len(argv) != 4 or argv[0] != "--parent" or argv[2] != "--":
        os.write(2, b"usage: warden.py --parent PID -- COMMAND\n")
        return 2
    # Blocked from here on, so that none is lost between two waits.
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(argv[1]):
        return 0
    command = _start(argv[3], awaited)
    # Only the command writes; else the pipe would stay open as long as the warden.
    for fd in (0, 1):
        os.close(fd)
    status = None
    polite = False
    while status is None and not polite:
        polite = signal.sigwait(awaited) != signal.SIGCHLD
        status = _reap(command)
    ended = _end_all(command, polite)
    status = status if status is not None else ended
    if status is None:
        return 1
    code = os.waitstatus_to_exitcode(status)
    # As the shell says it: 128 + the signal's number.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
