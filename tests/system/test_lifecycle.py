"""How the daemon ends, whenever and however: nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from harness import Client, Daemon, command_line
from pictures import write_pictures

PROGRAM = """\
# A camera program with everything that is hard to get rid of: a child in a session of its own, one
# that ignores polite requests, and a pipeline.
setsid sleep 1000 &
(trap '' TERM HUP INT; sleep 1001) &
n=0
while :; do
    n=$(( n % 8 + 1 ))
    cat "{pictures}/0000$n.jpg"
    sleep 0.05
done | cat
"""


def config(model: Path, source: str) -> str:
    return f'[model]\npath = "{model}"\nmin_score = 0.1\n[camera.front]\nsource = "{source}"\n'


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A source's command: a shell script that gives pictures."""
    write_pictures(tmp_path / "pictures", 8, (64, 64))
    path = tmp_path / "camera.sh"
    path.write_text(PROGRAM.format(pictures=tmp_path / "pictures"))
    return path


def watching(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.watch(empty=True)
    client.until("detections")
    return client


def named(daemon: Daemon, *words: bytes) -> list[int]:
    """This daemon's processes whose command line has these words."""
    found = []
    for pid in daemon.processes():
        if set(words) <= set(command_line(pid).split(b"\0")):
            found.append(pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_hub(tmp_path: Path, model: Path, program: Path, number: signal.Signals) -> None:
    with Daemon(tmp_path, config(model, f"exec:sh {program}")) as daemon:
        watching(daemon)
        daemon.wait_for(lambda: bool(named(daemon, b"sleep", b"1000") and named(daemon, b"sleep", b"1001")))
        processes = daemon.processes()
        assert len(processes) >= 8, "hub, workers, warden, shells, sleeps, cat"
        # What lives in /dev/shm has a name, and a name can be left behind.
        for pid in processes:
            with contextlib.suppress(OSError):  # it ended meanwhile
                assert "/dev/shm/" not in Path(f"/proc/{pid}/maps").read_text()
        daemon.signal(number)
        status = daemon.wait()
        if number == signal.SIGTERM:
            assert status == 0
            assert daemon.processes() == [], "they must be gone before the hub is"
            assert not daemon.socket.exists()
            assert "Traceback" not in daemon.logged()
        daemon.gone()


def test_a_killed_camera_worker_takes_its_command_along(tmp_path: Path, model: Path, program: Path) -> None:
    with Daemon(tmp_path, config(model, f"exec:sh {program}")) as daemon:
        client = watching(daemon)
        before = set(named(daemon, b"sleep", b"1000") + named(daemon, b"sleep", b"1001"))
        os.kill(daemon.worker("camera.front"), signal.SIGKILL)
        client.event("worker_back")
        client.until("detections")
        daemon.wait_for(lambda: not before & set(daemon.processes()))


def test_with_its_warden_killed_too_the_hub_sweeps_up(tmp_path: Path, model: Path, program: Path) -> None:
    with Daemon(tmp_path, config(model, f"exec:sh {program}")) as daemon:
        client = watching(daemon)
        before = set(named(daemon, b"sleep", b"1000") + named(daemon, b"sleep", b"1001"))
        wardens = [pid for pid in daemon.processes() if b"warden.py" in command_line(pid)]
        worker = daemon.worker("camera.front")
        os.kill(worker, signal.SIGSTOP)  # or it would see to the rest of its command itself
        for pid in wardens:
            os.kill(pid, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        client.event("worker_back")
        client.until("detections")
        daemon.wait_for(lambda: not before & set(daemon.processes()))


def test_hung_workers_do_not_hold_up_the_end(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "testcard")) as daemon:
        client = watching(daemon)
        for name in ("detector", "camera.front"):
            os.kill(daemon.worker(name), signal.SIGSTOP)
        daemon.signal(signal.SIGTERM)
        assert client.event("stopping")["reason"]
        assert daemon.wait() == 0
        daemon.gone()


def test_a_hung_worker_and_its_command_do_not_outlive_the_daemon(tmp_path: Path, model: Path, program: Path) -> None:
    with Daemon(tmp_path, config(model, f"exec:sh {program}")) as daemon:
        watching(daemon)
        os.kill(daemon.worker("camera.front"), signal.SIGSTOP)
        assert daemon.stop() == 0
        assert daemon.processes() == []


def test_a_stopped_worker_does_not_outlive_a_killed_hub(tmp_path: Path, model: Path) -> None:
    """It cannot notice that its channel is closed: only the kernel can end it."""
    with Daemon(tmp_path, config(model, "testcard")) as daemon:
        watching(daemon)
        for name in ("detector", "camera.front"):
            os.kill(daemon.worker(name), signal.SIGSTOP)
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        daemon.gone()


def test_what_a_terminal_sends_is_for_the_hub_alone(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "testcard")) as daemon:
        client = watching(daemon)
        workers = [daemon.worker("detector"), daemon.worker("camera.front")]
        for pid in workers:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGHUP)
        for _ in range(20):
            client.until("detections")
        assert [daemon.worker("detector"), daemon.worker("camera.front")] == workers


def test_ctrl_c_is_quiet(tmp_path: Path, model: Path, program: Path) -> None:
    with Daemon(tmp_path, config(model, f"exec:sh {program}")) as daemon:
        watching(daemon)
        before = daemon.logged()
        # The terminal sends it to the whole foreground group; an impatient person twice.
        os.killpg(daemon.pid, signal.SIGINT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGINT)
        assert daemon.wait() == 0
        said = daemon.logged().removeprefix(before)
        assert "stopping (SIGINT)" in said
        assert not any(word in said for word in ("Traceback", "KeyboardInterrupt", "rror", "killed", "lost"))
        assert not daemon.socket.exists()
        daemon.gone()


@pytest.mark.parametrize("after_ms", [0, 30, 60, 100, 150, 200, 300, 400, 550, 700, 1000, 1500])
def test_a_sigterm_while_starting(tmp_path: Path, model: Path, after_ms: int) -> None:
    with Daemon(tmp_path, config(model, "testcard")).start(wait=False) as daemon:
        time.sleep(after_ms / 1000)
        daemon.signal(signal.SIGTERM)
        status = daemon.wait()
        said = daemon.logged()
        # Before Python has come to our first line there is nobody to take the signal, and nothing to end.
        assert status == 0 or (status == -signal.SIGTERM and said == ""), said
        assert "Traceback" not in said
        assert not daemon.socket.exists()
        daemon.gone()


def test_a_sighup_while_starting_ends_nothing(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "testcard")).start(wait=False) as daemon:
        # It is the first thing that the program does; everything heavy is still to be imported.
        daemon.wait_for(lambda: "SIGTERM" in caught(daemon.pid))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(daemon.answers)  # the file is there a moment before anybody may connect
        watching(daemon)


def caught(pid: int) -> set[str]:
    """The signals that a process has handlers for."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    mask = int(line.split()[1], 16)
    return {number.name for number in signal.Signals if mask >> (number - 1) & 1}


def test_a_source_that_ends_with_exit_at_end(tmp_path: Path, model: Path) -> None:
    write_pictures(tmp_path / "pictures", 3, (64, 64))
    text = config(model, f"images:{tmp_path / 'pictures'}") + 'pace = "every"\n'
    with Daemon(tmp_path, text, "--exit-at-end").start(wait=False) as daemon:
        assert daemon.wait() == 0
        assert not daemon.socket.exists()
        daemon.gone()


def test_without_any_usable_model_it_ends_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.tflite").write_text("this is not a model\n" * 100)
    with Daemon(tmp_path, config(tmp_path / "text.tflite", "testcard")).start(wait=False) as daemon:
        assert daemon.wait() == 1
        assert "is not a TFLite model" in daemon.logged()
        assert "Traceback" not in daemon.logged()
        assert not daemon.socket.exists()
        daemon.gone()
