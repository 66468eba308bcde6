"""The real daemon as a process, and a raw socket to talk to it. No vigild code on this side.

with Daemon(tmp_path, '[camera.front]\nsource = "testcard"') as daemon:
    client = daemon.connect()
    client.send(type="watch", empty=True)
    first = client.until("detections")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

REPO = Path(__file__).resolve().parents[2]
ASSETS = REPO.parent / "shared" / "assets"
COCO_V1 = ASSETS / "models/ssd_mobilenet_v1_coco/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"

TIMEOUT_S = 90.0
"""To detect a hang, also on one core that others keep busy; no test claims anything about speed with it."""


class Ended(AssertionError):
    """The daemon closed the connection."""


class Client:
    """A connection that reads and writes lines of JSON."""

    def __init__(self, path: Path, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(str(path))
        self._rest = b""
        self.hello = self.next()
        assert self.hello["type"] == "hello"

    def send(self, **request: Any) -> None:
        self.sock.sendall(json.dumps(request).encode() + b"\n")

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request with an id; returns its answer."""
        request.setdefault("id", uuid.uuid4().hex)
        self.send(**request)
        return self.until(lambda m: m.get("id") == request["id"])

    def watch(self, **policy: Any) -> dict[str, Any]:
        answer = self.ask(type="watch", **policy)
        assert answer["type"] == "watching", answer
        return answer

    def next(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The next message. Raises TimeoutError, or Ended."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no message")
            self.sock.settimeout(left)
            data = self.sock.recv(1 << 20)
            if not data:
                raise Ended("the daemon closed the connection")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def stream(self, timeout_s: float = TIMEOUT_S) -> Iterator[dict[str, Any]]:
        """Messages until the daemon ends or `timeout_s` has passed in all."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                yield self.next(left)
            except (TimeoutError, Ended, ConnectionResetError):
                return

    def until(self, wanted: str | Callable[[dict[str, Any]], bool], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The first message of this type, or for which this is true; the ones before are dropped."""
        return self.collect(wanted, timeout_s)[-1]

    def collect(
        self, wanted: str | Callable[[dict[str, Any]], bool], timeout_s: float = TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """All messages up to the first of this type, or for which this is true, and that one."""
        seen: list[dict[str, Any]] = []
        for message in self.stream(timeout_s):
            seen.append(message)
            if message["type"] == wanted if isinstance(wanted, str) else wanted(message):
                return seen
        raise AssertionError(f"no such message within {timeout_s} s; the last ones were {seen[-5:]}")

    def event(self, kind: str, timeout_s: float = TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        return self.until(
            lambda m: m["type"] == "event" and m["kind"] == kind and all(m.get(k) == v for k, v in fields.items()),
            timeout_s,
        )

    def close(self) -> None:
        self.sock.close()


class Daemon:
    """`vigild run` with a configuration, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        config: str = "",
        *args: str,
        env: dict[str, str] | None = None,
        python: str = sys.executable,
        module: str = "vigild",
    ) -> None:
        """`module`: what is run in its place (see `injected`)."""
        self.folder = folder
        self.socket = folder / "v.sock"
        self.config = folder / "vigild.toml"
        self.log = folder / "log"
        self.mark = f"VIGILD_TEST={uuid.uuid4().hex}"
        self._args = args
        # What one daemon learned of the board, or another that runs here, is none of the next one's business.
        state = {"STATE_DIRECTORY": str(folder / "state")}
        self._env = {**os.environ, **state, **(env or {}), **dict([self.mark.split("=")])}
        # The second: every process would compile all its modules again.
        for unwanted in ("NOTIFY_SOCKET", "PYTHONDONTWRITEBYTECODE"):
            self._env.pop(unwanted, None)
        self._python = python
        self._module = module
        self._clients: list[Client] = []
        self._cameras = ""
        self.process: subprocess.Popen[bytes] | None = None
        if config:
            self.config.write_text(config)

    # ---- life

    def start(self, wait: bool = True) -> Daemon:
        command = [self._python, "-m", self._module, "run", "--socket", str(self.socket), *self._args]
        if self.config.exists():
            command += ["--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait_for(self.answers)
        return self

    def answers(self) -> bool:
        """A socket file alone says little: it may be stale, or not listened at yet."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    def wait_for(self, true: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not true():
            assert self.process.poll() is None, f"the daemon ended:\n{self.logged()}"
            assert time.monotonic() < deadline, f"nothing happened within {timeout_s} s:\n{self.logged()}"
            time.sleep(0.02)

    def logged(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Daemon:
        return self if self.process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(f"---- the daemon's log\n{self.logged()[-8000:]}\n----\n")
        self.hang_up()
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- talking and looking

    @classmethod
    def without_cameras(cls, folder: Path, config: str, *args: str, **more: Any) -> Daemon:
        """With `config` but for its cameras, which come with `add_cameras`: then a client can see the first frame."""
        at = config.index("[camera.")
        daemon = cls(folder, f"[daemon]\nallow_no_cameras = true\n{config[:at]}", *args, **more)
        daemon._cameras = config[at:]
        return daemon

    def add_cameras(self) -> None:
        """Put the cameras into the file, and have it read again."""
        self.config.write_text(self.config.read_text() + self._cameras)
        self.signal(signal.SIGHUP)

    def connect(self, receive_buffer: int | None = None) -> Client:
        client = Client(self.socket, receive_buffer)
        self._clients.append(client)
        return client

    def hang_up(self) -> None:
        """Close all connections."""
        while self._clients:
            self._clients.pop().close()

    def status(self) -> dict[str, Any]:
        client = self.connect()
        try:
            return client.ask(type="status")
        finally:
            client.close()

    def worker(self, name: str) -> int:
        """The pid of a worker that runs ("detector", "camera.front")."""
        found: list[int] = []

        def running() -> bool:
            found[:] = [w["pid"] for w in self.status()["health"]["workers"] if w["name"] == name and w["pid"]]
            return bool(found)

        self.wait_for(running)
        return found[0]

    def processes(self) -> list[int]:
        """Everything that was started by this daemon and still runs, grandchildren included."""
        return [pid for pid in _pids() if self.mark.encode() in _environment(pid)]

    def running(self, module: str) -> list[int]:
        """The pids of this daemon's processes that run a module ("vigild.detector"), newest last."""
        return [pid for pid in sorted(self.processes()) if f"\0-m\0{module}\0".encode() in command_line(pid)]

    def gone(self, timeout_s: float = TIMEOUT_S) -> None:
        """Fails if anything of the daemon is still there after a while."""
        deadline = time.monotonic() + timeout_s
        while left := self.processes():
            names = [command_line(pid) for pid in left]
            assert time.monotonic() < deadline, f"left behind: {names}"
            time.sleep(0.05)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


class Holdings(NamedTuple):
    """What a process holds, as counts: what must not grow."""

    descriptors: int
    memfds: int
    """Mappings of memfds."""
    threads: int
    children: int
    """Zombies among them."""


def holdings(pid: int) -> Holdings:
    proc = Path(f"/proc/{pid}")
    maps = (proc / "maps").read_text()
    children = sum(len((task / "children").read_text().split()) for task in (proc / "task").iterdir())
    return Holdings(
        descriptors=len(list((proc / "fd").iterdir())),
        memfds=maps.count("/memfd:"),
        threads=len(list((proc / "task").iterdir())),
        children=children,
    )


def settled_holdings(pid: int, looks: int = 8) -> Holdings:
    """The same at so many looks in a row: a connection that was just closed may still be there at the first."""
    seen = [holdings(pid)]
    while len(seen) < looks or len(set(seen[-looks:])) > 1:
        time.sleep(0.05)
        seen.append(holdings(pid))
    return seen[-1]


def command_line(pid: int) -> bytes:
    """Empty for a process that has ended meanwhile, as the short ones in a source's shell do."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _environment(pid: int) -> bytes:
    try:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return b""
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
