from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vigild import log

SAY = r"""
import os, sys
if sys.argv[1] == "journal":
    s = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{s.st_dev}:{s.st_ino}"
from vigild import journal, log
journal.SOCKET = sys.argv[2]
log.setup("info", worker=sys.argv[1] == "worker")
log.logger("camera.front").warning("lost: %s\nand\x1b[2J more \udcff", "unplugged")
try:
    raise ValueError("a\x1b[2Jb")
except ValueError:
    log.logger("camera.front").warning("a fault", exc_info=True)
log.logger("hub").debug("small talk")
"""


def said(kind: str, journald: str = "/nonexistent/socket") -> str:
    env = {**os.environ, "JOURNAL_STREAM": "1:2"}
    out = subprocess.run(
        [sys.executable, "-c", SAY, kind, journald], capture_output=True, text=True, check=True, env=env
    )
    return out.stderr


def test_people_get_time_and_level() -> None:
    clock, level, *rest = said("pipe").splitlines()[0].split()
    assert clock.count(":") == 2
    assert (level, " ".join(rest)) == ("warning", r"camera.front: lost: unplugged and\x1b[2J more \udcff")


def test_the_journal_gets_entries_and_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(5)
        assert said("journal", str(tmp_path / "socket")) == ""
        entry = sock.recv(4096)
    # A message with a control character in it is "[42B blob data]" for journalctl.
    assert b"lost: unplugged and\\x1b[2J more \\udcff\n" in entry
    assert b"\nVIGILD_CAMERA=front\n" in entry


def test_a_journal_without_its_socket_gets_priorities_on_every_line() -> None:
    message, *fault = said("journal").splitlines()
    assert message == r"<4>camera.front: lost: unplugged and\x1b[2J more \udcff"
    assert fault[:2] == ["<4>camera.front: a fault", "<4>Traceback (most recent call last):"]
    assert fault[-1] == r"<4>ValueError: a\x1b[2Jb"


def test_the_hub_gets_everything_of_a_worker() -> None:
    assert said("worker").endswith("<7>hub: small talk\n")


def test_a_workers_line_is_logged_as_its_own(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("vigild").propagate = True
    caplog.set_level(logging.DEBUG, "vigild")
    assert log.relay("<4>camera.front: lost", "camera.front")
    assert not log.relay("[mjpeg @ 0x1] overread 8", "camera.front")
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
        ("vigild.camera.front", "WARNING", "lost"),
        ("vigild.camera.front", "DEBUG", "[mjpeg @ 0x1] overread 8"),
    ]


def test_what_a_library_says_is_relayed_without_credentials(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("vigild").propagate = True
    caplog.set_level(logging.DEBUG, "vigild")
    log.relay("[rtsp @ 0x1] cannot open rtsp://viewer:secret@10.0.0.7/", "camera.front")
    assert [r.message for r in caplog.records] == ["[rtsp @ 0x1] cannot open rtsp://***@10.0.0.7/"]


def test_a_condition_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("vigild").propagate = True
    caplog.set_level(logging.INFO, "vigild")
    condition = log.Condition(log.logger("disk"))
    for text in ("full", "full", "full", "read-only"):
        condition.begin(text)
    condition.end("fine again")
    condition.end("fine again")
    assert [r.message for r in caplog.records] == ["full", "read-only", "fine again"]
