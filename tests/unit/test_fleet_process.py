"""A worker process as the hub sees it: its words, its end, and what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vigild.fleet import orphans, process
from vigild.ipc.messages import CameraEnded, FromCamera
from vigild.ipc.worker import PR_SET_CHILD_SUBREAPER, prctl

PRELUDE = """
import os, signal, sys, time
from vigild.ipc.worker import start
from vigild.ipc.channel import Channel
from vigild.ipc.messages import CameraEnded, ToCamera
from vigild.ipc.progress import Stage
control, progress = start()
channel = Channel(control, ToCamera)
"""


def run_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, after: str = ""
) -> tuple[list[object], str, process.WorkerProcess]:
    """Run a worker with this body; returns its messages, the reason of its end, and itself."""
    (tmp_path / "a_worker.py").write_text(PRELUDE + body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    messages: list[object] = []

    async def main() -> tuple[str, process.WorkerProcess]:
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        worker = process.WorkerProcess(
            "test",
            "a_worker",
            FromCamera,
            lambda m, _f: messages.append(m),
            lambda reason: end.set_result(reason),
        )
        if after == "kill":
            await asyncio.sleep(0.5)
            worker.kill("hung for 1.0 s")
        return await asyncio.wait_for(end, 20), worker

    reason, worker = asyncio.run(main())
    return messages, reason, worker


def test_messages_before_the_end_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "for n in range(100): channel.send(CameraEnded(camera='a', frames=n))\nsys.exit(3)\n"
    messages, reason, _ = run_worker(tmp_path, monkeypatch, body)
    assert messages == [CameraEnded(camera="a", frames=n) for n in range(100)]
    assert reason == "exited with status 3 while starting"


def test_a_signal_is_named_with_what_the_worker_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "progress.lane(0).enter(Stage.INVOKE)\n"
        "print('F usb_driver.cc:1148 transfer failed', file=sys.stderr)\n"
        "os.abort()"
    )
    _, reason, _ = run_worker(tmp_path, monkeypatch, body)
    assert reason == "killed by SIGABRT in invoke() (F usb_driver.cc:1148 transfer failed)"


def test_a_kill_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reason, worker = run_worker(tmp_path, monkeypatch, "time.sleep(60)", after="kill")
    assert reason == "hung for 1.0 s; killed"
    assert worker.exit_status == -signal.SIGKILL


def test_no_descriptor_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_worker(tmp_path, monkeypatch, "sys.exit(0)")
    before = set(Path("/proc/self/fd").iterdir())
    run_worker(tmp_path, monkeypatch, "sys.exit(0)")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_worker_inherits_only_what_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "1")
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    body = f"""
bad = [n for n in os.environ if n.startswith(('NOTIFY_', 'LISTEN_', 'WATCHDOG_'))]
fds = sorted(int(f) for f in os.listdir('/proc/self/fd'))
print('fds', len(fds), 'leak', {leak} in fds and os.readlink('/proc/self/fd/{leak}') == '/dev/null', 'env', bad)
sys.exit(1)
"""
    _, reason, _ = run_worker(tmp_path, monkeypatch, body)
    os.close(leak)
    assert "leak False env []" in reason


def test_a_worker_does_not_outlive_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that dies by SIGKILL: the kernel tells the worker."""
    (tmp_path / "a_worker.py").write_text(PRELUDE + "print('<6>up'); time.sleep(60)")
    hub = tmp_path / "hub.py"
    hub.write_text(
        "import asyncio, os, signal\n"
        "from vigild.fleet.process import WorkerProcess\nfrom vigild.ipc.messages import FromCamera\n"
        "async def main():\n"
        "    w = WorkerProcess('t', 'a_worker', FromCamera, print, print)\n"
        "    print(w.pid, flush=True)\n"
        "    await asyncio.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = subprocess.run([sys.executable, str(hub)], capture_output=True, text=True, timeout=90, check=False)
    pid = int(out.stdout.split()[0])
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker outlived the hub")


def test_orphans_are_killed_with_their_group_and_others_are_not() -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        owned = subprocess.Popen(["sleep", "60"])
        # A shell that starts a family in a session of its own, and dies: the family's head becomes our child.
        subprocess.run(["sh", "-c", "setsid sh -c 'setsid sleep 60 & sleep 60' >/dev/null 2>&1 &"], check=True)
        until(lambda: len(orphans.children()) == 2)
        head = next(pid for pid in orphans.children() if pid != owned.pid)
        below = Path(f"/proc/{head}/task/{head}/children")
        until(lambda: any(os.getsid(int(pid)) == int(pid) for pid in below.read_text().split()))
        sweeper = orphans.Orphans()
        assert sweeper.sweep([owned.pid], 100.0) == []
        assert sweeper.sweep([owned.pid], 100.9) == [], "it has a moment to end by itself"
        killed = sweeper.sweep([owned.pid], 101.0)
        assert killed == [head]
        # The one that had left the group is ours now, and has its moment.
        until(lambda: sweeper.sweep([owned.pid], 102.0) == [] and len(orphans.children()) == 2)
        until(lambda: len(sweeper.sweep([owned.pid], 103.1)) == 1)
        until(lambda: sweeper.sweep([owned.pid], 104.0) == [] and orphans.children() == [owned.pid])
        assert owned.poll() is None
    finally:
        owned.kill()
        owned.wait()
        prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_at_the_end_orphans_have_no_moment() -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        subprocess.run(["sh", "-c", "setsid sh -c 'setsid sleep 60 & sleep 60' >/dev/null 2>&1 &"], check=True)
        until(lambda: bool(orphans.children()))
        until(lambda: orphans.end([]))
        assert orphans.children() == []
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0)


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
