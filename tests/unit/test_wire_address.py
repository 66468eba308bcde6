"""Where the socket is, and what an error says about where it was looked for."""

import os
import socket
import threading
from pathlib import Path

import pytest

from vigild.wire import address
from vigild.wire.address import NoDaemon, candidates, default_listen_path, open_socket


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_the_daemon_listens_where_it_is_told_first() -> None:
    environ = {"VIGILD_SOCKET": "/v", "RUNTIME_DIRECTORY": "/run/vigild:/run/other", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert default_listen_path("/c", environ) == Path("/c")
    assert default_listen_path(None, environ) == Path("/v")
    del environ["VIGILD_SOCKET"]
    assert default_listen_path(None, environ) == Path("/run/vigild/vigild.sock")
    del environ["RUNTIME_DIRECTORY"]
    assert default_listen_path(None, environ) == Path("/run/user/7/vigild.sock")
    assert default_listen_path(None, {}) == Path(f"/tmp/vigild-{os.geteuid()}/vigild.sock")


def test_clients_look_in_the_order_of_the_manual() -> None:
    own = Path(f"/tmp/vigild-{os.geteuid()}/vigild.sock")
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert candidates(None, environ) == [Path("/run/vigild/vigild.sock"), Path("/run/user/7/vigild.sock"), own]


def test_clients_that_were_told_where_look_nowhere_else() -> None:
    environ = {"VIGILD_SOCKET": "/v", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert candidates("/x", environ) == [Path("/x")]
    assert candidates(None, environ) == [Path("/v")]


def test_a_stale_socket_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening(tmp_path / "stale.sock").close()
    monkeypatch.setattr(address, "SYSTEM_SOCKET", tmp_path / "stale.sock")
    with listening(tmp_path / "vigild.sock"), open_socket(environ={"XDG_RUNTIME_DIR": str(tmp_path)}) as sock:
        assert sock.getpeername() == str(tmp_path / "vigild.sock")


def test_the_error_lists_what_was_tried_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening(tmp_path / "stale.sock").close()
    monkeypatch.setattr(address, "SYSTEM_SOCKET", tmp_path / "stale.sock")
    with pytest.raises(NoDaemon) as caught:
        open_socket(environ={"XDG_RUNTIME_DIR": str(tmp_path)})
    text = str(caught.value)
    assert f"{tmp_path}/stale.sock (nobody listens" in text
    assert f"{tmp_path}/vigild.sock (not there)" in text
    assert "vigild run" in text


def test_a_path_that_no_socket_can_have_is_named() -> None:
    with pytest.raises(NoDaemon, match="a Unix socket's may be 107"):
        open_socket("/tmp/" + "x" * 120)


def test_a_foreign_folder_in_tmp_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(address, "own_folder", lambda: folder)
    monkeypatch.setattr(address, "SYSTEM_SOCKET", tmp_path / "none")
    with listening(folder / "vigild.sock"):
        with pytest.raises(NoDaemon, match="mode 0755"):
            open_socket(environ={})
        folder.chmod(0o700)
        open_socket(environ={}).close()


def test_a_full_backlog_is_waited_for_and_then_named(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(0)
    with sock, open_socket(path):
        with pytest.raises(NoDaemon, match="does not accept"):
            open_socket(path, timeout_s=0.1)
        later = threading.Timer(0.2, lambda: sock.accept()[0].close())
        later.start()
        open_socket(path).close()
        later.join()
