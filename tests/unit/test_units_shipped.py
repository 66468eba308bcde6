"""The units' text: what must agree with the daemon, and with one another. tests/container runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vigild.board.budgets import default_memory
from vigild.cli.main import EXIT_USAGE
from vigild.config.schema import DaemonConfig
from vigild.config.units import parse
from vigild.hub.listening import BACKLOG
from vigild.wire.address import SOCKET_NAME

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
GUARD = SYSTEMD.parent / "cross/guard"
SERVICE = (SYSTEMD / "vigild.service").read_text()
SOCKET = (SYSTEMD / "vigild.socket").read_text()


def value(unit: str, key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
    return str(found)


def size(text: str) -> int:
    return int(parse("size", re.sub(r"M$", " MiB", text)))


def test_the_budget_taken_from_the_unit_leaves_room_below_its_limits() -> None:
    high, most = size(value(SERVICE, "MemoryHigh")), size(value(SERVICE, "MemoryMax"))
    budget = default_memory(high, "memory.high", 4 * 2**30).value
    assert budget == high - 32 * 2**20
    assert most == high * 6 // 5


def test_a_wrong_configuration_is_not_tried_again_at_once() -> None:
    assert value(SERVICE, "RestartPreventExitStatus") == str(EXIT_USAGE)


def test_the_socket_is_as_the_daemon_would_make_it() -> None:
    assert value(SOCKET, "ListenStream") == f"/run/vigild/{SOCKET_NAME}"
    assert value(SOCKET, "SocketMode") == DaemonConfig().socket_mode
    assert value(SOCKET, "SocketGroup") == DaemonConfig().privileged_group
    assert value(SOCKET, "Backlog") == str(BACKLOG)


@pytest.mark.parametrize("name", ["vigild.service", "vigild.socket", "vigild-retry.timer"])
def test_the_instance_form_differs_in_names_alone(name: str) -> None:
    """Or hardening of the one would be forgotten in the other."""
    stem, kind = name.split(".")
    instance = (SYSTEMD / f"{stem}@.{kind}").read_text()
    for theirs, ours in (
        ("vigild %i:", "vigild:"),
        ("@%i.", "."),
        ("/etc/vigild/%i.toml", "/etc/vigild/vigild.toml"),
        ("/run/vigild/%i.sock", "/run/vigild/vigild.sock"),
        ("StateDirectory=vigild/%i", "StateDirectory=vigild"),
    ):
        instance = instance.replace(theirs, ours)
    assert instance == (SYSTEMD / name).read_text()


def test_every_concession_of_the_network_is_explained() -> None:
    section = (SYSTEMD / "optional/network.conf").read_text().partition("[Service]\n")[2]
    for paragraph in re.split(r"(?m)^(?=#)(?<!#)", section):
        assert not paragraph or paragraph.startswith("#"), paragraph


@pytest.mark.parametrize("path", [*SYSTEMD.glob("*.service"), *GUARD.glob("*.service")], ids=lambda path: path.name)
def test_no_service_is_both_before_a_socket_and_after_the_sockets(path: Path) -> None:
    """Sockets are before basic.target, and by default services after it: systemd breaks such a circle by leaving
    out one of those in it, another one at each boot."""
    unit = path.read_text()
    before = " ".join(re.findall(r"^Before=(.*)$", unit, re.MULTILINE)).split()
    if any(name.endswith(".socket") for name in before):
        assert value(unit, "DefaultDependencies") == "no"
        assert "sysinit.target" in value(unit, "After").split()
        assert "shutdown.target" in before
        assert value(unit, "Conflicts") == "shutdown.target"
