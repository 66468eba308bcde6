"""The boards themselves: that each is its own, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from board import Board, Failed


def traces() -> dict[str, set[str]]:
    """What boards leave on this machine while they run."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    netns = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            processes.add(path.read_text())
    return {
        "mounts": {line for line in mounts if "vigild-board" in line},
        "networks": {line.split()[0] for line in netns if line.startswith("vgb")},
        "groups": {str(path) for path in Path("/sys/fs/cgroup").glob("**/vgb*")},
        "processes": {line for line in processes if line.startswith("systemd-nspawn")},
        "files": {str(path) for path in Path("/tmp").glob("vigild-board-*")},
    }


def test_boards_run_side_by_side_and_leave_nothing() -> None:
    before = traces()
    with Board("one") as one, Board("two") as two:
        assert one.address != two.address
        assert (one.ssh("hostname").strip(), two.ssh("hostname").strip()) == ("one", "two")
        one.run("systemd-run --unit=sleeper sleep 1000")
        assert two.status("systemctl is-active sleeper") != 0
        assert "sleeper" not in two.run("find /sys/fs/cgroup -name 'sleeper*'")
        one.write("/etc/mark", "one")
        one.kill()
        assert two.ssh("sudo id -u").strip() == "0"
        one.start()
        assert one.run("cat /etc/mark") == "one"
        assert one.status("systemctl is-active sleeper") != 0
        during = traces()
        assert all(during[kind] - before[kind] for kind in before), "or this test would see nothing"
    after = traces()
    for kind in before:
        assert not (during[kind] - before[kind]) & after[kind], kind


def test_a_cable_can_be_pulled() -> None:
    with Board("three") as board:
        board.connect_network(False)
        with pytest.raises((Failed, subprocess.TimeoutExpired)):
            board.ssh("true", timeout_s=2)
        board.connect_network(True)
        board.ssh("true")


def test_a_disk_can_be_full() -> None:
    with Board("four", disk_mib=64) as board:
        with pytest.raises(Failed, match="No space left"):
            board.run("dd if=/dev/zero of=/var/filler bs=1M count=100")
        board.run("rm /var/filler; touch /var/ok")
