"""Reading requests: every fault has a code, a sentence that names it, and the request's id."""

import json
from typing import Any

import msgspec.inspect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigild.config.keys import set_keys
from vigild.config.load import ConfigError, load
from vigild.wire import requests
from vigild.wire.framing import encode_line
from vigild.wire.messages import Error
from vigild.wire.requests import (
    Ping,
    RequestError,
    Set,
    SnapshotRequest,
    Swap,
    Watch,
    parse_request,
)


def parse(**fields: Any) -> Any:
    return parse_request(json.dumps(fields).encode())


def test_requests_are_read() -> None:
    assert parse(type="ping") == Ping()
    assert parse(type="watch", labels=["person"], min_score=0.5, id="a") == Watch(
        id="a", labels=["person"], min_score=0.5
    )
    assert parse(type="snapshot", annotate=True) == SnapshotRequest(annotate=True)
    assert parse(type="set", key="model.min_score", value=0.4) == Set(key="model.min_score", value=0.4)
    assert parse(type="swap", path="/m.tflite") == Swap(path="/m.tflite")


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b'{"type":"ping"', "not_json", "not JSON"),
        (b'{"type":"p\xffng"}', "not_utf8", "byte 10"),
        (b"[1]", "bad_request", "not an object"),
        (b"[" * 60_000, "not_json", "nested too deeply"),
        (b'{"a":NaN}', "not_json", "not JSON"),
        (b'\xef\xbb\xbf{"type":"ping"}', "not_json", "not JSON"),
        (b"{}", "bad_request", "no type"),
        (b'{"type":7}', "bad_request", "not a text"),
        (b'{"type":"wotch"}', "unknown_type", 'did you mean "watch"?'),
        (b'{"type":"watch","min_scroe":0.5}', "unknown_field", 'called "min_scroe" (did you mean "min_score"?)'),
        (b'{"type":"ping","camera":"front"}', "unknown_field", "known are: id"),
        (b'{"type":"watch","cameras":null}', "bad_request", "cameras"),
        (b'{"type":"watch","cameras":[]}', "bad_request", "cameras"),
        (b'{"type":"watch","labels":"person"}', "bad_request", "labels"),
        (b'{"type":"watch","min_score":1.5}', "bad_request", "min_score: found 1.5; expected a number from 0 to 1"),
        (b'{"type":"watch","min_score":"0.5"}', "bad_request", 'found "0.5"; expected a number'),
        (b'{"type":"watch","max_fps":0}', "bad_request", "max_fps: found 0; expected a number from 0.001 to 1000"),
        (b'{"type":"watch","max_fps":5e-324}', "bad_request", "found 5e-324; expected a number from 0.001 to 1000"),
        (b'{"type":"watch","max_fps":1e308}', "bad_request", "expected a number from 0.001 to 1000"),
        (b'{"type":"watch","max_fps":1e999}', "not_json", "out of range"),
        (b'{"type":"swap","threads":0}', "bad_request", "found 0; expected an integer from 1 to 64"),
        (b'{"type":"swap","threads":1.5}', "bad_request", "found 1.5; expected an integer from 1 to 64"),
        (b'{"type":"swap","threads":' + b"9" * 400 + b"}", "bad_request", "expected an integer from 1 to 64"),
        (b'{"type":"watch","events":["detection"]}', "bad_request", "events"),
        (b'{"type":"snapshot","annotate":1}', "bad_request", "annotate"),
        (b'{"type":"set","key":"a.b"}', "bad_request", "value"),
        (b'{"type":"set","key":"a.b","value":null}', "bad_request", "value is null"),
        (b'{"type":"swap","sha256":"abc"}', "bad_request", "sha256"),
    ],
)
def test_faults_are_named(line: bytes, code: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(line)
    assert caught.value.code == code
    assert says in caught.value.message


@pytest.mark.parametrize("id", ["x", 0, -1, 2**53, "é" * 256])
def test_a_refused_request_keeps_its_id(id: str | int) -> None:
    with pytest.raises(RequestError) as caught:
        parse(type="watch", id=id, wrong=1)
    assert caught.value.id == id


@pytest.mark.parametrize("id", [1.5, None, [], {}, True, "x" * 257, 2**53 + 1, 10**40])
def test_an_id_that_cannot_be_carried_back_is_refused(id: Any) -> None:
    with pytest.raises(RequestError, match="id must be") as caught:
        parse(type="ping", id=id)
    assert caught.value.id is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
fields = st.sampled_from(["id", "type", "cameras", "labels", "min_score", "key", "value", "camera", "path", "x"])
types = st.sampled_from(["watch", "unwatch", "status", "snapshot", "ping", "set", "swap", "pause", "resume", "reload"])


def answered(line: bytes) -> None:
    """Whatever comes, it is a request, or an error that can be sent."""
    try:
        parse_request(line)
    except RequestError as error:
        sent = encode_line(Error(id=error.id, code=error.code, message=error.message))
        assert json.loads(sent)["code"] == error.code
        assert sent.count(b"\n") == 1
        assert len(sent) < 70_000


@given(st.binary(max_size=200))
def test_random_bytes_are_answered(line: bytes) -> None:
    answered(line)


@given(json_values)
def test_random_json_is_answered(value: Any) -> None:
    answered(json.dumps(value).encode())


@given(types, st.dictionaries(fields | st.text(max_size=5), json_values))
def test_random_fields_are_answered(name: str, rest: dict[str, Any]) -> None:
    answered(json.dumps({"type": name} | rest).encode())


@given(st.text(alphabet='\\"ud8{}[]:,typeping\x00', max_size=40))
def test_broken_escapes_are_answered(text: str) -> None:
    answered(b'{"type":"ping","id":"' + text.encode() + b'"}')


def test_every_number_of_a_request_is_bounded_on_both_sides() -> None:
    """A field that is added without bounds, or without a sentence that names them, is found here."""
    for kind in requests.AnyRequest.__args__:
        for field in msgspec.structs.fields(kind):
            wanted = {"min_score", "max_fps", "threads"} if field.name in requests._NUMBERS else set()
            options = getattr(msgspec.inspect.type_info(field.type), "types", (msgspec.inspect.type_info(field.type),))
            for option in options:
                if isinstance(option, msgspec.inspect.IntType | msgspec.inspect.FloatType):
                    assert option.le is not None and option.ge is not None, (kind, field.name)
                    assert field.name == "id" or field.name in wanted, (kind, field.name)


@pytest.mark.parametrize("key", ["camera.front.fps", "camera.front.priority", "budget.min_fps", "model.std"])
@pytest.mark.parametrize("value", [5e-324, 10**400, -1, 0])
def test_numbers_of_a_set_that_have_no_reciprocal_are_refused(key: str, value: float) -> None:
    config = load('[camera.front]\nsource = "testcard"\n')
    with pytest.raises(ConfigError):
        set_keys(config, {key: [value] * 3 if key == "model.std" else value})
