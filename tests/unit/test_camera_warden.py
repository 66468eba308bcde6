"""The warden as a real process: nothing of a command stays behind, however things end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vigild.camera import warden

TIMEOUT_S = 90.0

# Leaves the session, leaves its parent, ignores SIGTERM: three ways to be forgotten.
STUBBORN = (
    "trap '' TERM; setsid sleep {mark} & (sleep {mark} &); sh -c 'trap \"\" TERM; sleep {mark}; true' & sleep {mark}"
)


def command_line(mark: str) -> Callable[[], list[int]]:
    def alive() -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", mark.encode()]:
                found.append(int(path.parent.name))
        return found

    return alive


def wait_until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def start(command: str, parent: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", warden.__file__, "--parent", str(parent or os.getpid()), "--", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def mark() -> Iterator[str]:
    """A length of sleep that no other process has."""
    text = f"{9000 + uuid.uuid4().int % 90000}.{uuid.uuid4().int % 10**9}"
    yield text
    for pid in command_line(text)():
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("command", "status"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("nonsense-x", 127)])
def test_exits_with_the_commands_status(command: str, status: int) -> None:
    process = start(command)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == status


def test_output_and_words_are_passed_on() -> None:
    out, err = start("echo out; echo err >&2").communicate(timeout=TIMEOUT_S)
    assert (out, err) == (b"out\n", b"err\n")


def test_the_command_is_a_group_of_its_own_with_default_signals() -> None:
    # Of a program that the shell starts: dash blocks all signals in itself for the moment in which it does.
    out, _ = start("ps -o pgid= -p $$; echo $$; grep SigBlk /proc/self/status; kill -PIPE $$").communicate(
        timeout=TIMEOUT_S
    )
    group, pid, blocked = out.decode().split("\n")[:3]
    assert group.strip() == pid
    assert int(blocked.split()[1], 16) == 0


def test_sigterm_ends_all_descendants(mark: str) -> None:
    alive = command_line(mark)
    process = start(STUBBORN.format(mark=mark))
    wait_until(lambda: len(alive()) == 4)
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert alive() == []


def test_a_polite_command_may_clean_up(tmp_path: Path) -> None:
    process = start(f"trap 'echo clean > {tmp_path}/done; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert (tmp_path / "done").read_text() == "clean\n"


def test_a_stopped_command_is_ended_too(mark: str) -> None:
    alive = command_line(mark)
    process = start(f"sleep {mark}; true")
    wait_until(lambda: len(alive()) == 1)
    os.kill(alive()[0], signal.SIGSTOP)
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert alive() == []


def test_what_the_command_left_behind_ends_with_it(mark: str) -> None:
    process = start(f"setsid sleep {mark} & exit 3")
    process.wait(TIMEOUT_S)
    assert process.returncode == 3
    assert command_line(mark)() == []


def test_the_death_of_the_camera_worker_ends_all(mark: str) -> None:
    """A process in between, killed with SIGKILL, as the worker may be."""
    alive = command_line(mark)
    script = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', {warden.__file__!r}, '--parent', str(os.getpid()), '--',"
        f" {STUBBORN.format(mark=mark)!r}])\n"
        "time.sleep(1000)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script])
    try:
        wait_until(lambda: len(alive()) == 4)
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: alive() == [])


def test_a_parent_that_is_gone_already(mark: str) -> None:
    process = start(f"sleep {mark}", parent=1)
    assert process.wait(TIMEOUT_S) == 0
    assert command_line(mark)() == []


def test_its_imports_are_cheap() -> None:
    """It runs beside every command, for as long as the command does."""
    code = "import runpy, sys; sys.argv = ['x']; runpy.run_path(sys.argv[0] and %r); print(sorted(sys.modules))"
    out = subprocess.check_output([sys.executable, "-I", "-S", "-c", code % warden.__file__], text=True)
    assert not {"subprocess", "asyncio", "numpy", "msgspec", "vigild"} & set(eval(out))
