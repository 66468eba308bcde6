"""What systemd hears and when, and what it hands over."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vigild.datagrams import Datagrams
from vigild.hub.systemd import (
    IDLE_BEFORE_READY_NS,
    STATUS_NS,
    Figures,
    Herald,
    Progress,
    Service,
    one_line,
    passed_sockets,
    status_line,
    watchdog_timeout_us,
)

S = 1_000_000_000
WATCHDOG_US = 20_000_000
LOST = "front: cannot open /dev/video0"


class Systemd:
    """The receiving end; `deaf` until it is told to listen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return messages

    def stall(self) -> None:
        """Fill its queue, as if it had been stopped a while ago."""
        filler = Datagrams(str(self.path))
        while filler.send(b"X_FILLER=1"):
            pass

    def wake(self) -> None:
        assert set(self.heard()) == {"X_FILLER=1"}


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(tmp_path / "notify")


@pytest.fixture
def service(systemd: Systemd) -> Service:
    return Service({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": str(WATCHDOG_US)})


# ---- ready


def test_ready_comes_with_the_first_result_and_once() -> None:
    herald = Herald(None)
    assert herald.ready_message(0, Progress(0), "loading") is None
    assert herald.ready_message(1, Progress(1), "front 15.0 fps") == "READY=1\nSTATUS=front 15.0 fps"
    assert herald.ready_message(2, Progress(2), "front 15.0 fps") is None


def test_ready_without_a_camera_says_why() -> None:
    herald = Herald(None)
    assert herald.ready_message(0, Progress(0, idle=LOST), "3 MiB") is None, "it may still open"
    assert herald.ready_message(IDLE_BEFORE_READY_NS - 1, Progress(0, idle=LOST), "3 MiB") is None
    ready = herald.ready_message(IDLE_BEFORE_READY_NS, Progress(0, idle=LOST), "3 MiB")
    assert ready == f"READY=1\nSTATUS=no detections yet: {LOST}; 3 MiB"


def test_a_camera_that_comes_and_goes_is_waited_for_anew() -> None:
    herald = Herald(None)
    herald.ready_message(0, Progress(0, idle=LOST), "")
    herald.ready_message(4 * S, Progress(0), "")
    assert herald.ready_message(IDLE_BEFORE_READY_NS + S, Progress(0, idle=LOST), "") is None


def test_a_detector_that_keeps_dying_is_never_ready() -> None:
    herald = Herald(None)
    for second in range(300):
        assert herald.ready_message(second * S, Progress(0, repair="detector: killed by SIGSEGV"), "") is None


# ---- the watchdog


def fed(progress: list[Progress], step_s: float = 0.25) -> list[float]:
    """The seconds at which it is fed, with one of `progress` each `step_s`."""
    herald, times = Herald(WATCHDOG_US), []
    for number, now in enumerate(progress):
        now_ns = int(number * step_s * S)
        if herald.watchdog_message(now_ns, now):
            herald.pinged(now_ns)
            times.append(number * step_s)
    return times


def test_results_feed_it_four_times_per_timeout() -> None:
    assert fed([Progress(n) for n in range(1, 100)]) == [0, 5, 10, 15, 20]


def test_without_results_it_starves() -> None:
    assert fed([Progress(7)] * 200) == [0]
    assert fed([Progress(0)] * 200) == [0]


def test_one_result_is_one_feed() -> None:
    assert fed([Progress(7)] * 40 + [Progress(8)] * 200) == [0, 10]


@pytest.mark.parametrize("excused", [Progress(7, idle=LOST), Progress(7, repair="detector: killed by SIGKILL")])
def test_what_clients_are_told_of_is_excused(excused: Progress) -> None:
    assert fed([excused] * 81) == [0, 5, 10, 15, 20]


def test_the_end_of_an_excuse_is_the_end_of_patience() -> None:
    assert fed([Progress(7, idle=LOST)] * 40 + [Progress(7)] * 200) == [0, 5]


def test_a_rate_that_is_capped_low_has_its_pauses() -> None:
    """A frame each 20 s, and then none: after three periods it is missed."""
    frames = [Progress(1 + n // 80, period_s=20) for n in range(320)]
    times = fed(frames + [frames[-1]] * 400)
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) == 5
    assert times[-1] == 60 + 3 * 20


def test_a_timeout_below_two_seconds_is_no_reason_to_stop_feeding() -> None:
    herald = Herald(900_000)
    for number in range(10):
        assert herald.watchdog_message(number * 225_000_000, Progress(number + 1))
        herald.pinged(number * 225_000_000)


def test_a_ping_that_was_not_taken_is_tried_again(systemd: Systemd, service: Service) -> None:
    service.tick(0, Progress(1), "fine")
    systemd.heard()
    systemd.stall()
    service.tick(6 * S, Progress(2), "fine")
    systemd.wake()
    service.tick(6 * S + 1, Progress(2), "fine")
    assert systemd.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("3000000", None, 3_000_000),
        ("3000000", "self", 3_000_000),
        ("3000000", "1", None),
        ("1500000", None, 1_500_000),
        ("0", None, None),
        ("junk", None, None),
        (None, None, None),
    ],
)
def test_the_timeout_in_microseconds(usec: str | None, pid: str | None, expected: int | None) -> None:
    given = {"WATCHDOG_USEC": usec, "WATCHDOG_PID": str(os.getpid()) if pid == "self" else pid}
    assert watchdog_timeout_us({name: value for name, value in given.items() if value is not None}) == expected


# ---- the status


def test_the_status_is_told_when_it_changes_and_not_too_often() -> None:
    herald = Herald(None)
    assert herald.status_message(0, "14.9 fps") == "STATUS=14.9 fps"
    assert herald.status_message(STATUS_NS - 1, "15.0 fps") is None
    assert herald.status_message(STATUS_NS, "15.0 fps") == "STATUS=15.0 fps"
    assert herald.status_message(9 * STATUS_NS, "15.0 fps") is None


def test_the_status_line() -> None:
    figures = Figures({"front": 14.94, "back": "no_frame"}, 61.2, 142 * 2**20, 256 * 2**20, "ssd int8-256 on xnnpack")
    assert status_line(figures) == "front 14.9 fps, back no_frame; 61 °C; 142 of 256 MiB; ssd int8-256 on xnnpack"
    many = Figures({**{f"c{n}": 2.0 for n in range(5)}, "c5": "paused"}, None, 0, 2**20, "")
    assert status_line(many) == "5 of 6 cameras, 10.0 fps together; 0 of 1 MiB; no model loaded"
    assert status_line(many._replace(cameras={})).startswith("no camera; ")


def test_a_status_cannot_become_another_assignment() -> None:
    assert one_line("lost:\nREADY=1\n") == "lost: READY=1"
    assert len(one_line("x" * 1000)) == 300


# ---- what is sent


def test_a_life(systemd: Systemd, service: Service) -> None:
    service.tick(0, Progress(0), "loading")
    service.tick(S, Progress(1), "front 15.0 fps")
    service.reloading(2 * S)
    service.reloaded(3 * S, "reload refused: camera.front.fps: found 0\nexpected more")
    service.stopping()
    assert systemd.heard() == [
        "STATUS=loading",
        "WATCHDOG=1",
        "READY=1\nSTATUS=front 15.0 fps",
        "RELOADING=1\nMONOTONIC_USEC=2000000",
        "READY=1\nSTATUS=reload refused: camera.front.fps: found 0 expected more",
        "STOPPING=1",
    ]


def test_a_reload_does_not_make_a_starting_daemon_ready(systemd: Systemd, service: Service) -> None:
    service.reloading(S)
    service.reloaded(2 * S, "nothing has changed")
    assert systemd.heard() == []


def test_what_systemd_must_not_miss_is_sent_again_in_order(systemd: Systemd, service: Service) -> None:
    systemd.stall()
    service.tick(0, Progress(1), "front 15.0 fps")
    service.reloading(S)
    service.reloaded(2 * S, "done")
    assert service.dropped > 0
    systemd.wake()
    service.tick(3 * S, Progress(1), "front 15.0 fps")
    assert systemd.heard() == [
        "READY=1\nSTATUS=front 15.0 fps",
        "RELOADING=1\nMONOTONIC_USEC=1000000",
        "READY=1\nSTATUS=done",
        "WATCHDOG=1",
    ]


def test_without_systemd_nothing_happens() -> None:
    service = Service({})
    service.tick(0, Progress(1), "")
    service.reloading(1)
    service.stopping()
    assert service.dropped == 0


def test_a_systemd_that_is_gone_does_not_hurt(systemd: Systemd, service: Service) -> None:
    systemd.sock.close()
    systemd.path.unlink()
    service.tick(0, Progress(1), "")
    service.stopping()
    assert service.dropped > 0


def test_an_address_in_the_abstract_namespace() -> None:
    name = f"vigild-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(5)
        Service({"NOTIFY_SOCKET": "@" + name}).tick(0, Progress(0), "starting")
        assert sock.recv(100) == b"STATUS=starting"


def test_passed_sockets_are_taken_when_they_are_for_this_process(tmp_path: Path) -> None:
    assert passed_sockets() == []
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
