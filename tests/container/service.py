"""The service on a board, as its tests look at it."""

from __future__ import annotations

from pathlib import Path

from board import Board

from system.harness import Client

GROUP = (
    "$(ls -d /sys/fs/cgroup/system.slice/vigild.service /sys/fs/cgroup/systemd/system.slice/vigild.service 2>/dev/null)"
)
"""The service's control group, of version 2 or 1, for a shell in the container."""

SOCKET = "/run/vigild/vigild.sock"


def connect(board: Board, socket: str = SOCKET) -> Client:
    """A client on this machine, at the board's own socket file: root, and so privileged."""
    return Client(Path(f"/proc/{board.leader}/root{socket}"))


def watch(board: Board, socket: str = SOCKET) -> Client:
    """A client that has seen a detection."""
    client = connect(board, socket)
    client.watch(empty=True)
    client.until("detections")
    return client


def show(board: Board, key: str, unit: str = "vigild.service") -> str:
    return board.run(f"systemctl show --value -p {key} {unit}").strip()


def main_pid(board: Board, unit: str = "vigild.service") -> int:
    """In the container's own numbers."""
    return int(show(board, "MainPID", unit))


def pids(board: Board, word: str) -> list[int]:
    """Processes of the service with this on their command line, in the container's own numbers."""
    group = board.run(f"cat {GROUP}/cgroup.procs 2>/dev/null || true").split()
    return [pid for pid in map(int, group) if word in board.run(f"tr '\\0' ' ' </proc/{pid}/cmdline", check=False)]


def drop_in(board: Board, text: str, name: str = "test", unit: str = "vigild.service") -> None:
    """Change the unit as an administrator would."""
    board.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
    board.run("systemctl daemon-reload")


def network(board: Board) -> None:
    """The drop-in for network cameras that the package ships."""
    shipped = Path(__file__).resolve().parents[2] / "systemd/optional/network.conf"
    drop_in(board, shipped.read_text(), "network")


def configure(board: Board, text: str) -> None:
    board.write("/etc/vigild/vigild.toml", text)
