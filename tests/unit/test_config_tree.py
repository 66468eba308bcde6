"""Tables and named tables to any depth, from document to reference: a schema of its own, which the reader never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from vigild.config.changes import Changes, diff, new_code, taken_up
from vigild.config.document import Document
from vigild.config.fields import Field
from vigild.config.keys import flatten, set_keys
from vigild.config.load import Builder, ConfigError, load_as
from vigild.config.reference import reference
from vigild.config.schema import Seconds, Text, key, named
from vigild.config.tree import find, tables, tree

Share = Annotated[float, Meta(ge=0, le=1)]


class Alarm(msgspec.Struct, kw_only=True, frozen=True):
    """Who is told of a zone."""

    after: Annotated[Seconds, key("live", "How long before.", ge=0, le=60)] = 2.0
    line: Annotated[int, key("zone", "A pin of the board.", ge=0, le=40)] = 0


class Zone(msgspec.Struct, kw_only=True, frozen=True):
    """A part of the picture."""

    points: Annotated[list[tuple[Share, Share]], key("live", "Its corners.", example="[[0, 0]]", min_length=1)]
    kind: Annotated[Literal["in", "out"], key("live", "What of it counts.")] = "in"
    alarm: Annotated[dict[str, Alarm], named("bell")] = {}


class Mask(msgspec.Struct, kw_only=True, frozen=True):
    """What is painted over."""

    left: Annotated[Share, key("camera", "From the left.", example="0.5")]
    inner: dict[str, Network] = {}


class Camera(msgspec.Struct, kw_only=True, frozen=True):
    """A camera."""

    source: Annotated[str, key("camera", "Where from.", example='"testcard"', target="source")]
    zone: Annotated[dict[str, Zone], named("door")] = {}
    mask: dict[str, Mask] = {}


class Sink(msgspec.Struct, kw_only=True, frozen=True):
    """Where detections are carried to."""

    host: Annotated[Text, key("sink", "A machine.", example='"broker"')]
    keep: Annotated[bool, key("live", "Whether they are kept.")] = False
    run: Annotated[str, key("live", "A program for each.", target="command")] = ""
    pipe: Annotated[list[str], key("live", "A program and its arguments.", target="command")] = []


class Listener(msgspec.Struct, kw_only=True, frozen=True):
    """A port."""

    port: Annotated[int, key("restart", "Its number.", ge=1, le=65535)] = 80


class Quiet(msgspec.Struct, kw_only=True, frozen=True):
    """Hours of rest."""

    begin: Annotated[
        str, key("live", "From.", pattern="^[0-2][0-9]:[0-5][0-9]$", form='a time, "22:00"', example='"22:00"')
    ]
    end: Annotated[str, key("live", "To.")] = "07:00"


class Slow(msgspec.Struct, kw_only=True, frozen=True):
    """What is done when it is hot."""

    fps: Annotated[float, key("live", "Frames a second.", ge=0.1, le=100)] = 1.0
    start: Annotated[int, key("restart", "Of what only a start takes up.")] = 0


class Budget(msgspec.Struct, kw_only=True, frozen=True):
    """Heat."""

    dwell: Annotated[Seconds, key("live", "Between two steps.", ge=0)] = 10.0
    slow: Slow = Slow()
    quiet: Quiet | None = None


class Network(msgspec.Struct, kw_only=True, frozen=True):
    """What runs."""

    path: Annotated[Text | None, key("detector", "A file.", example='"m.tflite"', target="file")] = None
    parts: Annotated[list[str], key("detector", "Files.", target="file")] = []


class House(msgspec.Struct, kw_only=True, frozen=True):
    """A whole file."""

    budget: Budget = Budget()
    network: dict[str, Network] = {}
    camera: Annotated[dict[str, Camera], named("front", shown=True)] = {}
    sink: dict[str, Sink] = {}
    listen: dict[str, Listener] = {}


TEXT = """
[budget.slow]
fps = 2
[camera.front]
source = "testcard"
[camera.front.zone.door]
points = [[0, 0], [1, 0], [1, 1]]
[camera.front.zone.door.alarm.bell]
after = "5 s"
[camera.back]
source = "testcard"
[sink.mqtt]
host = "broker"
"""


def read(text: str, *overrides: str) -> House:
    return load_as(House, text, overrides)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(text, *overrides)
    return refused.value.problems


def changes(*overrides: str, before: str = TEXT, after: str | None = None) -> Changes:
    return diff(read(before), read(before if after is None else after, *overrides))


BASE = read(TEXT)
BELL = "camera.front.zone.door.alarm.bell"

# ---- document and values


def test_tables_in_tables_are_read() -> None:
    door = BASE.camera["front"].zone["door"]
    assert door.points == [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    assert door.alarm == {"bell": Alarm(after=5.0)}
    assert BASE.budget == Budget(slow=Slow(fps=2.0))
    assert BASE.sink == {"mqtt": Sink(host="broker")}
    assert read("") == House()
    assert read("[budget.quiet]\nbegin = '22:00'").budget.quiet == Quiet(begin="22:00")


def test_file_names_are_relative_to_the_folder_at_every_depth() -> None:
    text = "[network.a]\npath = 'm'\nparts = ['x', '/y']\n[camera.c]\nsource = 'images:i'"
    config = load_as(House, text, folder=Path("/etc/v"))
    assert config.network == {"a": Network(path="/etc/v/m", parts=["/etc/v/x", "/y"])}
    assert config.camera["c"].source == "images:/etc/v/i"
    with pytest.raises(ConfigError, match="a relative path; write an absolute one"):
        set_keys(config, {"network.a.parts": ["/x", "y"]})


def test_an_override_reaches_every_depth_and_texts_need_no_quotes() -> None:
    config = read(TEXT, f"{BELL}.after=1 min", "sink.mqtt.host=10", "camera.front.zone.'door'.kind=out")
    assert config.camera["front"].zone["door"].alarm["bell"].after == 60.0
    assert config.sink["mqtt"].host == "10"
    assert config.camera["front"].zone["door"].kind == "out"
    assert read(TEXT, "sink.other.host=h").sink["other"] == Sink(host="h")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (f"{BELL}.after=2 h", f'{BELL}.after: found "2 h", expected a duration from "0 s" to "1 min"'),
        (f"{BELL}.after=5", 'a number needs a unit: write "5 s"'),
        (f"{BELL}.afer='5 s'", f'{BELL}.afer: unknown key (found "5 s"); did you mean after?'),
        ("camera.front.zone.door.alrm.x.after='5 s'", "door.alrm: unknown key (found a table); did you mean alarm?"),
        ("camera.front.zone.door.kind=at", 'camera.front.zone.door.kind: found "at", expected "in" or "out"'),
        ("camera.front.zone.door.points=[[0, 2]]", "found 2, expected a number from 0 to 1"),
        ("camera.front.zone.door.points=[]", "camera.front.zone.door.points: found [], expected an array, each"),
        ("camera.front.zone.door=1", "camera.front.zone.door: found 1, expected a table [camera.front.zone.NAME]"),
        ("camera.front.zone=1", "camera.front.zone: found 1, expected a table: [camera.front.zone.NAME]"),
        ("camera.front.zone.kind='in'", "kind belongs into a zone's own table: [camera.front.zone.door]"),
        ("camera.front.zone.'a b'.points=[[0, 0]]", 'camera.front.zone."a b": found the zone name "a b", expected'),
        ("sink.'a.b'.host=h", 'sink."a.b": found the sink name "a.b", expected 1 to 64 letters'),
        ("sink.host=broker", "host belongs into a sink's own table: [sink.NAME]"),
        ("sink.mqtt.keep=yes", 'sink.mqtt.keep: found "yes", expected true or false'),
        ("zone.door.kind=in", "zone: unknown table (found a table); did you mean camera.NAME.zone?"),
        ("sink.mqtt.after='5 s'", "did you mean camera.NAME.zone.NAME.alarm.NAME.after?"),
        ("budget.fps=5", "budget.fps: unknown key (found 5); did you mean budget.slow.fps?"),
        ("budget.slow=5", "budget.slow: found 5, expected a table: [budget.slow]"),
        ("budget.quiet.end=06:00", 'budget.quiet: begin is missing; set it, for example begin = "22:00"'),
        ("budget.quiet.begin=late", 'budget.quiet.begin: found "late", expected a time, "22:00"'),
        ("sink.x.keep=true", 'sink.x: host is missing; set it, for example host = "broker"'),
        ("camera.front.zone.x.kind=in", "zone.x: points is missing; set it, for example points = [[0, 0]]"),
    ],
)
def test_what_is_wrong_is_named_at_every_depth(override: str, says: str) -> None:
    (line,) = problems(TEXT, override)
    assert line.startswith((f"-o {override}: ", "vigild.toml: "))
    assert says in line


def test_all_problems_of_all_depths_are_found_at_once() -> None:
    found = problems(TEXT, f"{BELL}.line=99", "camera.side.zone.x.kind=in", "sink.x.keep=no", "budget.slow.fps=0")
    assert len(found) == 6  # two are missing a key beside what is wrong with them


# ---- what a reload does


@pytest.mark.parametrize(
    ("overrides", "told", "expected"),
    [
        ((f"{BELL}.after=1 s",), f"taken up: {BELL}.after", {"changed": ["front"]}),
        ((f"{BELL}.line=4",), "zone reopened: camera.front.zone.door (alarm.bell.line)", {"changed": ["front"]}),
        (("camera.back.zone.x.points=[[0, 0]]",), "zone added: camera.back.zone.x", {"changed": ["back"]}),
        (
            ("camera.back.mask.x.left=0.5",),
            "mask added: camera.back.mask.x; camera reopened: back (mask.x)",
            {"changed": ["back"], "reopened": ["back"]},
        ),
        (
            ("camera.back.mask.x={left = 0.5, inner = {n = {}}}",),
            "new detector for: camera.back.mask.x; mask added: camera.back.mask.x; camera reopened: back (mask.x)",
            {"changed": ["back"], "reopened": ["back"]},
        ),
        (("camera.front.source=/dev/video0",), "camera reopened: front (source)", {"reopened": ["front"]}),
        (("camera.side.source=testcard",), "camera added: side", {"added": ["side"], "changed": [], "reopened": []}),
        (("budget.quiet.begin=22:00",), "taken up: budget.quiet", {}),
        (
            ("budget.slow.fps=3", "budget.slow.start=1"),
            "taken up: budget.slow.fps; ignored until restart: budget.slow.start",
            {},
        ),
        (("network.a.path=/m",), "new detector for: network.a; network added: a", {}),
        (("listen.web.port=81",), "ignored until restart: listen.web", {}),
        (("sink.mqtt.host=h", "sink.x.host=h"), "sink added: x; sink reopened: mqtt (host)", {}),
    ],
)
def test_each_change_says_what_happens(overrides: tuple[str, ...], told: str, expected: dict[str, list[str]]) -> None:
    found = changes(*overrides)
    assert found.describe() == told
    for what, names in expected.items():
        assert getattr(found, what)("camera") == names


def test_named_tables_come_and_go_at_every_depth() -> None:
    gone = diff(BASE, msgspec.structs.replace(BASE, sink={}, camera={"front": Camera(source="testcard")}))
    assert gone.removed("sink") == ["mqtt"]
    assert gone.removed("camera") == ["back"]
    assert gone.removed("camera", "front", "zone") == ["door"]
    assert gone.changed("camera") == ["front"]
    assert gone.reopened("camera") == []
    assert gone.describe() == "zone removed: camera.front.zone.door; camera removed: back; sink removed: mqtt"
    zones = changes("camera.front.zone.x.points=[[0, 0]]", f"{BELL}.line=1")
    assert zones.added("camera", "front", "zone") == ["x"]
    assert zones.reopened("camera", "front", "zone") == zones.changed("camera", "front", "zone") == ["door"]
    assert zones.added("camera") == []


def test_what_waits_for_a_restart_stays_as_it_was() -> None:
    before = read(TEXT + "[listen.web]\nport = 80\n[listen.other]\n")
    after = read(TEXT.replace("fps = 2", "fps = 3\nstart = 1") + "[listen.web]\nport = 81\n[listen.new]\n")
    assert diff(before, after).restart == ["budget.slow.start", "listen.web.port", "listen.new", "listen.other"]
    in_force = taken_up(before, after)
    assert in_force.listen == before.listen
    assert in_force.budget.slow == Slow(fps=3.0)
    assert not diff(in_force, taken_up(before, after))


def test_what_would_be_run_is_found_wherever_it_is() -> None:
    new = read(TEXT, "sink.mqtt.run=rm -r /", "camera.side.source=exec:cat x")
    assert new_code(BASE, new) == ["camera.side.source: an exec: source", "sink.mqtt.run: a command"]
    assert new_code(BASE, read(TEXT, "sink.x={host = 'h', pipe = ['rm']}")) == ["sink.x.pipe: a command"]
    assert new_code(new, new) == []
    assert new_code(new, BASE) == []


# ---- single keys


def test_what_is_shown_can_be_set() -> None:
    shown = flatten(BASE)
    assert shown[f"{BELL}.after"] == "5 s"
    assert shown["camera.front.zone.door.points"] == [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    assert shown["budget.slow.fps"] == 2.0
    assert not [name for name in shown if name.startswith("budget.quiet")]
    assert set_keys(BASE, shown) == BASE


def test_single_keys_are_set_at_every_depth() -> None:
    new = set_keys(BASE, {f"{BELL}.after": "1 s", "budget.slow.fps": 4, "sink.mqtt.keep": True})
    assert diff(BASE, new).live == ["budget.slow.fps", f"{BELL}.after", "sink.mqtt.keep"]
    assert set_keys(new, {f"{BELL}.after": None}).camera["front"].zone["door"].alarm["bell"] == Alarm()
    quiet = set_keys(BASE, {"budget.quiet.end": "06:00", "budget.quiet.begin": "22:00"})
    assert quiet.budget.quiet == Quiet(begin="22:00", end="06:00")
    assert set_keys(quiet, {"budget.quiet.end": None}).budget.quiet == Quiet(begin="22:00")
    assert set_keys(BASE, {"budget.quiet.end": None}) == BASE


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (f"{BELL}.line", 99, f"{BELL}.line: found 99, expected a whole number from 0 to 40"),
        (f"{BELL}.lin", 9, f"{BELL}.lin: unknown key (found 9); did you mean line?"),
        ("camera.front.zone.x.kind", "in", 'there is no zone "x"; the zones are: door'),
        ("camera.back.zone.x.kind", "in", 'there is no zone "x"; the zones are: none'),
        ("camera.x.zone.door.kind", "in", 'there is no camera "x"; the cameras are: front, back'),
        ("camera.front.zone.kind", "in", "not the name of one key; expected camera.NAME.zone.NAME.KEY"),
        ("budget.slow", 1, "not the name of one key; expected budget.slow.KEY"),
        ("budget.quiet.end", "06:00", "budget.quiet: begin is missing"),
        ("sink.mqtt.host", None, "sink.mqtt.host: cannot be unset"),
    ],
)
def test_what_cannot_be_set(name: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        set_keys(BASE, {name: value})
    assert says in str(refused.value)


# ---- reference and tree


def test_the_reference_has_every_table_and_is_a_configuration() -> None:
    text = reference(House)
    assert load_as(House, text) == House(camera={"front": Camera(source="testcard")})
    for line in ("[budget.slow]", "[camera.front]", "# [camera.front.zone.door]", "# [sink.NAME]", "# [budget.quiet]"):
        assert f"\n{line}\n" in text
    assert "\n# [camera.front.zone.door.alarm.bell]\n" in text
    for name in ("zone", "sink", "camera"):
        assert f"Reload: this {name} is opened again." in text
    written = "\n".join(line.removeprefix("# ") if _holds_a_key(line) else line for line in text.splitlines())
    everything = load_as(House, written)
    assert everything.camera["front"].zone["door"].alarm == {"bell": Alarm()}
    assert everything.budget.quiet == Quiet(begin="22:00")
    assert everything.sink == {"NAME": Sink(host="broker")}


def _holds_a_key(line: str) -> bool:
    return line.startswith("# [") or (line.startswith("# ") and line.split()[2:3] == ["="])


def test_every_table_is_walked_and_every_key_is_found() -> None:
    root = tree(House)
    assert [path for path, _, _ in tables(root, BASE)] == [
        (),
        ("budget",),
        ("budget", "slow"),
        ("camera", "front"),
        ("camera", "front", "zone", "door"),
        ("camera", "front", "zone", "door", "alarm", "bell"),
        ("camera", "back"),
        ("sink", "mqtt"),
    ]
    assert isinstance(find(root, ("camera", "any", "zone", "any", "kind")), Field)
    for nothing in (("camera", "x", "kind"), ("camera", "x", "source", "y"), ("none",), ("camera",)):
        assert find(root, nothing) is None


def test_a_reload_that_nothing_can_do_is_refused_when_the_schema_is_read() -> None:
    def of(reload: str) -> Any:
        inner = msgspec.defstruct("Inner", [("x", Annotated[int, key(reload, "It.")], 0)], kw_only=True, frozen=True)
        return msgspec.defstruct("Outer", [("inner", dict[str, inner], {})], kw_only=True, frozen=True)  # type: ignore[valid-type]

    assert tree(of("inner"))
    with pytest.raises(TypeError, match=r"inner\.NAME\.x: a reload cannot do 'camera'"):
        tree(of("camera"))


# ---- whatever comes

OVERRIDES = (
    "sink={}",
    "camera={back = {source = 'testcard'}, front = {source = 'testcard', zone = {door = {points = [[1, 1]]}}}}",
    "camera={back = {source = 'testcard'}}",
    "camera.back={source = 'testcard', zone = {y = {points = [[1, 1]]}}}",
    f"{BELL}.after=1 s",
    f"{BELL}.line=3",
    "camera.front.zone.x.points=[[0, 0]]",
    "camera.back.mask.m.left=0.5",
    "camera.front.source=/dev/video1",
    "budget.slow.fps=7",
    "budget.slow.start=2",
    "budget.quiet={begin = '21:00'}",
    "budget.quiet={begin = '21:00', end = '05:00'}",
    "listen.web.port=81",
    "listen.web.port=82",
    "listen.api.port=83",
    "network.a.path=/a",
)
"""Those that replace a table come first."""


def chosen(which: set[int]) -> House:
    overrides = [OVERRIDES[number] for number in sorted(which)]
    if 2 in which:
        overrides = [one for one in overrides if not one.startswith("camera.front")]
    return read(TEXT, *overrides)


configurations = st.sets(st.sampled_from(range(len(OVERRIDES))), max_size=6).map(chosen)


@given(configurations, configurations)
def test_whatever_differs_is_told_once_and_taken_up_or_not(old: House, new: House) -> None:
    found = diff(old, new)
    assert bool(found) == (old != new)
    assert len({change.path for change in found.all}) == len(found.all)
    in_force = taken_up(old, new)
    assert diff(old, in_force).all == tuple(change for change in found.all if change.effect != "restart")
    assert {change.effect for change in diff(in_force, new).all} <= {"restart"}
    for change in found.all:
        assert change.key in found.describe() or change.path[-1] in found.describe()


_names = st.sampled_from([name for section in tree(House).walk() for name in section.entries]) | st.text(max_size=5)
_values = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(_names, _values, max_size=4))
def test_any_tables_give_a_configuration_or_sentences(given_tables: dict[str, Any]) -> None:
    document = Document("v.toml", None)
    document.tables = given_tables
    builder = Builder(document, House)
    config = builder.config()
    assert all(line.startswith("v.toml: ") for line in builder.problems)
    assert not diff(config, config)
    if not builder.problems:
        assert msgspec.convert(msgspec.to_builtins(config), House) == config
