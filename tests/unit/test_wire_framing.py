"""Bytes to lines: the same events however the stream is cut."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.wire.framing import (
    MAX_REQUEST_BYTES,
    FramingLost,
    Line,
    LineReceiver,
    TooLong,
    Unfinished,
    encode_line,
    parse_server_message,
)
from vigild.wire.messages import Heartbeat, Pong


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def events_of(pieces: list[bytes], limit: int = 8, skip: int = 40) -> list[object]:
    receiver = LineReceiver(limit, skip)
    found: list[object] = [event for piece in pieces for event in receiver.receive(piece)]
    return found + list(receiver.receive_eof())


def test_lines_come_without_newline_and_carriage_return() -> None:
    assert events_of([b"one\ntwo\r\n"]) == [Line(b"one"), Line(b"two")]


def test_blank_lines_are_passed_over() -> None:
    assert events_of([b"\n\r\n  \n\t\na\n"]) == [Line(b"a")]


def test_a_line_of_just_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert events_of([b"12345678\n"]) == [Line(b"12345678")]
    assert events_of([b"123456789\n"]) == [TooLong(8)]


def test_a_long_line_is_reported_once_and_skipped_to_its_newline() -> None:
    assert events_of([b"x" * 20, b"y" * 10 + b"\nok\n"]) == [TooLong(8), Line(b"ok")]


def test_a_long_line_is_reported_before_it_ends() -> None:
    assert LineReceiver(8).receive(b"123456789") == [TooLong(8)]


def test_without_a_newline_for_too_long_the_framing_is_lost_for_good() -> None:
    assert events_of([b"x" * 41, b"\nok\n"]) == [TooLong(8), FramingLost(40)]


def test_a_line_without_its_newline_does_not_count() -> None:
    assert events_of([b'{"a":1}']) == [Unfinished(7)]
    assert events_of([b"a\n  "]) == [Line(b"a")]


@given(
    st.lists(st.one_of(st.binary(max_size=12), st.just(b"\n"), st.just(b"x" * 30), st.just(b"\r\n"))),
    st.lists(st.integers(0, 10_000)),
)
def test_random_cuts_give_identical_events(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    whole = events_of([data])
    assert events_of(cut(data, places)) == whole
    assert events_of([data[i : i + 1] for i in range(len(data))]) == whole


@given(st.lists(st.binary(max_size=8).filter(lambda b: b"\n" not in b and b.strip())))
def test_every_line_within_the_limit_arrives_once_and_in_order(lines: list[bytes]) -> None:
    expected = [Line(line.rstrip(b"\r")) for line in lines]
    assert events_of([b"".join(line + b"\n" for line in lines)]) == expected


def test_the_longest_request_arrives_byte_by_byte() -> None:
    receiver = LineReceiver(MAX_REQUEST_BYTES)
    for _ in range(MAX_REQUEST_BYTES):
        assert receiver.receive(b"x") == []
    assert receiver.receive(b"\n") == [Line(b"x" * MAX_REQUEST_BYTES)]


def test_absent_fields_are_left_out_and_never_null() -> None:
    assert encode_line(Pong()) == b'{"type":"pong"}\n'
    assert encode_line(Pong(id=3)) == b'{"type":"pong","id":3}\n'


def test_a_client_reads_what_it_knows_and_ignores_the_rest() -> None:
    line = b'{"type":"heartbeat","camera":"front","status":"ok","frame":3,"new_in_1.7":[1]}'
    assert parse_server_message(line) == Heartbeat(camera="front", status="ok", frame=3)
    assert parse_server_message(b'{"type":"from_a_later_version","x":1}') is None


def test_a_known_type_with_wrong_contents_is_an_error() -> None:
    with pytest.raises(Exception, match="frame"):
        parse_server_message(b'{"type":"heartbeat","camera":"front","status":"ok","frame":"three"}')


def test_an_answer_nested_too_deeply_is_an_error_like_others() -> None:
    for line in (b"[" * 50_000, b'{"type":"later","x":' + b"[" * 50_000):
        with pytest.raises(msgspec.DecodeError):
            parse_server_message(line)
