"""The boards themselves: that each is its own, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from board import Board, Failed

OWN_NETS = range(200, 210)
"""Not those of other tests' boards, which may take over a number as soon as it is free."""


def traces(*boards: Board) -> dict[str, set[str]]:
    """What these boards leave on this machine while they run; others may run beside them."""
    folders, nets = {str(board.root.parent) for board in boards}, {board.network for board in boards}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    netns = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            processes.add(path.read_text())
    return {
        "mounts": {line for line in mounts if any(f"{folder}/" in line for folder in folders)},
        "networks": {line.split()[0] for line in netns if line.split()[0] in nets},
        "groups": {str(path) for net in nets for path in Path("/sys/fs/cgroup").glob(f"**/{net}")},
        "processes": {line for line in processes if any(f"--machine={net}\0" in line for net in nets)},
        "files": {folder for folder in folders if Path(folder).exists()},
    }


def test_boards_run_side_by_side_and_leave_nothing() -> None:
    with Board("one", nets=OWN_NETS) as one, Board("two", nets=OWN_NETS) as two:
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
        during = traces(one, two)
        assert all(during.values()), "or this test would see nothing"
    assert not any(traces(one, two).values())


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
