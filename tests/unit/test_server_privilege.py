"""Who may give orders: root, the daemon's own user, the members of one group."""

import grp
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rawclient import RawClient
from standin_hub import Running, StandIn, running
from vigild.hub.privilege import Peer, group_id, is_privileged, peer_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = 65534
ORDERS = [
    {"type": "set", "key": "model.min_score", "value": 1},
    {"type": "swap", "path": "/m"},
    {"type": "pause"},
    {"type": "resume"},
    {"type": "reload"},
]

ASK = """
import json, os, socket, sys
uid, groups, path, requests = json.loads(sys.argv[1])
os.setgroups(groups); os.setgid(65534); os.setuid(uid)
sock = socket.socket(socket.AF_UNIX); sock.connect(path)
lines = sock.makefile()
lines.readline()
for request in requests:
    sock.sendall(json.dumps(request).encode() + b"\\n")
    print(lines.readline(), end="", flush=True)
"""


def ask_as(hub: Running, uid: int, groups: list[int], requests: list[dict[str, object]]) -> list[dict[str, str]]:
    hub.path.chmod(0o666)
    for parent in hub.path.parents:
        if parent.stat().st_uid == os.geteuid() and parent.name:
            parent.chmod(parent.stat().st_mode | 0o011)
    argument = json.dumps([uid, groups, str(hub.path), requests])
    done = subprocess.run([sys.executable, "-c", ASK, argument], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def some_group() -> grp.struct_group:
    return next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, NOBODY))


def test_our_own_user_may(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub, RawClient(hub.path) as client:
        for order in ORDERS:
            assert client.ask(order)["type"] == "ok"


def test_the_peer_is_known_with_all_its_groups() -> None:
    ours, theirs = socket.socketpair()
    peer = peer_of(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.gids == {os.getegid(), *os.getgroups()}
    ours.close()
    theirs.close()


@needs_root
def test_a_stranger_is_told_what_it_takes(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        hub.api.group = some_group().gr_name
        answers = ask_as(hub, NOBODY, [], [*ORDERS, {"type": "ping"}, {"type": "status"}])
        assert [answer.get("code") for answer in answers] == ["forbidden"] * 5 + [None, None]
        assert f'members of the group "{hub.api.group}", and you are uid {NOBODY}' in answers[0]["message"]
        assert hub.api.orders == []


@needs_root
def test_a_member_by_a_supplementary_group_may(tmp_path: Path) -> None:
    api = StandIn()
    api.group = some_group().gr_name
    with running(tmp_path / "s", api) as hub:
        answers = ask_as(hub, NOBODY, [some_group().gr_gid], ORDERS)
        assert [answer["type"] for answer in answers] == ["ok"] * 5


@needs_root
def test_a_member_of_very_many_groups_may(tmp_path: Path) -> None:
    api = StandIn()
    api.group = some_group().gr_name
    with running(tmp_path / "s", api) as hub:
        groups = [*range(70_000, 70_600), some_group().gr_gid]
        assert ask_as(hub, NOBODY, groups, ORDERS[-1:])[0]["type"] == "ok"


@needs_root
def test_a_group_that_does_not_exist_lets_nobody_in(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        assert ask_as(hub, NOBODY, [some_group().gr_gid], ORDERS[:1])[0]["code"] == "forbidden"


def test_the_rule_itself() -> None:
    group = some_group()
    stranger = os.geteuid() + 12_345
    assert group_id("no-such-group") is None
    assert is_privileged(Peer(1, 0, frozenset()), "no-such-group")
    assert is_privileged(Peer(1, os.geteuid(), frozenset()), "")
    assert is_privileged(Peer(1, stranger, frozenset([group.gr_gid])), group.gr_name)
    assert not is_privileged(Peer(1, stranger, frozenset([group.gr_gid + 100_000])), group.gr_name)
    assert not is_privileged(Peer(1, stranger, frozenset()), "")
