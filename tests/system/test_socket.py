"""The socket from outside: one daemon per path, systemd's sockets and messages, and clients of every manner."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import REPO, Client, Daemon


def config(model: Path, more: str = "") -> str:
    return f'{more}[model]\npath = "{model}"\nmin_score = 0.1\n[camera.front]\nsource = "testcard"\nfps = 30\n'


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon"), config(model)) as daemon:
        yield daemon


@pytest.fixture
def daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The one of all tests that only talk to it: whatever a client does, it goes on as before for the next."""
    yield shared_daemon
    shared_daemon.hang_up()


def goes_on(daemon: Daemon) -> None:
    """The daemon serves a new client as if nothing had been."""
    client = daemon.connect()
    client.watch(empty=True)
    first = client.until("detections")
    assert client.until("detections")["seq"] == first["seq"] + 1
    assert client.ask(type="ping")["type"] == "pong"
    client.close()


# ---- one daemon per path


def test_a_second_instance_is_refused(tmp_path: Path, daemon: Daemon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "vigild", "run", "--socket", str(daemon.socket), "--config", str(daemon.config)],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
        env={**os.environ, "STATE_DIRECTORY": str(tmp_path)},
    )
    assert second.returncode == 1
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1, second.stderr
    assert f"another program listens at {daemon.socket}" in second.stderr
    assert daemon.socket.exists()
    goes_on(daemon)


def test_a_stale_socket_is_replaced(tmp_path: Path, model: Path) -> None:
    daemon = Daemon(tmp_path, config(model))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(daemon.socket))
    with daemon:
        goes_on(daemon)
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660


def test_a_killed_daemons_socket_is_replaced(tmp_path: Path, model: Path) -> None:
    daemon = Daemon(tmp_path, config(model))
    with daemon:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        daemon.gone()
        assert daemon.socket.exists()
        daemon.start()
        goes_on(daemon)


def test_a_file_that_is_no_socket_stays(tmp_path: Path, model: Path) -> None:
    daemon = Daemon(tmp_path, config(model))
    daemon.socket.write_text("precious")
    with daemon.start(wait=False):
        assert daemon.wait() == 1
        assert "is not a socket" in daemon.logged()
    assert daemon.socket.read_text() == "precious"


def test_two_that_start_at_once(tmp_path: Path, model: Path) -> None:
    """Both find the same stale file; one must win and the other must say so."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "v.sock"))
    command = [sys.executable, "-m", "vigild", "run", "--socket", str(tmp_path / "v.sock"), "--source", "testcard"]
    both = [
        subprocess.Popen([*command, "--model", str(model)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        deadline = time.monotonic() + 90
        while all(process.poll() is None for process in both):
            assert time.monotonic() < deadline, "both run"
            time.sleep(0.02)
        loser, winner = sorted(both, key=lambda process: process.poll() is None)
        assert loser.stderr is not None
        assert "another program listens" in loser.stderr.read().decode()
        assert loser.returncode == 1
        assert Client(tmp_path / "v.sock").ask(type="status")["pid"] == winner.pid
    finally:
        for process in both:
            process.terminate()
        for process in both:
            process.communicate(timeout=90)


# ---- systemd


class Systemd:
    """The receiving end of $NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.sock.settimeout(90)
        self.heard: list[dict[str, str]] = []

    def next(self) -> dict[str, str]:
        message = dict(line.split("=", 1) for line in self.sock.recv(4096).decode().splitlines())
        self.heard.append(message)
        return message

    def until(self, key: str) -> dict[str, str]:
        while key not in (message := self.next()):
            pass
        return message

    def drain(self) -> None:
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.next()
        self.sock.settimeout(90)


UNDER_SYSTEMD = """
import os, sys
os.environ.update(NOTIFY_SOCKET=sys.argv[1], WATCHDOG_USEC=sys.argv[2], WATCHDOG_PID=str(os.getpid()))
if sys.argv[3] != "-":
    os.dup2(int(sys.argv[3]), 3)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="vigild.socket")
os.execv(sys.executable, [sys.executable, "-m", "vigild", "run", *sys.argv[4:]])
"""


class Unit(Daemon):
    """The daemon as systemd starts it."""

    def __init__(self, folder: Path, text: str, listening: socket.socket | None = None, watchdog_s: float = 60) -> None:
        super().__init__(folder, text)
        self.systemd = Systemd(folder)
        self._listening = listening
        self._watchdog_us = str(int(watchdog_s * 1e6))

    def start(self, wait: bool = True) -> Daemon:
        fd = self._listening.fileno() if self._listening is not None else None
        command = [sys.executable, "-c", UNDER_SYSTEMD, str(self.systemd.path), self._watchdog_us]
        command += [str(fd) if fd is not None else "-", "--config", str(self.config)]
        if fd is None:
            command += ["--socket", str(self.socket)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=self.folder,
                start_new_session=True, pass_fds=() if fd is None else (fd,),
            )  # fmt: skip
        return self


def test_what_systemd_is_told(tmp_path: Path, model: Path) -> None:
    with Unit(tmp_path, config(model)) as unit:
        assert isinstance(unit, Unit)
        ready = unit.systemd.until("READY")
        assert ready["READY"] == "1"
        assert "quadrants" in ready["STATUS"]
        goes_on(unit)
        for text, words in ((config(model, "[daemon]\nmax_clients = 10\n"), "max_clients"), ("[model\n", "refused")):
            unit.config.write_text(text)
            before_us = time.monotonic_ns() // 1000
            unit.signal(signal.SIGHUP)
            reloading = unit.systemd.until("RELOADING")
            assert before_us <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert words in unit.systemd.until("READY")["STATUS"]
        unit.signal(signal.SIGTERM)
        assert unit.systemd.until("STOPPING") == {"STOPPING": "1"}
        assert unit.wait() == 0


def test_workers_do_not_inherit_what_is_the_hubs(tmp_path: Path, model: Path) -> None:
    with Unit(tmp_path, config(model)) as unit:
        assert isinstance(unit, Unit)
        unit.systemd.until("READY")
        for module in ("vigild.camera", "vigild.detector"):
            (pid,) = unit.running(module)
            names = {item.split(b"=")[0] for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
            assert b"VIGILD_TEST" in names
            assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID", b"LISTEN_FDS", b"LISTEN_PID"}
            # Nor a descriptor of it: its end of the channel, the ring and the notify socket are not listening.
            assert str(unit.socket) not in unix_paths(pid)


def unix_paths(pid: int) -> set[str]:
    """Of the Unix sockets that a process holds."""
    held = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(fd.readlink()))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {row[7] for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in held}


def test_the_watchdog_is_fed_by_progress_alone(tmp_path: Path, model: Path) -> None:
    with Unit(tmp_path, config(model), watchdog_s=0.6) as unit:
        assert isinstance(unit, Unit)
        unit.systemd.until("READY")
        for _ in range(4):
            unit.systemd.until("WATCHDOG")
        # A detector that gives no results although cameras deliver is what the watchdog is for. Until the
        # hub has seen that it hangs, nothing is sent; then there is a reason, and clients are told.
        client = unit.connect()
        client.watch(empty=True)
        (detector,) = unit.running("vigild.detector")
        os.kill(detector, signal.SIGSTOP)
        client.until(lambda m: m["type"] == "heartbeat" and m["status"] == "stale")
        unit.systemd.drain()
        client.event("worker_died")
        while_hung = len([message for message in drained(unit.systemd) if "WATCHDOG" in message])
        client.event("worker_back")
        unit.systemd.drain()
        for _ in range(4):
            unit.systemd.until("WATCHDOG")
        # Two seconds and more lay between stale and killed: at half the interval that would be six.
        assert while_hung <= 1


def drained(systemd: Systemd) -> list[dict[str, str]]:
    before = len(systemd.heard)
    systemd.drain()
    return systemd.heard[before:]


def test_a_pause_is_no_reason_for_the_watchdog(tmp_path: Path, model: Path) -> None:
    with Unit(tmp_path, config(model), watchdog_s=0.6) as unit:
        assert isinstance(unit, Unit)
        unit.systemd.until("READY")
        client = unit.connect()
        client.watch()
        assert client.ask(type="pause")["type"] == "ok"
        client.until(lambda m: m["type"] == "heartbeat" and m["status"] == "paused")
        unit.systemd.drain()
        for _ in range(4):
            unit.systemd.until("WATCHDOG")


def test_a_passed_socket_is_used_as_it_is(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "passed.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(8)
        # Activation: this client is there before the daemon.
        early = socket.socket(socket.AF_UNIX)
        early.settimeout(90)
        early.connect(str(path))
        with Unit(tmp_path, config(model), listening) as unit:
            assert isinstance(unit, Unit)
            unit.socket = path
            assert json.loads(early.makefile("rb").readline())["type"] == "hello"
            unit.systemd.until("READY")
            goes_on(unit)
            assert unit.status()["socket"] == str(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert not (tmp_path / "v.sock").exists()
            assert unit.stop() == 0
        assert path.exists(), "it is systemd's"
        early.close()


# ---- clients of every manner


def test_requests_that_are_none(daemon: Daemon) -> None:
    client = daemon.connect()
    for line, code in (
        (b"x" * 70_000, "too_long"),
        (b'{"type":"ping","id":"\xff\xfe"}', None),
        (b"hello", None),
        (b"[1,2,3]", None),
        (b"null", None),
        (b'{"type":"dance"}', None),
        (b'{"type":"watch","colour":"red"}', None),
        (b'{"type":"watch","min_score":"high"}', None),
        (b'{"type":"watch","cameras":["side"]}', None),
        (b"{" * 30_000, None),
    ):
        client.sock.sendall(line + b"\n")
        answer = client.next()
        assert answer["type"] == "error", (line[:50], answer)
        assert answer["message"]
        if code:
            assert answer["code"] == code
    assert client.ask(type="ping")["type"] == "pong", "the connection stays open"
    client.sock.sendall(b'{"type":"watch","colour":"red","id":7}\n')
    answer = client.next()
    assert "colour" in answer["message"]
    assert answer["id"] == 7
    goes_on(daemon)
    assert "Traceback" not in daemon.logged()


def test_framing_that_is_lost_ends_the_connection(daemon: Daemon) -> None:
    client = daemon.connect()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(1000):
            client.sock.sendall(b"x" * 65536)
    codes = []
    with contextlib.suppress(AssertionError, ConnectionResetError):
        while True:
            codes.append(client.next()["code"])
    assert codes[-1:] == ["framing_lost"]
    goes_on(daemon)


def test_a_half_closed_client_still_gets_its_answers(daemon: Daemon) -> None:
    client = daemon.connect()
    client.send(type="status", id=1)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.until(lambda m: m.get("id") == 1)["type"] == "status"
    watcher = daemon.connect()
    watcher.send(type="watch", empty=True)
    watcher.sock.shutdown(socket.SHUT_WR)
    for _ in range(5):
        watcher.until("detections")
    goes_on(daemon)


def test_a_request_byte_by_byte(daemon: Daemon) -> None:
    client = daemon.connect()
    for byte in b'{"type":"ping","id":"slow"}\n':
        client.sock.send(bytes([byte]))
        time.sleep(0.02)  # each in a read of its own
    assert client.until("pong")["id"] == "slow"


def test_a_reader_of_a_byte_a_time_and_ten_that_never_read(daemon: Daemon) -> None:
    deaf = [daemon.connect() for _ in range(10)]
    for client in deaf:
        client.send(type="watch", empty=True)
    slow = daemon.connect()
    slow.send(type="watch", empty=True)
    stop = threading.Event()
    read = bytearray()

    def read_slowly() -> None:
        while not stop.wait(0.05):
            read.extend(slow.sock.recv(1))

    reader = threading.Thread(target=read_slowly)
    reader.start()
    try:
        client = daemon.connect()
        client.watch(empty=True)
        for wanted in range(1, 61):
            message = client.until("detections")
            assert (message["seq"], message["dropped"]) == (wanted, 0)
        goes_on(daemon)
    finally:
        stop.set()
        reader.join()
    assert read
    counted = {health["id"]: health for health in daemon.status()["health"]["clients"]}
    assert len(counted) >= 12


def test_clients_that_vanish_in_the_middle_of_everything(daemon: Daemon) -> None:
    before = None
    for turn in range(40):
        client = Client(daemon.socket)
        request: dict[str, Any] = {"type": ("watch", "status", "snapshot", "pause", "resume")[turn % 5]}
        client.send(**request)
        if turn % 3 == 0:
            client.next()
        client.close()
        if turn == 9:
            before = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    client = daemon.connect()
    assert client.ask(type="resume")["type"] == "ok"
    client.close()
    assert before is not None
    daemon.wait_for(lambda: len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) <= before)
    goes_on(daemon)
    assert "Traceback" not in daemon.logged()


def test_one_client_too_many_is_told_so(tmp_path: Path, model: Path) -> None:
    with Daemon(tmp_path, config(model, "[daemon]\nmax_clients = 3\n")) as daemon:
        clients = [daemon.connect()]
        # Those that looked whether it is up are gone, too: else one of the next would be one too many.
        daemon.wait_for(lambda: len(clients[0].ask(type="status")["health"]["clients"]) == 1)
        for _ in range(4):  # two more than three: this is the daemon's own user
            clients.append(daemon.connect())
            assert clients[-1].ask(type="ping")["type"] == "pong"
        with socket.socket(socket.AF_UNIX) as sixth:
            sixth.settimeout(90)
            sixth.connect(str(daemon.socket))
            answer = json.loads(sixth.makefile("rb").read())
        assert (answer["type"], answer["code"]) == ("error", "too_many_clients")
        refused = clients[0].ask(type="set", key="daemon.max_clients", value=1)
        assert refused["code"] == "no_way_back" and "5 clients are connected" in refused["message"]
        clients[0].close()
        daemon.wait_for(lambda: accepted(daemon))


def test_a_deleted_socket_is_made_again_and_clients_are_told(daemon: Daemon) -> None:
    client = daemon.connect()
    client.ask(type="watch", events=["event"])
    daemon.socket.unlink()
    event = client.event("socket_remade")
    assert "was deleted; it was made again" in event["reason"]
    assert accepted(daemon)
    goes_on(daemon)


def accepted(daemon: Daemon) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(90)
        sock.connect(str(daemon.socket))
        return bool(json.loads(sock.makefile("rb").readline())["type"] == "hello")


@pytest.mark.parametrize("tool", ["nc", "socat"])
def test_plain_tools_do(daemon: Daemon, tool: str) -> None:
    command = {
        "nc": ["nc", "-U", str(daemon.socket)],
        "socat": ["socat", "-", f"UNIX-CONNECT:{daemon.socket}"],
    }[tool]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO)
    except FileNotFoundError:
        pytest.skip(f"{tool} is not installed")
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b'{"type":"watch","empty":true}\n')
        process.stdin.flush()
        kinds = [json.loads(process.stdout.readline())["type"] for _ in range(2)]
        assert kinds == ["hello", "watching"]
        while json.loads(process.stdout.readline())["type"] != "detections":
            pass
    finally:
        process.kill()
        process.communicate()
