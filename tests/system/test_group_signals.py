"""What is sent to the whole process group is for the hub alone: a clean stop says `stopping`, and nothing died."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from harness import Daemon

LEFT_TO_THE_HUB = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def config(model: Path) -> str:
    cameras = "".join(f'[camera.{name}]\nsource = "testcard"\nfps = 10\n' for name in ("left", "right"))
    return f'[model]\npath = "{model}"\nmin_score = 0.1\n{cameras}'


def children(pid: int) -> set[int]:
    with contextlib.suppress(OSError):
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()


class Hammer(threading.Thread):
    """Sends signals to every child of the hub from the moment it exists, and again and again."""

    def __init__(self, hub: int) -> None:
        super().__init__()
        self.hit: set[int] = set()
        self._hub = hub
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.001):
            for child in children(self._hub):
                self.hit.add(child)
                for number in LEFT_TO_THE_HUB:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, number)

    def __enter__(self) -> Hammer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def test_workers_leave_them_to_the_hub_from_their_first_moment_on(tmp_path: Path, model: Path) -> None:
    daemon = Daemon(tmp_path, config(model)).start(wait=False)
    with Hammer(daemon.pid) as hammer, daemon:
        daemon.wait_for(daemon.answers)
        client = daemon.connect()
        client.watch(empty=True)
        for _ in range(3):
            for name in ("detector", "camera.left"):
                # Whatever is in its place now is hit while Python starts, while it imports, and while it works.
                os.kill(daemon.worker(name), signal.SIGKILL)
                died = client.event("worker_died")
                assert "killed by SIGKILL" in died["reason"]
                client.event("worker_back")
        assert len(hammer.hit) >= 9, "three workers, and six in place of killed ones"
    logged = daemon.logged()
    assert not re.search(r"killed by (SIGTERM|SIGINT|SIGHUP)", logged), logged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["starting", "running", "restarting"])
def test_a_signal_to_the_group_only_says_stopping(
    tmp_path: Path, model: Path, number: signal.Signals, moment: str
) -> None:
    daemon = Daemon(tmp_path, config(model)).start(wait=False)
    with daemon:
        if moment == "starting":
            daemon.wait_for(lambda: len(children(daemon.pid)) > 0)
        else:
            daemon.wait_for(daemon.answers)
            client = daemon.connect()
            client.watch(empty=True)
            client.until("detections")
            if moment == "restarting":
                os.kill(daemon.worker("detector"), signal.SIGKILL)
                client.event("worker_died")
        os.killpg(daemon.pid, number)
        assert daemon.wait() == 0
        if moment != "starting":
            assert [m for m in client.stream() if m.get("kind") == "worker_died"] == []
    logged = daemon.logged()
    assert f"stopping ({number.name})" in logged
    assert not re.search(rf"killed by {number.name}|exited with status|Traceback", logged), logged
    daemon.gone()
