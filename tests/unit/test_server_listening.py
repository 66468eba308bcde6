"""The socket file: stale ones are replaced, live ones are not, and nobody gets in too early."""

import asyncio
import grp
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rawclient import RawClient
from standin_hub import Running, StandIn, log, running
from vigild.hub import listening
from vigild.hub.listening import SocketInUse, SocketUnusable, make_socket, remove_socket
from vigild.hub.server import Server
from vigild.wire.messages import PROTOCOL

LOG = logging.getLogger("test")


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_the_file_has_its_permissions_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0o022)
    try:
        with running(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert os.umask(0o022) == 0o022
        assert not path.exists()
    finally:
        os.umask(before)


def test_permissions_are_there_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(path: Path, group: str, log: logging.Logger) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(str(path))

    monkeypatch.setattr(listening, "_give_to", look)
    make_socket(tmp_path / "s", 0o600, "", LOG).sock.close()
    assert seen == [0o600]


def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    leave_stale(tmp_path / "s")
    with running(tmp_path / "s") as hub, RawClient(hub.path) as client:
        assert client.hello["protocol"] == PROTOCOL


def test_a_live_one_is_not(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        with pytest.raises(SocketInUse, match="another program listens at"):
            make_socket(hub.path, 0o660, "", LOG)
        with RawClient(hub.path) as client:
            assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_one_whose_backlog_is_full_counts_as_alive(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        with pytest.raises(SocketInUse):
            make_socket(path, 0o660, "", LOG)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(SocketUnusable, match="is not a socket"):
        make_socket(path, 0o660, "", LOG)
    assert path.read_text() == "precious"


def test_of_many_that_start_together_over_a_stale_file_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(20):
        leave_stale(path)
        made, refused = [], []
        barrier = threading.Barrier(6)

        def start() -> None:
            barrier.wait()  # noqa: B023
            try:
                made.append(make_socket(path, 0o660, "", LOG))  # noqa: B023
            except SocketInUse as error:
                refused.append(error)  # noqa: B023

        threads = [threading.Thread(target=start) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), len(refused)) == (1, 5)
        made[0].sock.close()
        remove_socket(made[0])


def test_only_the_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    made = make_socket(path, 0o660, "", LOG)
    path.unlink()
    other = make_socket(path, 0o660, "", LOG)
    remove_socket(made)
    assert path.exists()
    remove_socket(other)
    assert not path.exists()
    remove_socket(other)
    made.sock.close()
    other.sock.close()


def test_a_path_too_long_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SocketUnusable, match="a Unix socket's may be 107"):
        make_socket(tmp_path / ("x" * 120), 0o660, "", LOG)


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "s"
    make_socket(path, 0o660, "", LOG).sock.close()
    assert path.is_socket()


def test_the_users_own_folder_is_made_private_and_must_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own"
    monkeypatch.setattr(listening, "own_folder", lambda: folder)
    make_socket(folder / "s", 0o660, "", LOG).sock.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "s").unlink()
    folder.chmod(0o777)
    with pytest.raises(SocketUnusable, match="mode 0777"):
        make_socket(folder / "s", 0o660, "", LOG)


def test_a_symlink_in_place_of_the_own_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "own").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(listening, "own_folder", lambda: tmp_path / "own")
    with pytest.raises(SocketUnusable, match="not a folder of this user's own"):
        make_socket(tmp_path / "own" / "s", 0o660, "", LOG)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_the_file_belongs_to_the_privileged_group(tmp_path: Path) -> None:
    group = next(entry for entry in grp.getgrall() if entry.gr_gid != 0)
    made = make_socket(tmp_path / "s", 0o660, group.gr_name, LOG)
    made.sock.close()
    assert made.path.stat().st_gid == group.gr_gid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_folder_we_may_not_write_is_a_sentence(tmp_path: Path) -> None:
    program = (
        "import os, sys, logging; from pathlib import Path; from vigild.hub.listening import *\n"
        "os.setuid(65534)\n"
        "try: make_socket(Path('/etc/s'), 0o660, '', logging.getLogger())\n"
        "except SocketUnusable as error: print(error)"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "daemon")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environ)
    assert "cannot make the socket /etc/s: Permission denied; choose another" in done.stdout, done.stderr


def test_a_socket_that_was_passed_is_used_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def serve() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        server = Server(StandIn(), log)
        server.adopt(sock)
        with await asyncio.to_thread(RawClient, path) as client:
            assert client.hello["protocol"] == PROTOCOL
        await server.close()

    asyncio.run(serve())
    assert path.exists()


# ---- a file that is taken away while the server runs


def remade(hub: Running) -> list[tuple[str, str]]:
    """What the server tells of its file; and it looks only when the test says so."""
    told: list[tuple[str, str]] = []
    hub.stop_ticking()
    hub.server.on_socket = lambda kind, reason: told.append((kind, reason))
    return told


def test_a_deleted_file_is_made_again_and_clients_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path / "s") as hub, RawClient(hub.path) as client:
        told = remade(hub)
        for turn in range(1, 4):
            hub.path.unlink()
            hub.tick(2.0 * turn)
            assert len(told) == turn
            kind, reason = told[-1]
            assert kind == "socket_remade" and "was deleted; it was made again" in reason
            assert stat.S_IMODE(hub.path.stat().st_mode) == 0o660
            with RawClient(hub.path) as other:
                assert other.ask({"type": "ping"}) == {"type": "pong"}
            assert client.ask({"type": "ping"}) == {"type": "pong"}
        assert caplog.text.count("was deleted; it was made again; clients that are connected stay") == 3
        hub.tick(9.0)
        assert len(told) == 3
    assert not hub.path.exists()


def test_a_file_is_looked_at_twice_a_second(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        told = remade(hub)
        hub.tick(1.0)
        hub.path.unlink()
        hub.tick(1.4)
        assert told == []
        hub.tick(1.6)
        assert len(told) == 1


def test_who_waited_at_the_old_socket_is_taken_in(tmp_path: Path) -> None:
    with running(tmp_path / "s") as hub:
        told = remade(hub)

        async def knock_and_delete() -> RawClient:
            client = RawClient(hub.path, greet=False)
            hub.path.unlink()
            hub.server.tick(hub.loop.time() + 2.0)
            return client

        client = asyncio.run_coroutine_threadsafe(knock_and_delete(), hub.loop).result(30)
        assert told and client.read()["type"] == "hello"
        assert client.ask({"type": "ping"}) == {"type": "pong"}
        client.sock.close()


def replace_with_file(path: Path) -> None:
    path.unlink()
    path.write_text("precious")


def replace_with_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "elsewhere")


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_text("precious")


def replace_with_stale_socket(path: Path) -> None:
    path.unlink()
    leave_stale(path)


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.parent / "moved")


@pytest.mark.parametrize(
    "replace", [replace_with_file, replace_with_link, replace_with_folder, replace_with_stale_socket, move_the_folder]
)
def test_what_was_put_in_its_place_goes_aside(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    with running(tmp_path / "d" / "s") as hub:
        told = remade(hub)
        replace(hub.path)
        hub.tick(2.0)
        assert [kind for kind, _ in told] == ["socket_remade"]
        with RawClient(hub.path) as client:
            assert client.ask({"type": "ping"}) == {"type": "pong"}
    aside = tmp_path / "d" / "s.aside-1"
    if replace is replace_with_file:
        assert aside.read_text() == "precious"
    if replace is replace_with_folder:
        assert (aside / "file").read_text() == "precious"
    if replace is replace_with_link:
        assert aside.is_symlink()


def test_another_programs_live_socket_stays_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path / "s") as hub, RawClient(hub.path) as client:
        told = remade(hub)
        hub.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(hub.path))
            other.listen()
            for turn in range(1, 4):
                hub.tick(2.0 * turn)
            ((kind, reason),) = told
            assert kind == "socket_lost" and "replaced by another file" in reason
            assert "another program listens at" in reason
            assert caplog.text.count("cannot be made again") == 1
            assert client.ask({"type": "ping"}) == {"type": "pong"}
        hub.tick(8.0)  # it is gone and has left its file
        assert [kind for kind, _ in told] == ["socket_lost", "socket_remade"]
        with RawClient(hub.path) as newcomer:
            assert newcomer.ask({"type": "ping"}) == {"type": "pong"}


def test_a_folder_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    with running(tmp_path / "d" / "s") as hub:
        told = remade(hub)
        (tmp_path / "d").rename(tmp_path / "moved")
        (tmp_path / "d").write_text("a file")
        hub.tick(2.0)
        hub.tick(4.0)
        assert [kind for kind, _ in told] == ["socket_lost"]
        (tmp_path / "d").unlink()
        hub.tick(6.0)
        assert [kind for kind, _ in told] == ["socket_lost", "socket_remade"]
        with RawClient(hub.path) as client:
            assert client.ask({"type": "ping"}) == {"type": "pong"}


def test_a_socket_that_was_passed_is_not_made_again_but_missed(tmp_path: Path) -> None:
    path = tmp_path / "passed"
    with running(tmp_path / "s") as hub:
        told = remade(hub)
        passed = socket.socket(socket.AF_UNIX)
        passed.bind(str(path))
        passed.listen()
        hub.call(hub.server.adopt, passed)
        with RawClient(path) as client:
            path.unlink()
            hub.tick(2.0)
            hub.tick(4.0)
            ((kind, reason),) = told
            assert kind == "socket_lost" and "systemctl restart vigild.socket" in reason
            assert client.ask({"type": "ping"}) == {"type": "pong"}
