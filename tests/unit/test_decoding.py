"""Bytes that others wrote are refused in one way, wherever they come in: never a UnicodeDecodeError."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.catalogue import profile
from vigild.catalogue.download import Partial
from vigild.cli.control import parse_value
from vigild.client.session import Exchange, ProtocolError
from vigild.config.schema import DaemonConfig
from vigild.decoding import decoded, encoded
from vigild.detector import anchors
from vigild.doctor.service import find_daemon
from vigild.ipc.channel import Channel
from vigild.sandbox import parent
from vigild.tune import cocofile, trials
from vigild.wire.framing import parse_server_message
from vigild.wire.messages import Pong
from vigild.wire.requests import Ping

NOT_UTF8 = [b'{"type":"pong","id":"\xff"}', b'{"\xff":1}', b'{"type":"\xed\xa0\x80"}', b"\xff\xfe"]
NESTED = b"[" * 100_000
DAMAGED = [*NOT_UTF8, NESTED, b"", b'"', b"\0"]

damaged = pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:12]))


@damaged
@pytest.mark.parametrize("kind", [Any, dict[str, Any], list[str]])
def test_whatever_is_wrong_is_one_exception(data: bytes, kind: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        decoded(msgspec.json.Decoder(kind).decode, data)


def test_the_sentence_says_what_is_wrong() -> None:
    # msgspec says it itself from 0.23 on, without the place.
    said = r"^(byte 0 is not UTF-8 \(invalid start byte\)|Invalid UTF-8 encoded string)$"
    with pytest.raises(msgspec.DecodeError, match=said):
        decoded(msgspec.json.decode, NOT_UTF8[0])
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decoded(msgspec.json.decode, NESTED)
    with pytest.raises(msgspec.DecodeError, match="a text is not UTF-8"):
        decoded(msgspec.json.decode, '"\udcff"')


def test_a_name_that_is_no_utf8_can_be_sent() -> None:
    value = {"\udcff": ["a\x1b\udc80", b"\xff", 1.5, None, Pong(id="\udcff")]}
    sent = msgspec.msgpack.decode(encoded(msgspec.msgpack.encode, value))
    assert sent == {"\ufffd": ["a\x1b\ufffd", b"\xff", 1.5, None, {"type": "pong", "id": "\ufffd"}]}
    assert encoded(msgspec.json.encode, Pong(id="\udcff")) == '{"type":"pong","id":"\ufffd"}'.encode()
    assert encoded(msgspec.json.encode, {"a": b"\xff", "b": "\udcff"}) == '{"a":"/w==","b":"\ufffd"}'.encode()


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        with contextlib.suppress(msgspec.DecodeError):
            decoded(decode, data)


@damaged
def test_the_daemons_lines(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_server_message(data)
    if data:
        with pytest.raises(ProtocolError, match="a line that is not protocol"):
            Exchange(Ping(), Pong).receive(data + b"\n")


@damaged
def test_messages_between_hub_and_workers(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Path(os.devnull).open() as file:
        packet = b"\xa1\xff" if data in NOT_UTF8 else b"\x91" * 60_000 if data == NESTED else b"\xc1"
        socket.send_fds(theirs, [packet], [file.fileno()])
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(msgspec.DecodeError):
            Channel(ours, Any).receive()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


@damaged
def test_what_a_child_in_the_sandbox_said(data: bytes) -> None:
    assert parent._lines(data + b'\n{"answer":{}}\n' + data) == [{"answer": {}}]


@damaged
def test_what_listens_where_a_daemon_should(tmp_path: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def greet() -> None:
            with listening.accept()[0] as sock:
                sock.sendall(data + b"\n")

        thread = threading.Thread(target=greet)
        thread.start()
        found = find_daemon(DaemonConfig(), str(tmp_path / "s"))
        thread.join()
    assert found.hello is None and "does not greet like a vigild" in found.reason


@pytest.mark.parametrize("text", [os.fsdecode(b'"\xff"'), os.fsdecode(b"\xff"), "[" * 100_000, '"', ""])
def test_what_was_typed_and_is_no_json_is_a_text(text: str) -> None:
    assert parse_value(text) == text


@damaged
def test_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(profile.ProfileError):
        profile.load(path)
    with pytest.raises(cocofile.AnnotationsError):
        cocofile.read(path)
    subject = trials.Subject(**dict.fromkeys(trials.Subject.__struct_fields__, ""))
    assert trials.load(path, subject)[1].endswith("is damaged")
    (tmp_path / "model.anchors.json").write_bytes(data)
    with pytest.raises(anchors.ModelError):
        anchors.sidecar(str(tmp_path / "model.tflite"))


@damaged
def test_what_is_kept_about_a_download(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.part.json").write_bytes(data)
    with Partial(tmp_path / "model") as partial:
        assert partial.source() == {}


def test_nothing_decodes_what_others_wrote_without_care() -> None:
    """Every module that calls msgspec's decoding is in this file, or decodes what its own parent or child wrote."""
    package = Path(sys.modules["vigild"].__path__[0])
    callers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(
            word in path.read_text() for word in ("json.decode", "msgpack.decode", "json.Decoder(", ".msgpack.Decoder")
        )
    }
    tested = {
        "catalogue/download.py", "catalogue/profile.py", "catalogue/resolve.py", "cli/control.py", "decoding.py",
        "detector/anchors.py", "doctor/service.py", "ipc/channel.py", "learned.py", "sandbox/parent.py",
        "tune/cocofile.py", "tune/trials.py", "wire/framing.py", "wire/requests.py",
    }  # fmt: skip
    from_their_parent = {"doctor/tasks.py", "selftest/tasks.py", "tune/tasks.py"}
    from_their_child = {"tune/load.py"}
    assert callers <= tested | from_their_parent | from_their_child
