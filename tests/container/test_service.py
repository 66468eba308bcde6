"""The units as they are shipped, run by a real systemd: what works, and what comes of each fault."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board import Board, Failed
from service import SOCKET, configure, connect, drop_in, main_pid, network, pids, show, watch

from system.harness import Client
from system.pictures import write_pictures

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVERS = Path(__file__).parents[1] / "system/servers"

TWO_CAMERAS = '[camera.front]\nsource = "testcard"\n[camera.back]\nsource = "{}"\n'


def restarts(board: Board) -> int:
    return int(show(board, "NRestarts"))


# ---- a life


def test_the_first_client_starts_it_and_gets_detections(board: Board) -> None:
    board.run("systemctl start vigild.socket")
    assert show(board, "ActiveState") == "inactive"
    client = watch(board)
    assert client.until("detections")["status"] == "ok"
    board.wait_for(lambda: show(board, "ActiveState") == "active", "it is ready")
    status = show(board, "StatusText")
    assert re.match(r"front \d+\.\d fps; \d+ of \d+ MiB; people_vehicles_ssd \S+ on xnnpack$", status), status


def test_ready_comes_with_the_first_detection(board: Board) -> None:
    board.run("systemctl start vigild")  # returns when it is ready
    client = connect(board)
    health = client.ask(type="status")["health"]
    assert health["cameras"]["front"]["frame"] > 0


def test_ready_without_a_camera_says_why(board: Board) -> None:
    configure(board, '[camera.front]\nsource = "/dev/video7"\n')
    board.run("systemctl start vigild")
    assert show(board, "StatusText").startswith("no detections yet: front: ")
    assert "/dev/video7" in show(board, "StatusText")


def test_a_stop_leaves_nothing_running(board: Board) -> None:
    board.run("systemctl start vigild")
    watch(board)
    board.run("systemctl stop vigild")
    assert show(board, "Result") == "success"
    assert show(board, "ActiveState") == "inactive"
    assert "vigild." not in board.run("ps -e -o args")
    assert board.run("systemctl is-active vigild.socket").strip() == "active"


def test_it_comes_back_with_the_board(board: Board) -> None:
    board.run("systemctl enable vigild")
    try:
        for again in (board.reboot, lambda: (board.kill(), board.start())):
            again()
            watch(board)
            assert show(board, "ActiveState") == "active"
    finally:
        board.run("systemctl disable vigild")


def test_no_client_is_refused_during_restarts(board: Board) -> None:
    board.run("systemctl start vigild")
    over, failures, hellos = threading.Event(), [], []

    def keep_connecting() -> None:
        while not over.is_set():
            try:
                client = connect(board)
                hellos.append(client.hello["instance"])
                client.close()
            except (OSError, AssertionError) as error:
                # Ended: it was connected to a daemon that went before it could greet, which is no refusal.
                if isinstance(error, OSError):
                    failures.append(error)

    thread = threading.Thread(target=keep_connecting)
    thread.start()
    try:
        for _ in range(3):
            board.run("systemctl restart vigild")
    finally:
        over.set()
        thread.join()
    assert failures == []
    assert len(set(hellos)) == 4, "each of the daemons greeted somebody"


def test_instances_are_independent(board: Board) -> None:
    board.write("/etc/vigild/yard.toml", '[camera.gate]\nsource = "testcard"\n')
    board.run("systemctl start vigild vigild@yard")
    yard = watch(board, "/run/vigild/yard.sock")
    assert yard.hello["cameras"][0]["name"] == "gate"
    board.run("systemctl stop vigild vigild.socket")
    yard.until("detections")
    board.run("systemctl reload vigild@yard")
    assert board.run("ls /run/vigild").split() == ["yard.sock"]
    board.run("systemctl stop vigild@yard.socket vigild@yard")


# ---- reload


def test_a_reload_is_done_when_systemctl_returns(board: Board) -> None:
    board.run("systemctl start vigild")
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 5\n')
    board.run("systemctl reload vigild")
    assert connect(board).ask(type="status")["config"]["camera.front.fps"] == 5
    assert show(board, "ActiveState") == "active"


def test_a_reload_by_signal_ends_too(board: Board) -> None:
    board.run("systemctl start vigild")
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 5\n')
    board.run("systemctl kill --kill-whom=main --signal=HUP vigild")
    board.wait_for(lambda: "camera" in show(board, "StatusText") or None, "it says what it did", 10)
    board.wait_for(lambda: show(board, "ActiveState") == "active", "the reload has ended")
    assert connect(board).ask(type="status")["config"]["camera.front.fps"] == 5


def test_a_reload_that_is_refused_fails_and_changes_nothing(board: Board) -> None:
    board.run("systemctl start vigild")
    pid = main_pid(board)
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 0\n')
    with pytest.raises(Failed):
        board.run("systemctl reload vigild")
    assert main_pid(board) == pid
    said = [entry["MESSAGE"] for entry in board.journal("vigild.service", f"_PID={pid}", "VIGILD_EVENT=reload_failed")]
    assert "camera.front.fps" in said[-1]
    watch(board)


def test_with_notify_reload_systemd_itself_waits_for_the_reload(board: Board) -> None:
    version = int(board.run("systemctl --version").split()[1])
    if version < 253:
        pytest.skip(f"systemd {version} does not know notify-reload; VIGILD_SUITE=trixie has one that does")
    drop_in(board, (SYSTEMD / "optional/notify-reload.conf").read_text(), "notify-reload")
    board.run("systemctl start vigild")
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 5\n')
    board.run("systemctl reload vigild", timeout_s=20)
    assert connect(board).ask(type="status")["config"]["camera.front.fps"] == 5
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 0\n')
    board.run("systemctl reload vigild", timeout_s=20)
    assert "reload refused: " in show(board, "StatusText")
    assert show(board, "ActiveState") == "active"


# ---- faults


def test_a_hung_hub_is_ended_by_the_watchdog(board: Board) -> None:
    drop_in(board, "[Service]\nWatchdogSec=2s\n")
    board.run("systemctl start vigild")
    watch(board)
    pid = main_pid(board)
    board.run(f"kill -STOP {pid}")
    client = connect_when(board)
    client.watch(empty=True)
    client.until("detections")
    assert main_pid(board) != pid
    assert restarts(board) == 1
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in board.journal("vigild.service"))


def test_a_healthy_daemon_is_left_alone_by_a_short_watchdog(board: Board) -> None:
    drop_in(board, "[Service]\nWatchdogSec=1500ms\n")
    board.run("systemctl start vigild")
    client = watch(board)
    first = client.until("detections")["captured_ns"]
    client.until(lambda m: m["type"] == "detections" and m["captured_ns"] - first > 4e9)
    assert restarts(board) == 0


def test_a_lost_camera_is_no_reason_for_the_watchdog(board: Board) -> None:
    drop_in(board, "[Service]\nWatchdogSec=1500ms\n")
    configure(board, '[camera.front]\nsource = "/dev/video7"\n')
    board.run("systemctl start vigild")
    client = connect(board)
    client.watch()
    for _ in range(2):
        client.until("heartbeat")  # one each 2 s
    assert restarts(board) == 0


def test_a_hung_detector_is_replaced_and_the_hub_stays(board: Board) -> None:
    board.run("systemctl start vigild")
    client = watch(board)
    hub, (detector,) = main_pid(board), pids(board, "vigild.detector")
    board.run(f"kill -STOP {detector}")
    client.event("worker_died")
    client.event("worker_back")
    client.until("detections")
    assert (main_pid(board), restarts(board)) == (hub, 0)


@pytest.mark.parametrize("worker", ["vigild.detector", "vigild.camera"])
def test_a_killed_worker_comes_back_and_the_hub_stays(board: Board, worker: str) -> None:
    board.run("systemctl start vigild")
    client = watch(board)
    hub, (pid,) = main_pid(board), pids(board, worker)
    board.run(f"kill -KILL {pid}")
    client.event("worker_died")
    client.until("detections")
    assert (main_pid(board), restarts(board)) == (hub, 0)
    assert pids(board, worker) != [pid]


def test_a_killed_hub_comes_back_and_leaves_nothing_behind(board: Board) -> None:
    board.run("systemctl start vigild")
    client = watch(board)
    before = set(pids(board, "vigild"))
    board.run(f"kill -KILL {main_pid(board)}")
    with pytest.raises(AssertionError):
        client.until("bye", 5)
    watch(board)
    assert restarts(board) == 1
    assert not before & set(pids(board, "vigild"))


HOG = "exec:/usr/bin/python3 -c 'b = [bytearray(4096 * 256) for _ in range(100000)]'"


def test_what_grows_beyond_the_limit_is_ended_and_the_rest_goes_on(board: Board) -> None:
    board.run("systemctl start vigild")
    hub = main_pid(board)
    configure(board, TWO_CAMERAS.format(HOG))
    board.run("systemctl reload vigild")
    client = connect(board)
    client.watch(empty=True)
    client.event("camera_lost", camera="back")
    client.until(lambda m: m["type"] == "detections" and m["camera"] == "front")
    client.event("camera_lost", camera="back")
    client.until(lambda m: m["type"] == "detections" and m["camera"] == "front")
    assert (main_pid(board), restarts(board), show(board, "ActiveState")) == (hub, 0, "active")
    assert int(show(board, "MemoryCurrent")) <= 384 * 2**20


def test_a_stalled_journald_holds_up_nobody(board: Board) -> None:
    configure(board, '[daemon]\nlog_level = "debug"\n[camera.front]\nsource = "testcard"\n')
    board.run("systemctl start vigild")
    client = watch(board)
    journald = board.run("pidof systemd-journald").strip()
    board.run(f"kill -STOP {journald}")
    try:
        # Each says at debug level that it came and went; journald's socket holds 512 entries (net.unix.max_dgram_qlen).
        for number in range(500):
            connect(board).close()
            if number % 25 == 24:
                # Detections go on; and who does not read for ten seconds is let go.
                now_ns = time.monotonic_ns()
                client.until(lambda m, now_ns=now_ns: m["type"] == "detections" and m["captured_ns"] > now_ns)
        client.until("heartbeat")
    finally:
        board.run(f"kill -CONT {journald}")

    def told() -> list[dict[str, Any]]:
        connect(board).close()  # the loss is told behind the first entry that gets through
        return board.journal("vigild.service", f"_PID={main_pid(board)}", "VIGILD_PART=log")

    assert int(board.wait_for(told, "the loss is told")[0]["VIGILD_DROPPED"]) > 0


def test_a_stalled_systemd_holds_up_nobody(board: Board) -> None:
    board.run("systemctl start vigild")
    client = watch(board)
    board.signal(signal.SIGSTOP)
    try:
        first = client.until("detections")["captured_ns"]
        client.until(lambda m: m["type"] == "detections" and m["captured_ns"] - first > 3e9)
    finally:
        board.signal(signal.SIGCONT)
    assert restarts(board) == 0


def test_after_giving_up_it_begins_again_by_itself(board: Board) -> None:
    drop_in(board, "[Timer]\nOnActiveSec=\nOnActiveSec=3s\n", unit="vigild-retry.timer")
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 0\n')
    with pytest.raises(Failed):
        board.run("systemctl start vigild")
    assert show(board, "ActiveState") == "failed"
    assert show(board, "ExecMainStatus") == "2"
    assert restarts(board) == 0, "a wrong configuration is not tried again at once"
    assert show(board, "ActiveState", "vigild-retry.timer") == "active"
    configure(board, '[camera.front]\nsource = "testcard"\n')
    board.wait_for(lambda: show(board, "ActiveState") == "active", "it has begun again")


def test_what_keeps_crashing_rests(board: Board) -> None:
    drop_in(board, "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=10ms\n")
    board.run("systemctl start vigild", check=False)
    board.wait_for(lambda: show(board, "ActiveState") == "failed", "it has given up")
    assert restarts(board) == 10
    assert show(board, "ActiveState", "vigild-retry.timer") == "active"
    board.run("rm /etc/systemd/system/vigild.service.d/test.conf; systemctl daemon-reload")
    board.run("systemctl reset-failed vigild.service vigild.socket && systemctl start vigild")
    watch(board)


def test_who_stops_it_means_it(board: Board) -> None:
    configure(board, '[camera.front]\nsource = "testcard"\nfps = 0\n')
    board.run("systemctl start vigild", check=False)
    assert show(board, "ActiveState", "vigild-retry.timer") == "active"
    board.run("systemctl stop vigild")
    assert show(board, "ActiveState", "vigild-retry.timer") == "inactive"


def test_a_read_only_disk_is_no_obstacle(board: Board) -> None:
    board.run("systemctl start vigild")
    board.run("systemctl stop vigild; journalctl --relinquish-var; mount -o remount,bind,ro /")
    try:
        with pytest.raises(Failed, match="Read-only"):
            board.run("touch /var/lib/vigild/x")
        board.run("systemctl start vigild")
        watch(board)
    finally:
        board.run("mount -o remount,bind,rw /; journalctl --flush")


# ---- who may


def test_members_of_the_group_may_and_others_may_not(board: Board) -> None:
    board.run("systemctl start vigild")
    board.run("id alice || useradd --groups vigild alice; id bob || useradd bob")
    vigild = "/opt/vigild/current/bin/vigild"
    board.run(f"sudo -u alice {vigild} pause && sudo -u alice {vigild} resume")
    assert "ermission denied" in board.run(f"sudo -u bob {vigild} status", check=False)
    drop_in(board, "[Socket]\nSocketMode=0666\n", unit="vigild.socket")
    board.run("systemctl restart vigild.socket vigild")
    board.run(f"sudo -u bob {vigild} status")
    assert '"pause" is for root' in board.run(f"sudo -u bob {vigild} pause", check=False)


# ---- the journal


def test_the_journal_can_be_searched_by_camera_and_event(board: Board) -> None:
    configure(board, TWO_CAMERAS.format("/dev/video7"))
    board.run("systemctl start vigild")
    watch(board)
    pid = f"_PID={main_pid(board)}"
    lost = board.wait_for(lambda: board.journal("", pid, "VIGILD_EVENT=camera_lost"), "the loss is in the journal")
    assert {entry["VIGILD_CAMERA"] for entry in lost} == {"back"}
    assert "/dev/video7" in lost[0]["VIGILD_REASON"]
    front = board.journal("vigild.service", pid, "VIGILD_CAMERA=front")
    assert front and all("front" in entry["MESSAGE"] for entry in front)
    for entry in lost + front:
        assert entry["SYSLOG_IDENTIFIER"] == "vigild"
        assert entry["_TRANSPORT"] == "journal"
        assert entry["PRIORITY"] in "3456"


# ---- cameras and sinks on the network, and their secrets


@pytest.fixture
def network_camera(board: Board) -> Iterator[str]:
    """A camera on this machine that asks for a password; its address as the board sees it."""
    command = ["mjpeg_server.py", "0", "auth=viewer:p@ss/word", f"host={board.host_address}"]
    server = subprocess.Popen([sys.executable, *command], cwd=SERVERS, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"{board.host_address}:{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def test_a_network_camera_with_the_drop_in_and_a_secret(board: Board, network_camera: str) -> None:
    configure(board, f'[camera.gate]\nsource = "http://viewer:${{credential:gate}}@{network_camera}/stream"\n')
    board.write("/etc/vigild/credentials/gate", "p@ss/word\n", 0o600)
    network(board)
    board.run("systemctl start vigild")
    client = watch(board)
    assert client.until("detections")["camera"] == "gate"
    everywhere = [
        board.run("journalctl --no-pager -o export"),
        board.run("cat /proc/[0-9]*/cmdline", check=False),
        board.run("systemctl show vigild"),
        str(client.ask(type="status")),
    ]
    for text in everywhere:
        assert "p@ss" not in text
        assert "p%40ss" not in text


def test_a_missing_secret_is_told_and_the_other_camera_goes_on(board: Board) -> None:
    configure(board, TWO_CAMERAS.format("http://viewer:${credential:gate}@localhost/"))
    board.run("systemctl start vigild")
    client = watch(board)
    assert client.until("detections")["camera"] == "front"
    reason = client.ask(type="status")["health"]["cameras"]["back"]["reason"]
    assert 'there is no credential "gate"' in reason
    assert "/run/credentials/vigild.service/vigild_gate" in reason


def test_without_the_drop_in_there_is_no_network(board: Board, network_camera: str) -> None:
    configure(board, f'[camera.gate]\nsource = "http://{network_camera}/stream"\n')
    board.run("systemctl start vigild")
    health = connect(board).ask(type="status")["health"]["cameras"]["gate"]
    assert health["status"] == "no_frame"
    assert health["reason"]


def test_a_folder_of_pictures(board: Board, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 5)
    board.push(tmp_path / "pictures", "/srv/pictures")
    board.run("chmod -R a+rX /srv/pictures")
    configure(board, '[camera.front]\nsource = "images:/srv/pictures"\nloop = true\n')
    board.run("systemctl start vigild")
    assert watch(board).until("detections")["file"].endswith(".jpg")


def connect_when(board: Board) -> Client:
    """Connected at once, greeted when a daemon is there again."""
    found: list[Client] = []

    def attempt() -> bool:
        try:
            found.append(connect(board, SOCKET))
        except (OSError, AssertionError):
            return False
        return True

    board.wait_for(attempt, "a daemon greets")
    return found[0]
