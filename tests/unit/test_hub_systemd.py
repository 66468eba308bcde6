"""What systemd hears, and what it hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vigild.hub.systemd import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return sock


def test_a_reload_carries_its_time_in_the_same_datagram(systemd: socket.socket) -> None:
    Notifier().reloading()
    lines = systemd.recv(1000).decode().split("\n")
    assert lines[0] == "RELOADING=1"
    assert int(lines[1].removeprefix("MONOTONIC_USEC=")) > 0


def test_ready_watchdog_and_stop(systemd: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("all is well")
    notifier.watchdog()
    notifier.stopping()
    assert [systemd.recv(1000) for _ in range(3)] == [b"READY=1\nSTATUS=all is well", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("x")


def test_a_systemd_that_is_gone_does_not_hurt(systemd: socket.socket) -> None:
    notifier = Notifier()
    systemd.close()
    notifier.ready("x")


@pytest.mark.parametrize(
    ("usec", "pid", "half_s"),
    [
        ("3000000", None, 1.5),
        ("3000000", "self", 1.5),
        ("3000000", "1", None),
        ("junk", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_twice_per_period(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, half_s: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert Notifier().watchdog_s == half_s


def test_passed_sockets_are_taken_when_they_are_for_this_process(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    code = "from vigild.hub.systemd import passed_sockets; print([s.getsockname() for s in passed_sockets()])"
    for pid, expected in (("$$", f"['{tmp_path}/s']"), ("1", "[]")):
        out = subprocess.run(
            [
                "bash",
                "-c",
                f'exec 3<&{sock.fileno()}; LISTEN_FDS=1 LISTEN_PID={pid} exec "{sys.executable}" -c "{code}"',
            ],
            pass_fds=[sock.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == expected
