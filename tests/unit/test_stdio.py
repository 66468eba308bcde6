"""Standard streams that are closed, full or gone, at the command line itself; and whose terminal a SIGHUP is about."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vigild.cli.parser import COMMANDS

VIGILD = [sys.executable, "-m", "vigild"]
WORDS = {
    "run": ["-o", "x=1"],
    "check": ["/nonexistent.toml"],
    "config": [],
    "watch": ["--socket", "/nonexistent"],
    "status": ["--socket", "/nonexistent"],
    "snapshot": ["-o", "-", "--socket", "/nonexistent"],
    "set": ["a", "b", "--socket", "/nonexistent"],
    "pause": ["--socket", "/nonexistent"],
    "resume": ["--socket", "/nonexistent"],
    "reload": ["--socket", "/nonexistent"],
    "swap": ["x", "--socket", "/nonexistent"],
    "doctor": ["-o", "x=1"],
    "sensors": ["--once"],
    "selftest": ["-o", "x=1"],
    "tune": ["-o", "x=1"],
    "models": ["list"],
    "completion": ["bash"],
}
STATUS = {
    "run": 2,
    "check": 1,
    "config": 0,
    "sensors": 0,
    "doctor": 2,
    "selftest": 2,
    "tune": 2,
    "models": 0,
    "completion": 0,
}
NO_DAEMON = 3


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {line}', "sh", *VIGILD], capture_output=True, text=True, timeout=60
    )


def call(name: str, redirection: str) -> subprocess.CompletedProcess[str]:
    words = " ".join(f"'{word}'" for word in [name, *WORDS[name]])
    return shell(f"{words} {redirection}")


def test_every_command_is_tried():
    assert set(WORDS) == set(COMMANDS)


@pytest.mark.parametrize("name", WORDS)
def test_closed_streams_are_as_dev_null(name):
    expected = STATUS.get(name, NO_DAEMON)
    silent = call(name, "<&- >&- 2>&-")
    assert (silent.returncode, silent.stdout, silent.stderr) == (expected, "", "")
    told = call(name, ">&-")
    assert told.returncode == expected
    assert "Traceback" not in told.stderr and bool(told.stderr) == (expected != 0)


def test_what_is_closed_cannot_become_a_socket():
    """Descriptor 1 would be the next thing opened: here what a command opens stays above 2."""
    script = (
        "import os, sys\nfrom vigild import stdio\nstdio.open_all()\n"
        "opened = os.open('/', os.O_RDONLY)\nprint('lost')\nsys.exit(opened)"
    )
    done = subprocess.run(["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script], timeout=60)
    assert done.returncode == 3


@pytest.mark.parametrize("words", ["config", "models list", "--help"])
def test_a_full_disk_is_told_and_a_closed_pipe_is_not(words):
    full = shell(f"{words} >/dev/full")
    assert full.returncode == 1
    assert full.stderr == "vigild: what it prints cannot be written: No space left on device\n"
    end, begin = os.pipe()
    os.close(end)
    gone = subprocess.run([*VIGILD, *words.split()], stdout=begin, stderr=subprocess.PIPE, timeout=60)
    os.close(begin)
    assert (gone.returncode, gone.stderr) == (0, b"")


def test_too_few_open_files_is_one_sentence():
    for count, words in ((8, "config"), (20, "run --source testcard --socket /nonexistent/s")):
        done = subprocess.run(
            ["/bin/sh", "-c", f'ulimit -n {count}; exec "$@" {words}', "sh", *VIGILD],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            done.stderr.startswith(f"vigild: at most {count} files may be open here") and done.stderr.count("\n") == 1
        )


SCRIPT = """
import os, signal, sys
from vigild.stdio import Terminal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
terminal = Terminal.of_this_process()
out = int(sys.argv[1])
os.write(out, b"r")
signal.sigwait([signal.SIGHUP])
os.write(out, b"G" if terminal.gone() else b"s")
"""


def hang_up(close: bool, prepare: str = "") -> str:
    """What a program on a terminal of its own takes a SIGHUP for: "G", it is gone, or "s", an order."""
    told, tell = os.pipe()
    os.set_inheritable(tell, True)
    pid, master = pty.fork()
    if pid == 0:
        os.close(told)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have been told to outlive a terminal
        os.execv(sys.executable, [sys.executable, "-c", prepare + SCRIPT, str(tell)])
    os.close(tell)
    try:
        assert os.read(told, 1) == b"r"
        if close:
            os.close(master)
        os.kill(pid, signal.SIGHUP)
        assert select.select([told], [], [], 60)[0]
        return os.read(told, 1).decode()
    finally:
        os.close(told)
        if not close:
            os.close(master)
        os.waitpid(pid, 0)


def test_a_terminal_that_went_away_ends_the_program():
    assert hang_up(close=True) == "G"


def test_a_hangup_with_the_terminal_still_there_is_an_order():
    assert hang_up(close=False) == "s"


def test_nohup_outlives_its_terminal():
    assert hang_up(close=True, prepare="import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n") != "G"


def test_without_a_terminal_a_hangup_is_an_order(tmp_path: Path):
    told, tell = os.pipe()
    service = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tell)], pass_fds=[tell], start_new_session=True, stdin=subprocess.DEVNULL
    )
    os.close(tell)
    assert os.read(told, 1) == b"r"
    service.send_signal(signal.SIGHUP)
    assert os.read(told, 1) == b"s"
    os.close(told)
    assert service.wait(60) == 0


def test_a_sentence_is_broken_between_words_on_a_terminal_and_left_whole_elsewhere() -> None:
    words = [*VIGILD, "check", "/there/is/no/such/folder/with/a/configuration.toml"]
    plain = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stderr
    assert plain.count("\n") == 1
    master, slave = pty.openpty()
    environ = os.environ | {"COLUMNS": "40"}
    with os.fdopen(master, "rb", buffering=0) as screen:
        try:
            done = subprocess.run(words, stderr=slave, stdout=subprocess.DEVNULL, timeout=60, env=environ, check=False)
        finally:
            os.close(slave)
        assert done.returncode == 1
        shown = b""
        while select.select([screen], [], [], 0)[0]:
            try:
                shown += screen.read(4096) or b""
            except OSError:  # EIO: everything was read, and nobody writes any more
                break
    lines = shown.decode().splitlines()
    assert len(lines) > 1 and all(len(line) <= 40 for line in lines)
    assert "".join("".join(lines).split()) == "".join(plain.split())
