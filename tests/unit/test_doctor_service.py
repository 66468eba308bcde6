"""The socket, users and systemd as the doctor finds them; and the report itself."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from boardkit import jetson_orin, raspberry_pi_4
from vigild.config.schema import DaemonConfig
from vigild.doctor import report, service
from vigild.doctor.examine import guarded
from vigild.doctor.finding import Finding, could_run, note, ok, problem
from vigild.wire.framing import encode_line
from vigild.wire.messages import CameraInfo, Hello

NOBODY = 65534

HELLO = encode_line(Hello(protocol="1.0", version="9.9", instance="x", cameras=[CameraInfo(name="front")]))


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def examined(socket_path: Path, root: Path = Path("/nowhere")) -> tuple[service.Daemon, dict[str, Finding]]:
    config = DaemonConfig(socket=str(socket_path))
    daemon = service.find_daemon(config, None)
    return daemon, by_name(service.checks(root, config, daemon, None))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        yield listener


def greet(listener: socket.socket, words: bytes) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        connection.sendall(words)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()


def test_a_daemon_that_answers(server: socket.socket, tmp_path: Path) -> None:
    greet(server, HELLO)
    daemon, found = examined(tmp_path / "s")
    assert daemon.hello is not None and [camera.name for camera in daemon.hello.cameras] == ["front"]
    assert found["daemon"].state == "ok" and found["daemon"].found == f"vigild 9.9 answers at {tmp_path / 's'}"


@pytest.mark.parametrize("words", [b"", b"220 mail ESMTP\r\n", b'{"type":"hello"}\n', b"\xff\xfe\n"])
def test_another_program_at_the_socket_blocks(server: socket.socket, tmp_path: Path, words: bytes) -> None:
    greet(server, words)
    daemon, found = examined(tmp_path / "s")
    assert daemon.hello is None
    assert found["daemon"].blocks and "does not greet like a vigild" in found["daemon"].found


def test_a_program_that_says_nothing(server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HELLO_S", 0.3)
    assert "timed out" in examined(tmp_path / "s")[1]["daemon"].found


def test_no_daemon_and_a_folder_that_takes_one(tmp_path: Path) -> None:
    _, found = examined(tmp_path / "new/folder/s")
    assert found["daemon"].state == "ok" and f"would listen at {tmp_path}/new/folder/s" in found["daemon"].found


def test_where_no_socket_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "something that is not a socket" in examined(tmp_path / "file")[1]["daemon"].found
    _, found = examined(tmp_path / "file/s")
    assert found["daemon"].blocks and "not a folder" in found["daemon"].found


def test_where_this_user_may_not_make_a_socket() -> None:
    if os.getuid() == 0:  # root may write everywhere
        os.seteuid(NOBODY)
    try:
        assert service._cannot_listen(Path("/no/such/s")) == "/ cannot be written to"
    finally:
        os.seteuid(os.getuid())


def test_systemd_and_its_unit(tmp_path: Path) -> None:
    _, found = examined(tmp_path / "s", jetson_orin(tmp_path / "jetson"))
    assert found["systemd"].state == "ok"
    assert found["systemd"].found == "vigild.service is installed at /etc/systemd/system/vigild.service"
    _, found = examined(tmp_path / "s", raspberry_pi_4(tmp_path / "pi"))
    assert found["systemd"].state == "note" and "not installed" in found["systemd"].found
    _, found = examined(tmp_path / "s", tmp_path)
    assert "not what runs this system" in found["systemd"].found
    assert found["user"].state in ("ok", "note")


# ---- the report


def test_a_check_that_fails_costs_only_its_own_lines() -> None:
    def checks() -> Iterator[Finding]:
        yield ok("one", "fine")
        raise RecursionError("odd file")

    first, second = guarded("group", checks)
    assert first.group == second.group == "group"
    assert second.state == "problem" and "RecursionError: odd file" in second.found
    assert "test_doctor_service.py" in second.found and not second.blocks


def test_lines_are_aligned_and_say_what_to_do() -> None:
    findings = [
        Finding(name="a", state="ok", found="x", group="g"),
        Finding(name="b", state="problem", found="y", todo="do z", group="h"),
    ]
    lines = list(report.lines(findings))
    assert lines == [
        "g",
        "  ok       a                  x",
        "h",
        "  PROBLEM  b                  y",
        "           -> do z",
    ]


def test_only_what_blocks_counts() -> None:
    findings = [ok("a", "x"), note("b", "y"), problem("c", "z", "do")]
    assert could_run(findings)
    assert report.verdict(findings) == "vigild could run here; 1 thing should be seen to"
    assert json.loads(report.as_json(findings))["could_run"] is True
    findings.append(problem("d", "z", "do", blocks=True))
    assert not could_run(findings)
    assert report.verdict(findings) == "vigild could not run here because of: d"
    parsed = json.loads(report.as_json(findings))
    assert parsed["could_run"] is False
    assert parsed["findings"][3] == {"name": "d", "state": "problem", "found": "z", "todo": "do", "blocks": True}
    assert report.verdict([ok("a", "x")]) == "vigild could run here"
