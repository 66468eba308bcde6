"""What the shipped unit keeps the daemon from: seen from inside, by a program that a camera's exec: source starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board import Board
from service import configure, drop_in, main_pid, network, show

PROBE = Path(__file__).with_name("probe.py")
CONFIG = (
    '[camera.probe]\nsource = "exec:/usr/bin/python3 /opt/probe.py /var/lib/vigild/probe.json"\nopen_timeout = "60 s"\n'
)

CAP_SYS_RESOURCE = 24
"""linux/capability.h"""

CLOSED_DEVICE = "test -e /dev/vigild-closed || mknod -m 666 /dev/vigild-closed c 10 229"
"""Another node of /dev/fuse, which this kernel has."""


def probed(board: Board) -> dict[str, Any]:
    configure(board, CONFIG)
    board.push(PROBE, "/opt/probe.py")
    board.run("rm -f /var/lib/vigild/probe.json; systemctl --no-block restart vigild")
    path = "/var/lib/vigild/probe.json"
    text = board.wait_for(lambda: board.run(f"cat {path} 2>/dev/null", check=False), "the probe has written")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def found(shared_board: Board) -> Iterator[dict[str, Any]]:
    """By the default unit."""
    board = shared_board
    board.write("/etc/vigild/credentials/cam", "secret\n", 0o600)
    board.run(f"touch /tmp/of-somebody-else; {CLOSED_DEVICE}")
    assert board.status("sh -c ': <>/dev/vigild-closed'") == 0, "the board itself may open it"
    yield probed(board)
    board.run("systemctl stop vigild; rm -f /etc/vigild/credentials/cam /tmp/of-somebody-else")


@pytest.mark.parametrize(
    ("attempted", "answer", "because_of"),
    [
        ("write /usr", "EROFS", "ProtectSystem="),
        ("write /etc", "EACCES", "ProtectSystem=, and the owner"),
        ("write /opt", "EROFS", "ProtectSystem="),
        ("write /proc/sys", "EACCES", "ProtectKernelTunables=, and the owner"),
        ("write cgroup", "EROFS", "ProtectControlGroups="),
        ("list home", "EACCES", "ProtectHome="),
        ("read secrets", "EACCES", "LoadCredential=, which reads them as root"),
        ("open closed device", "EPERM", "DevicePolicy= and DeviceAllow="),
        ("user namespace", "EPERM", "RestrictNamespaces="),
        ("mount namespace", "EPERM", "RestrictNamespaces="),
        ("writable code", "EPERM EACCES", "MemoryDenyWriteExecute="),  # by seccomp, or by a newer kernel's own means
        ("personality", "EPERM", "LockPersonality="),
        ("realtime", "EPERM", "RestrictRealtime="),
        ("priority", "EPERM", "SystemCallFilter=~@resources"),
        ("set-uid file", "EPERM", "RestrictSUIDSGID="),
        ("mount", "EPERM", "SystemCallFilter="),
        ("ptrace", "EPERM", "SystemCallFilter="),
        ("clock", "EPERM", "ProtectClock="),
        ("host name", "EPERM", "ProtectHostname="),
        ("AF_INET", "EAFNOSUPPORT", "RestrictAddressFamilies="),
        ("AF_PACKET", "EAFNOSUPPORT", "RestrictAddressFamilies="),
    ],
)
def test_what_it_cannot_do(found: dict[str, Any], attempted: str, answer: str, because_of: str) -> None:
    assert found[attempted] in answer.split(), because_of


@pytest.mark.parametrize("attempted", ["write state", "write tmp", "open null", "AF_NETLINK", "libusb"])
def test_what_it_can_do(found: dict[str, Any], attempted: str) -> None:
    assert found[attempted] == "done"


def test_who_it_is(found: dict[str, Any], shared_board: Board) -> None:
    assert found["uid"] == int(shared_board.run("id -u vigild"))
    assert found["gid"] == int(shared_board.run("id -g vigild"))
    groups = {shared_board.run(f"getent group {gid}").partition(":")[0] for gid in found["groups"]}
    assert {"video", "plugdev", "apex", "vigild"} <= groups
    assert "root" not in groups
    status = found["status"]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind][0], 16) == 0, kind
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"]
    assert found["umask"] == 0o077


def test_what_it_sees(found: dict[str, Any]) -> None:
    assert found["interfaces"] == ["lo"]
    assert found["processes of others"] == []
    assert "of-somebody-else" not in found["tmp"]
    assert found["environment"] == {
        "RUNTIME_DIRECTORY": "/run/vigild",
        "STATE_DIRECTORY": "/var/lib/vigild",
        "CONFIGURATION_DIRECTORY": "/etc/vigild",
        "CREDENTIALS_DIRECTORY": "/run/credentials/vigild.service",
    }
    assert found["credentials"] == {"vigild_cam": "secret\n"}
    assert found["not inherited"] == []


def test_limits_are_the_kernels(found: dict[str, Any], shared_board: Board) -> None:
    hub = int(shared_board.run(f"cat /proc/{main_pid(shared_board)}/oom_score_adj"))
    assert found["oom_score_adj"] == hub + 300, "workers go before the hub, and so does what they start"
    capabilities = int(shared_board.run("sed -n 's/^CapEff:\t//p' /proc/1/status"), 16)
    if capabilities & 1 << CAP_SYS_RESOURCE:  # on a machine that is itself confined systemd lets it be
        assert hub == -100
    group = "system.slice/vigild.service"
    tasks = shared_board.run(f"cat /sys/fs/cgroup/pids/{group}/pids.max /sys/fs/cgroup/{group}/pids.max", check=False)
    assert "256" in tasks.split()
    memory = shared_board.run(
        f"cat /sys/fs/cgroup/memory/{group}/memory.limit_in_bytes /sys/fs/cgroup/{group}/memory.max", check=False
    )
    assert str(384 * 2**20) in memory.split()


def test_with_the_drop_in_it_has_the_network_and_nothing_more(board: Board) -> None:
    network(board)
    board.run(CLOSED_DEVICE)
    found = probed(board)
    assert found["AF_INET"] == "done"
    assert "host0" in found["interfaces"]
    assert found["AF_PACKET"] == "EAFNOSUPPORT"
    assert found["write /usr"] == "EROFS"
    for attempted in ("open closed device", "mount", "user namespace", "writable code"):
        assert found[attempted] in ("EPERM", "EACCES"), attempted


# ---- as systemd itself judges it


def exposure(board: Board) -> float:
    text = board.run("systemd-analyze security --no-pager vigild.service", check=False)
    match = re.search(r"Overall exposure level for vigild.service: ([\d.]+)", text)
    assert match, text
    return float(match[1])


def test_the_exposure_of_the_default_unit(board: Board) -> None:
    assert exposure(board) <= 1.0


def test_the_exposure_with_the_network(board: Board) -> None:
    before = exposure(board)
    network(board)
    assert before < exposure(board) <= 2.0


def test_systemd_finds_no_fault_in_the_units(board: Board) -> None:
    # Version 252 has the socket's RemoveOnStop= and all the rest; a key it did not know would be named here.
    units = (
        "vigild.service vigild.socket vigild-retry.timer vigild@yard.service vigild@yard.socket vigild-retry@yard.timer"
    )
    network(board)
    assert board.run(f"systemd-analyze verify {units} 2>&1", check=False) == ""


def test_devices_are_exactly_those_of_a_board(board: Board) -> None:
    assert show(board, "DevicePolicy") == "closed"
    allowed = set(show(board, "DeviceAllow").splitlines())
    devices = {line.partition(" ")[0] for line in allowed}
    assert devices == {
        *("char-video4linux", "char-media", "char-dma_heap", "char-usb_device", "char-apex", "/dev/vcio"),
        "char-rtc",  # systemd's own, to read, with ProtectClock=
    }


def test_the_drop_in_can_be_narrowed_to_some_addresses(board: Board) -> None:
    network(board)
    drop_in(board, "[Service]\nIPAddressDeny=any\nIPAddressAllow=10.0.0.0/8\n", "zz-addresses")
    assert show(board, "IPAddressAllow") == "10.0.0.0/8"
    assert exposure(board) <= 2.0
