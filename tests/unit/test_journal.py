"""Entries as journald takes them, and what happens when it does not."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from vigild import journal, log
from vigild.datagrams import Datagrams


def decode(data: bytes) -> dict[str, str]:
    """As journald reads an entry."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", rest)
            value, end = rest[8 : 8 + length], rest[8 + length : 9 + length]
            assert end == b"\n"
            rest = rest[9 + length :]
        fields[name.decode()] = value.decode()
        data = rest
    return fields


class Journald:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.listen()

    def listen(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.sock.setblocking(False)

    def restart(self) -> None:
        self.sock.close()
        self.path.unlink()
        self.listen()

    def entries(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                found.append(decode(self.sock.recv(2**18)))
            except BlockingIOError:
                return found


@pytest.fixture
def journald(tmp_path: Path) -> Journald:
    return Journald(tmp_path / "socket")


@pytest.fixture
def logger(journald: Journald) -> Iterator[logging.Logger]:
    logger = logging.getLogger("journaltest.camera.front")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(journal.JournalHandler("journaltest", Datagrams(str(journald.path))))
    yield logger
    logger.handlers.clear()


def test_an_entry_has_its_fields(journald: Journald, logger: logging.Logger) -> None:
    logger.warning("lost: %s", "unplugged", extra={"fields": {"VIGILD_EVENT": "camera_lost"}})
    (entry,) = journald.entries()
    assert entry.pop("CODE_LINE").isdecimal()
    assert entry == {
        "MESSAGE": "camera.front: lost: unplugged",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "vigild",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_an_entry_has_its_fields",
        "VIGILD_PART": "camera.front",
        "VIGILD_CAMERA": "front",
        "VIGILD_EVENT": "camera_lost",
    }


def test_several_lines_are_one_entry(journald: Journald, logger: logging.Logger) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("a request failed")
    (entry,) = journald.entries()
    assert entry["MESSAGE"].startswith("camera.front: a request failed\nTraceback")
    assert entry["MESSAGE"].endswith("ValueError: two\nlines")
    assert entry["PRIORITY"] == "3"


def test_a_line_break_cannot_forge_a_field(journald: Journald, logger: logging.Logger) -> None:
    logger.info("%s", "x\nPRIORITY=0\nMESSAGE=forged")
    (entry,) = journald.entries()
    assert entry["PRIORITY"] == "6"
    assert entry["MESSAGE"] == "camera.front: x\nPRIORITY=0\nMESSAGE=forged"


def test_what_is_too_long_is_cut(journald: Journald, logger: logging.Logger) -> None:
    logger.info("%s", "x" * 10**6)
    (entry,) = journald.entries()
    assert len(entry["MESSAGE"]) == journal.MAX_VALUE_BYTES


def test_a_surrogate_is_no_reason_to_be_silent(journald: Journald, logger: logging.Logger) -> None:
    logger.info("file %s", b"\xff.jpg".decode("utf-8", "surrogateescape"))
    assert journald.entries()[0]["MESSAGE"] == "camera.front: file ?.jpg"


def test_a_stalled_journald_is_not_waited_for_and_hears_of_it(journald: Journald, logger: logging.Logger) -> None:
    handler = logger.handlers[0]
    assert isinstance(handler, journal.JournalHandler)
    for number in range(1000):
        logger.info("%d", number)
    dropped = handler.dropped
    assert 0 < dropped < 1000
    taken = journald.entries()
    assert [entry["MESSAGE"] for entry in taken] == [f"camera.front: {n}" for n in range(1000 - dropped)]
    logger.info("awake")
    logger.info("and on")
    awake, loss, after = journald.entries()
    assert awake["MESSAGE"] == "camera.front: awake"
    assert loss["VIGILD_DROPPED"] == str(dropped)
    assert str(dropped) in loss["MESSAGE"]
    assert after["MESSAGE"] == "camera.front: and on"


def test_a_journald_that_was_restarted_is_found_again(journald: Journald, logger: logging.Logger) -> None:
    logger.info("before")
    journald.restart()
    logger.info("after")
    assert [entry["MESSAGE"] for entry in journald.entries()] == ["camera.front: after"]


def test_a_record_that_cannot_be_written_stops_nothing(
    journald: Journald, logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 1, "%d", ("not a number",), None)
    logger.handlers[0].handle(record)
    assert journald.entries() == []
    assert capfd.readouterr().err == ""


def test_events_are_for_the_journal_alone(journald: Journald, capfd: pytest.CaptureFixture[str]) -> None:
    log.event("camera_lost", "unplugged", camera="front")
    assert capfd.readouterr() == ("", "")
    events = logging.getLogger("vigild.event")
    handler = journal.JournalHandler("vigild", Datagrams(str(journald.path)))
    events.addHandler(handler)
    level = events.level
    events.setLevel(logging.INFO)
    try:
        log.event("camera_lost", "unplugged", camera="front")
        log.event("model", "replaced")
    finally:
        events.removeHandler(handler)
        events.setLevel(level)
    lost, model = journald.entries()
    assert lost["MESSAGE"] == "event: camera_lost front: unplugged"
    assert (lost["VIGILD_EVENT"], lost["VIGILD_CAMERA"], lost["VIGILD_REASON"]) == ("camera_lost", "front", "unplugged")
    assert model["MESSAGE"] == "event: model: replaced"
    assert "VIGILD_CAMERA" not in model
