"""What a client may say on the socket (protocol 1), and the reading of it.

    request = parse_request(b'{"type":"watch","labels":["person"]}')
    request = parse_request(b'{"type":"wotch"}')    # RequestError: there is no request "wotch"; ...

A request with a field that is not known is refused by name: a misspelt `min_scroe` that is silently
ignored would cost its author an evening. Optional fields are left out, never null.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vigild.closest import closest
from vigild.decoding import encoded
from vigild.wire.messages import RequestId, Topic

MAX_ID = 2**53
"""Where JavaScript's integers end."""

_Id = Annotated[str, Meta(max_length=256)] | Annotated[int, Meta(ge=-MAX_ID, le=MAX_ID)]
# An id is carried back in every answer, so it is bounded.

_Names = Annotated[list[str], Meta(min_length=1, max_length=1024)]


MIN_FPS = 0.001
"""One message in a quarter of an hour. Far smaller figures have no reciprocal: 1 / 5e-324 is infinite."""
MAX_FPS = 1000.0
MAX_THREADS = 64


class RequestError(Exception):
    """A request that cannot be carried out: becomes an `error` line, the connection stays open."""

    def __init__(self, code: str, message: str, id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        """A word for programs; docs/clients.md lists them."""
        self.message = message
        """One sentence: what was found, what was expected, what to do."""
        self.id = id


class Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type"
):
    """Base of the requests. `id` comes back in the answer."""

    id: _Id | UnsetType = UNSET


class Watch(Request, frozen=True, kw_only=True, tag="watch"):
    """Send me the stream. A second `watch` replaces the first."""

    cameras: _Names | UnsetType = UNSET
    """Default: all."""
    labels: _Names | UnsetType = UNSET
    """Default: all."""
    min_score: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    """In addition to the daemon's own model.min_score."""
    max_fps: Annotated[float, Meta(ge=MIN_FPS, le=MAX_FPS)] | UnsetType = UNSET
    """At most so many `detections` a second per camera."""
    events: Annotated[list[Topic], Meta(max_length=16)] | UnsetType = UNSET
    """Default: all three. Heartbeats come in any case."""
    empty: bool = False
    """Send every inferred frame, also those where nothing (of interest) is seen."""


class Unwatch(Request, frozen=True, kw_only=True, tag="unwatch"):
    """Stop the stream; the connection stays."""


class StatusRequest(Request, frozen=True, kw_only=True, tag="status"):
    """Health and a summary of the configuration, now."""


class SnapshotRequest(Request, frozen=True, kw_only=True, tag="snapshot"):
    """The last inferred frame as JPEG."""

    camera: str | UnsetType = UNSET
    """May be left out when there is one camera."""
    annotate: bool = False
    """Draw its boxes and labels."""


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Answered at once."""


class Set(Request, frozen=True, kw_only=True, tag="set"):
    """Change one configuration key until the next reload or start. Privileged."""

    key: Annotated[str, Meta(min_length=1, max_length=256)]
    """Dotted: "model.min_score"."""
    value: Any
    """As in the file: a number, a truth value, a text with its unit, a list."""


class Swap(Request, frozen=True, kw_only=True, tag="swap"):
    """Run another model. Privileged. The fields are keys of [model]; what is left out keeps its value,
    except that `labels` and `sha256`, which belong to the file, are forgotten."""

    path: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    variant: str | UnsetType = UNSET
    labels: str | UnsetType = UNSET
    sha256: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")] | UnsetType = UNSET
    runtime: str | UnsetType = UNSET
    delegate: str | UnsetType = UNSET
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)] | UnsetType = UNSET
    color: str | UnsetType = UNSET
    resize: str | UnsetType = UNSET


class Pause(Request, frozen=True, kw_only=True, tag="pause"):
    """Stop looking. Privileged."""

    camera: str | UnsetType = UNSET
    """Default: all."""


class Resume(Request, frozen=True, kw_only=True, tag="resume"):
    """Look again. Privileged."""

    camera: str | UnsetType = UNSET
    """Default: all."""


class Reload(Request, frozen=True, kw_only=True, tag="reload"):
    """Read the configuration file again. Privileged."""


AnyRequest = Watch | Unwatch | StatusRequest | SnapshotRequest | Ping | Set | Swap | Pause | Resume | Reload
PRIVILEGED = (Set, Swap, Pause, Resume, Reload)

_BY_TYPE: dict[str, type[Request]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Watch, Unwatch, StatusRequest, SnapshotRequest, Ping, Set, Swap, Pause, Resume, Reload)
}

_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)`", re.DOTALL)
_decode = msgspec.json.Decoder().decode


def _shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _nearest(word: str, known: list[str]) -> str:
    near = closest(word, known)
    return f' (did you mean "{near}"?)' if near else ""


def unknown(code: str, what: str, found: str, known: list[str], id: RequestId | None = None) -> RequestError:
    """The error for a name that is not among the known ones."""
    listed = ", ".join(known[:100]) + (", ..." if len(known) > 100 else "")
    hint = _nearest(found, known)
    return RequestError(code, f'there is no {what} "{_shorten(found)}"{hint}; known are: {listed or "none"}', id)


def _read(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RequestError("not_utf8", f"byte {error.start} of the line is not UTF-8 ({error.reason})") from None
    try:
        value = _decode(text)
    except msgspec.DecodeError as error:
        raise RequestError(
            "not_json", f'the line is not JSON: {error}; expected one object, as {{"type":"ping"}}'
        ) from None
    except RecursionError:
        raise RequestError("not_json", "the line is nested too deeply to be a request") from None
    if not isinstance(value, dict):
        raise RequestError("bad_request", 'the line is JSON, but not an object; expected one, as {"type":"ping"}')
    return value


def parse_request(line: bytes) -> AnyRequest:
    """Read one line, without its newline. Raises RequestError, with the request's id where it has one."""
    value = _read(line)
    id: RequestId | None = None
    if "id" in value:
        try:
            id = msgspec.convert(value["id"], _Id)
        except msgspec.ValidationError:
            raise RequestError(
                "bad_request",
                f"id must be a text of up to 256 characters or an integer from -{MAX_ID} to {MAX_ID}, "
                f"and is {_shown(value['id'])}",
            ) from None
    name = value.get("type")
    if not isinstance(name, str):
        found = "no type" if name is None else "a type that is not a text"
        raise RequestError("bad_request", f"the request has {found}; expected one of: {', '.join(_BY_TYPE)}", id)
    kind = _BY_TYPE.get(name)
    if kind is None:
        raise unknown("unknown_type", "request", name, list(_BY_TYPE), id)
    try:
        request = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        match = _UNKNOWN_FIELD.search(str(error))
        if match is None:
            raise RequestError("bad_request", f"{name}: {_sentence(str(error), value)}", id) from None
        fields = list(kind.__struct_encode_fields__)
        raise unknown("unknown_field", f'field of "{name}" called', match[1], fields, id) from None
    if isinstance(request, Set) and request.value is None:
        raise RequestError("bad_request", "set: value is null; expected a number, a truth value, a text or a list", id)
    return request  # type: ignore[return-value]


_NUMBERS = {
    "min_score": "a number from 0 to 1",
    "max_fps": f"a number from {MIN_FPS:g} to {MAX_FPS:g}",
    "threads": f"an integer from 1 to {MAX_THREADS}",
}
"""What is allowed, for each field that is a number."""


def _shown(value: object) -> str:
    return _shorten(encoded(msgspec.json.encode, value).decode())


def _sentence(text: str, request: dict[str, Any]) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.camera`" with the field in front."""
    what, _, where = text.partition(" - at ")
    field = where.strip("`").removeprefix("$.").removeprefix("$")
    if field in _NUMBERS:
        return f"{field}: found {_shown(request[field])}; expected {_NUMBERS[field]}"
    what = what[:1].lower() + what[1:].replace("`", "")
    return f"{field}: {what}" if field else what
