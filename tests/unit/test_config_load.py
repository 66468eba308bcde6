"""Configuration text: what is taken, and the sentence for each thing that is not."""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vigild.config import values
from vigild.config.document import Document
from vigild.config.fields import Choice, Field, Fixed, Flag, Items, Number, Table, Text
from vigild.config.load import MAX_FILE_BYTES, Builder, ConfigError, from_command_line, load, load_file
from vigild.config.rules import faults, unknown_labels, unused
from vigild.config.schema import Config, ModelConfig
from vigild.config.tree import ROOT, Section
from vigild.config.units import format_value

CAMERA = '[camera.front]\nsource = "testcard"\n'


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text, overrides)
    return refused.value.problems


def problem(text: str, *overrides: str) -> str:
    (only,) = problems(text, *overrides)
    return only


def test_everything_has_a_default() -> None:
    config = load("")
    assert config == Config()
    assert config.camera == {}


def test_a_file_as_people_write_it() -> None:
    config = load(
        """
        [daemon]
        socket = "/run/vigild/vigild.sock"
        [model]
        path = "/m/model.tflite"
        threads = 2
        labels_allowed = ["person"]
        [camera.front]
        source = "/dev/video0"
        size = [1280, 720]
        fps = 30
        fourcc = "MJPG"
        crop = [0, 0, 0.5, 1]
        [camera.back]
        source = "rtsp://user:secret@cam/x"
        [budget]
        temperature = "75 °C"
        memory = "256 MiB"
        hysteresis = "9 °F"
        dwell = "10 s"
        """
    )
    assert config.daemon.socket == "/run/vigild/vigild.sock"
    assert config.model.threads == 2
    assert config.camera["front"].size == (1280, 720)
    assert config.camera["front"].fps == 30.0
    assert config.camera["front"].crop == (0.0, 0.0, 0.5, 1.0)
    assert config.camera["back"].source == "rtsp://user:secret@cam/x"
    assert list(config.camera) == ["front", "back"]
    assert config.budget.memory == 256 * 2**20
    assert config.budget.hysteresis == 5.0


def test_all_problems_are_found_at_once() -> None:
    found = problems(
        """
        [daemon]
        max_clients = 0
        [model]
        min_scor = 0.3
        threads = "two"
        [camera.front]
        fps = -1
        [budget]
        dwell = 10
        [telemetry]
        """,
        "camera.front.loop=maybe",
        "nonsense",
    )
    assert len(found) == 9
    for part in (
        "vigild.toml: daemon.max_clients: found 0",
        "vigild.toml: model.min_scor: unknown key",
        'vigild.toml: model.threads: found "two"',
        "vigild.toml: camera.front: source is missing",
        "vigild.toml: camera.front.fps: found -1",
        "vigild.toml: budget.dwell: found 10",
        "vigild.toml: telemetry: unknown table",
        "-o camera.front.loop=maybe: camera.front.loop: found",
        "-o nonsense: expected a key",
    ):
        assert sum(line.startswith(part) for line in found) == 1, part


def test_wrong_values_of_overrides_name_the_override() -> None:
    line = problem(CAMERA, "camera.front.loop=maybe")
    assert line == '-o camera.front.loop=maybe: camera.front.loop: found "maybe", expected true or false'


# ---- every key, every limit


SECTIONS: dict[str, Section] = {".".join(section.path): section for section in ROOT.walk()}


def all_fields() -> list[tuple[str, Field]]:
    return [(table, field) for table, section in SECTIONS.items() for field in section.fields]


def path_of(table: str, name: str) -> str:
    return f"{table.replace('NAME', 'front')}.{name}"


def text_with(table: str, name: str, toml: str) -> str:
    """A file with one key set, valid but for that."""
    line = f"{path_of(table, name)} = {toml}\n"
    return line if name == "source" or not table.startswith("camera.") else f'camera.front.source = "testcard"\n{line}'


def written(kind: Number, value: float) -> str:
    return json.dumps(format_value(kind.unit, value), ensure_ascii=False) if kind.unit else repr(value)


def step(kind: Number) -> float:
    return 1 if kind.whole or kind.unit == "size" else 0.125


LIMITS = [
    (table, field.name, kind, bound)
    for table, field in all_fields()
    for kind in (field.type.items[:1] if isinstance(field.type, Fixed) else [field.type])
    if isinstance(kind, Number)
    for bound in ("ge", "gt", "le")
    if getattr(kind, bound) is not None
]


@pytest.mark.parametrize(("table", "name", "kind", "bound"), LIMITS, ids=[f"{t}.{n}-{b}" for t, n, _, b in LIMITS])
def test_each_limit_is_kept_and_named(table: str, name: str, kind: Number, bound: str) -> None:
    limit = getattr(kind, bound)
    outside = limit if bound == "gt" else limit - step(kind) if bound == "ge" else limit + step(kind)
    inside = limit + step(kind) if bound == "gt" else limit
    whole = next(field.type for field in SECTIONS[table].fields if field.name == name)

    def toml(value: float) -> str:
        if isinstance(whole, Fixed):
            # The others of a crop must not be what is wrong with it.
            rest = ["0.1", "0.9", "0.9"] if name == "crop" else ["640"] * 3
            return "[" + ", ".join([written(kind, value), *rest][: len(whole.items)]) + "]"
        return written(kind, value)

    line = problem(text_with(table, name, toml(outside)))
    assert f"{path_of(table, name)}: found {written(kind, outside)}," in line
    assert values.describe(kind) in line
    assert (format_value(kind.unit, limit) if kind.unit else f"{limit:g}" if not kind.whole else str(limit)) in line
    if name != "crop" or bound == "ge":  # a crop that begins at 1 is empty
        load(text_with(table, name, toml(inside)))


WRONG: dict[type, tuple[str, ...]] = {
    Text: ("5", "true", "[]", "{}", "1979-05-27"),
    Number: ('"five"', "true", "[5]", "{}", "nan", "inf", "-inf", "1979-05-27", "1" + "0" * 400, "0x" + "f" * 5000),
    Flag: ('"yes"', "1", "[]"),
    Choice: ('"neither"', "1.5", "0.0", "true", "false", "[]", "{}"),
    Items: ('"person"', "5", "[5]", "{}"),
    Fixed: ('"1280x720"', "1280", "[]", "[1]", '["a", "b"]', '["a", "b", "c"]', "[nan, 1, 1]", f"[1{'0' * 400}, 1, 1]"),
    Table: ('"x"', "[]", "{a = 5}"),
}


@pytest.mark.parametrize(("table", "field"), all_fields(), ids=[f"{t}.{f.name}" for t, f in all_fields()])
def test_each_key_refuses_wrong_types_by_name(table: str, field: Field) -> None:
    for toml in WRONG[type(field.type)]:
        line = problem(text_with(table, field.name, toml))
        assert line.startswith(f"vigild.toml: {path_of(table, field.name)}: found ")
        assert ", expected " in line
        assert "\n" not in line


@pytest.mark.parametrize(("table", "field"), all_fields(), ids=[f"{t}.{f.name}" for t, f in all_fields()])
def test_each_choice_pattern_and_length_is_kept(table: str, field: Field) -> None:
    if isinstance(field.type, Choice):
        for value in field.type.values:
            with contextlib.suppress(ConfigError):  # a pace needs its source
                load(text_with(table, field.name, json.dumps(value)))
            assert values.show(value) in problem(text_with(table, field.name, '"neither"'))
    if isinstance(field.type, Text) and field.type.pattern:
        assert field.type.form in problem(text_with(table, field.name, '"no such form"'))
    if isinstance(field.type, Text) and field.type.min_length:
        assert f"{path_of(table, field.name)}: found" in problem(text_with(table, field.name, '""'))


@pytest.mark.parametrize(
    ("table", "field"),
    [(t, f) for t, f in all_fields() if isinstance(f.type, Number) and f.type.unit],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_quantity_wants_its_unit(table: str, field: Field) -> None:
    line = problem(text_with(table, field.name, "64"))
    assert "a number needs a unit: write" in line
    corrected = line.rpartition("write ")[2]
    with contextlib.suppress(ConfigError):  # it may be outside the limits, but it has a unit
        load(text_with(table, field.name, corrected))
        return
    assert "unit" not in problem(text_with(table, field.name, corrected))


# ---- unknown names


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[model]\nmin_scor = 0.3", "model.min_scor: unknown key (found 0.3); did you mean min_score?"),
        ("[model]\nMin-Score = 0.3", "did you mean min_score?"),
        ("[camera.front]\nsource = 'testcard'\nfsp = 5", "camera.front.fsp: unknown key (found 5); did you mean fps?"),
        ("[daemon]\ntemperature = 5", "did you mean budget.temperature?"),
        ("[daemon]\nfps = 5", "did you mean camera.NAME.fps?"),
        (
            "[budget]\ngive_up = ['fps', 'pause', 'fps']",
            'budget.give_up: found ["fps", "pause", "fps"], expected each of them once; take one "fps" out',
        ),
        (
            "[budget]\ngive_up = ['pause', 'fps']",
            'budget.give_up: found ["pause", "fps"], but a pause leaves nothing else to give up; put "pause" last',
        ),
        ("[budget]\nxyzzy = 5", "known are temperature, memory, hysteresis, dwell, min_fps"),
        ("[bugdet]", "did you mean budget?"),
        ("[cameras.front]", "did you mean camera?"),
        ("fps = 5", "did you mean camera.NAME.fps?"),
        ("[camera]\nsource = 'testcard'", "source belongs into a camera's own table: [camera.front]"),
        ("camera = 5", "expected a table"),
        ("daemon = 5", "expected a table: [daemon]"),
        ("[camera.'front door']\nsource = 'testcard'", 'camera."front door": found the camera name "front door"'),
        ("[camera.'']\nsource = 'testcard'", "1 to 64 letters"),
        (f"[camera.{'x' * 65}]\nsource = 'testcard'", "1 to 64 letters"),
        ("[camera.front]", "camera.front: source is missing; set it, for example source = "),
    ],
)
def test_names(text: str, part: str) -> None:
    assert part in problem(text)


# ---- keys against each other


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[model]\nlabels_allowed = ['a']\nlabels_denied = ['b']", "model.labels_allowed: found"),
        ("[model]\npath = '/m.tflite'\nname = 'coco'", "model.path: found"),
        ("[model]\npath = '/m.tflite'\nvariant = 'int8'", "model.variant: found"),
        ("[model]\ndelegate = 'edgetpo'", 'model.delegate: found "edgetpo", expected auto, edgetpu'),
        ("[model]\ndelegate = 'libx.so'", 'write "./libx.so"'),
        ("[model]\ndelegate = 'edgetpu:'", "model.delegate: found"),
        ("[model]\ndelegate = 'none'\ndelegate_options = {a = 'b'}", "model.delegate_options: found"),
        ("[daemon]\nsocket_mode = '888'", "daemon.socket_mode: found"),
        ('[model]\npath = "a\\u0000b"', "without NUL"),
        ('[daemon]\nsocket_mode = "0660\\n"', "daemon.socket_mode: found"),
        (f"[daemon]\nsocket = '/{'x' * 107}'", "108 bytes"),
        ("[camera.a]\nsource = '/dev/video0'\npace = 'every'", 'camera.a.pace: found "every", but "/dev/video0"'),
        ("[camera.a]\nsource = 'rtsp://h/x'\npace = 'every'", "camera.a.pace: found"),
        ("[camera.a]\nsource = 'http://h/x'\nloop = true", "camera.a.loop: found true"),
        ("[camera.a]\nsource = 'exec:cat x'\nloop = true", "camera.a.loop: found true"),
        ("[camera.a]\nsource = 'rtmp://h/x'", "camera.a.source: found"),
        ("[camera.a]\nsource = 'testcard'\ncrop = [0.5, 0, 0.5, 1]", "xmin below xmax"),
        ("[camera.a]\nsource = 'testcard'\ncrop = [0, 0.6, 1, 0.5]", "ymin below ymax"),
        ("[camera.a]\nsource = 'testcard'\nfourcc = 'MJPEG'", 'did you mean "MJPG"?'),
    ],
)
def test_combinations(text: str, part: str) -> None:
    assert part in problem(text)


@pytest.mark.parametrize(
    "delegate", ["auto", "xnnpack", "none", "edgetpu", "edgetpu:usb:0", "edgetpu:pci:1", "/x/lib.so"]
)
def test_delegates(delegate: str) -> None:
    assert load(f"[model]\ndelegate = '{delegate}'").model.delegate == delegate


@pytest.mark.parametrize("source", ["clip.mp4", "images:frames", "testcard"])
def test_what_waits_can_be_read_one_by_one_and_again(source: str) -> None:
    camera = load(f"[camera.a]\nsource = '{source}'\npace = 'every'\nloop = true").camera["a"]
    assert (camera.pace, camera.loop) == ("every", True)


def test_settings_without_effect_are_told_but_taken() -> None:
    config = load("[camera.a]\nsource = 'clip.mp4'\nfourcc = 'YUYV'\nsize = [640, 480]\nfps = 0.5")
    told = "\n".join(unused(config))
    assert "camera.a.fourcc has no effect" in told
    assert "camera.a.size has no effect" in told
    assert "below budget.min_fps" in told
    assert unused(load("[camera.a]\nsource = '/dev/video0'\nfourcc = 'YUYV'\nsize = [640, 480]")) == []


def test_no_message_shows_a_password() -> None:
    for text, overrides in (
        ("[camera.a]\nsource = 'rtmp://user:secret@h/x'\nloop = 5", ()),
        ("[camera.a]\nsource = 'rtsp://user:secret@h/x'\npace = 'every'", ()),
        ("[camera.a]\nsurce = 'rtsp://user:secret@h/x'\n", ()),
        ("[camera.a]\nsource = rtsp://user:secret@h/x\n", ()),
        ("", ("camera.a.source=rtmp://user:secret@h/x",)),
        ("", ("rtsp://user:secret@h/x",)),
        ("camera = 'rtsp://user:secret@h/x'", ()),
        ('"rtsp://user:secret@h/x" = 1', ()),
        (f"[camera.a]\nsource = rtsp://user:secret{'x' * 100}@h/x\n", ()),
        (f"[camera.a]\nsource = 'rtmp://user:secret{'x' * 100}@h/x'\n", ()),
        (f"[camera.a]\nsource = 'rtmp://user:secret{'x' * 1000}@h/x'\n", ()),
    ):
        assert "secret" not in "\n".join(problems(text, *overrides)), text


# ---- TOML and files


def test_syntax_errors_say_where_and_show_the_line() -> None:
    line = problem("[camera.front]\nsource = /dev/video0\n")
    assert line.startswith("vigild.toml: line 2, column 10: not valid TOML: ")
    assert line.endswith("in: source = /dev/video0")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[camera", "line 1"),
        ("a = 1\na = 2", "line 2"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 5000, "thousands of digits"),
        ('[camera.a]\nsource = "', "line 2"),
    ],
)
def test_broken_toml_is_one_sentence(text: str, part: str) -> None:
    line = problem(text)
    assert "not valid TOML" in line
    assert part in line


def test_a_byte_order_mark_and_windows_line_ends_are_taken() -> None:
    assert load("\ufeff[model]\r\nthreads = 2\r\n").model.threads == 2


def test_a_problem_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[model]\nthreads = 0\n")
    with pytest.raises(ConfigError) as refused:
        load_file(file)
    assert refused.value.problems == [f"{file}: model.threads: found 0, expected a whole number from 1 to 64"]


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[model]\nthreads = \xff\n")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    for path, part in (
        (tmp_path / "absent.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "line 2: not UTF-8 (byte 0xff)"),
        (large, "larger than 1024 KiB"),
        (Path("a\0b"), "cannot be read"),
    ):
        with pytest.raises(ConfigError) as refused:
            load_file(path)
        (line,) = refused.value.problems
        assert part in line


# ---- relative paths


def test_paths_in_a_file_are_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "v.toml").write_text(
        "[daemon]\nsocket = 's.sock'\n"
        "[model]\npath = 'm.tflite'\nlabels = '../l.txt'\ndelegate = './d.so'\n"
        "[camera.clip]\nsource = 'c.mp4'\n[camera.folder]\nsource = 'images:frames'\n"
        "[camera.device]\nsource = '/dev/video0'\n[camera.command]\nsource = 'exec:cat x.mjpeg'\n"
    )
    monkeypatch.chdir(tmp_path)
    config = load_file("etc/v.toml")
    assert config.daemon.socket == f"{folder}/s.sock"
    assert config.model.path == f"{folder}/m.tflite"
    assert config.model.labels == f"{tmp_path}/l.txt"
    assert config.model.delegate == f"{folder}/d.so"
    sources = {name: camera.source for name, camera in config.camera.items()}
    assert sources == {
        "clip": f"{folder}/c.mp4",
        "folder": f"images:{folder}/frames",
        "device": "/dev/video0",
        "command": "exec:cat x.mjpeg",
    }


def test_paths_of_overrides_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.toml").write_text("[model]\npath = 'm.tflite'\n[camera.a]\nsource = 'c.mp4'\n")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    config = load_file(tmp_path / "v.toml", ["camera.a.source=other.mp4"])
    assert config.camera["a"].source == f"{work}/other.mp4"
    assert config.model.path == f"{tmp_path}/m.tflite"


def test_a_home_directory_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load("model.path = '~/m.tflite'", folder=Path("/etc")).model.path == "/home/someone/m.tflite"


# ---- overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("camera.front.fps=5", ("camera", "front", "fps"), 5.0),
        ("camera.front.fps = 5", ("camera", "front", "fps"), 5.0),
        ('camera."front".fps=5', ("camera", "front", "fps"), 5.0),
        ("camera.'front'.fps=5", ("camera", "front", "fps"), 5.0),
        ("camera.front.source=/dev/video1", ("camera", "front", "source"), "/dev/video1"),
        ("camera.front.source='/dev/video1'", ("camera", "front", "source"), "/dev/video1"),
        ("camera.front.source=rtsp://h/x?a=b#c", ("camera", "front", "source"), "rtsp://h/x?a=b#c"),
        ("camera.front.size=[640, 480]", ("camera", "front", "size"), (640, 480)),
        ("camera.front.loop=true", ("camera", "front", "loop"), True),
        ("camera.front.fourcc=YUYV", ("camera", "front", "fourcc"), "YUYV"),
        ("camera.front.rotate=90", ("camera", "front", "rotate"), 90),
        ("daemon.socket_mode=660", ("daemon", "socket_mode"), "660"),
        ("daemon.socket_mode=0660", ("daemon", "socket_mode"), "0660"),
        ("budget.temperature=70 °C", ("budget", "temperature"), 70.0),
        ('model.labels_allowed=["person", "car"]', ("model", "labels_allowed"), ["person", "car"]),
        ("model.delegate_options={a = 'b'}", ("model", "delegate_options"), {"a": "b"}),
        ("camera.front.fps=5\nloop=true", None, None),
    ],
)
def test_overrides(override: str, key: tuple[str, ...] | None, value: object) -> None:
    text = '[camera.front]\nsource = "testcard"\nfps = 30\n[model]\nthreads = 3\n'
    if key is None:
        problem(text, override)
        return
    found: Any = load(text, [override])
    for part in key:
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_a_later_override_wins_and_may_add_a_camera() -> None:
    config = load("", ["camera.x.source=testcard", "camera.x.fps=1", "camera.x.fps=2"])
    assert config.camera["x"].fps == 2.0


@pytest.mark.parametrize(
    "override", ["", "=5", "fps", "camera..fps=5", "camera.front fps=5", ".a=1", 'camera."a.fps=5']
)
def test_what_is_no_override_is_refused(override: str) -> None:
    assert "expected a key, = and a value" in problem(CAMERA, override)


def test_an_override_below_a_value_is_refused() -> None:
    assert "camera.front.source is" in problem(CAMERA, "camera.front.source.x=5")


# ---- the command line


def test_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = from_command_line(source="clip.mp4", model="m.tflite", labels="l.txt", overrides=["model.threads=2"])
    assert list(config.camera) == ["camera"]
    assert config.camera["camera"].source == f"{tmp_path}/clip.mp4"
    assert config.model.path == f"{tmp_path}/m.tflite"
    assert config.model.labels == f"{tmp_path}/l.txt"
    assert config.model.threads == 2
    assert from_command_line() == Config()


def test_arguments_stand_for_the_files_cameras_and_model(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text(
        f"[model]\npath = 'old.tflite'\nlabels = 'old.txt'\nsha256 = '{'0' * 64}'\nthreads = 2\n"
        "[camera.front]\nsource = '/dev/video0'\n[camera.back]\nsource = '/dev/video1'\n"
    )
    config = from_command_line(source="testcard", model="/new.tflite", config=file)
    assert list(config.camera) == ["camera"]
    assert (config.model.path, config.model.labels, config.model.sha256) == ("/new.tflite", None, None)
    assert config.model.threads == 2
    named = from_command_line(model="coco_v1", config=file)
    assert (named.model.path, named.model.name) == (None, "coco_v1")
    assert list(named.camera) == ["front", "back"]


def test_a_wrong_argument_names_its_option() -> None:
    with pytest.raises(ConfigError) as refused:
        from_command_line(source="rtmp://h/x", overrides=["camera.camera.fps=0"])
    assert [line.split(":")[0] for line in refused.value.problems] == ["-o camera.camera.fps=0", "--source"]


# ---- whatever comes


_NAMES = st.sampled_from(
    [*(name for section in SECTIONS.values() for name in section.entries), "front", "camera", "x", "Min-Score"]
) | st.text(max_size=8)
_SCALARS = (
    st.none().map(lambda _: "75 °C")
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["10 s", "256 MiB", "testcard", "every", "auto", "/dev/video0", "rtsp://u:p@h/x", 10**400])
    | st.dates()
    | st.datetimes()
    | st.times()
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=12
)


class _Given(Document):
    """A document that was parsed already, to try values that no TOML parser gives."""

    def __init__(self, tables: dict[str, Any]) -> None:
        super().__init__("vigild.toml", Path("/etc"))
        self.tables = tables


@given(st.dictionaries(_NAMES, _VALUES, max_size=4))
def test_any_tables_give_a_configuration_or_sentences(tables: dict[str, Any]) -> None:
    builder = Builder(_Given(tables), Config)
    config = builder.config()
    for line in builder.problems:
        assert line.startswith("vigild.toml: ")
        assert "\n" not in line
    assert isinstance(config, Config)


_TOKENS = ["[camera.a]\n", "source=", "'testcard'\n", "fps", "=", "5", "\n", "[", "]", "{", "}", '"', ".", "#"]


@given(st.text() | st.lists(st.sampled_from(_TOKENS)).map("".join))
@example("[camera.a]\nsource = 'testcard'")
def test_any_text_is_taken_or_refused_in_sentences(text: str) -> None:
    with contextlib.suppress(ConfigError):
        load(text)


@given(
    st.text() | st.builds("{}={}".format, st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,6}){0,3}", fullmatch=True), st.text())
)
@example("a.b=" + "[" * 10_000)
def test_any_override_is_taken_or_refused_in_sentences(override: str) -> None:
    with contextlib.suppress(ConfigError):
        load(CAMERA, [override])


@given(st.sampled_from(all_fields()), _VALUES)
@example(("budget", SECTIONS["budget"].entries["memory"]), "1 TB")
@example(("camera.NAME", SECTIONS["camera.NAME"].entries["rotate"]), 90)
def test_what_is_taken_fits_the_schema(where: tuple[str, Field], value: object) -> None:
    table, field = where
    try:
        checked = values.check(field.type, value)
    except values.Fault:
        return
    struct = {"source": "testcard"} if table == "camera.NAME" else {}
    msgspec.convert({**struct, field.name: checked}, SECTIONS[table].struct, strict=True)
    if isinstance(checked, float):
        assert math.isfinite(checked)


@given(st.sampled_from([w for w in all_fields() if not getattr(w[1].type, "unit", None)]), _VALUES)
def test_what_fits_the_schema_is_taken(where: tuple[str, Field], value: object) -> None:
    table, field = where
    struct = {"source": "testcard"} if table == "camera.NAME" else {}
    try:
        held = msgspec.convert({**struct, field.name: value}, SECTIONS[table].struct, strict=True)
    except (msgspec.ValidationError, OverflowError):
        return
    text = json.dumps(str(value))
    if "\\u0000" in text or "nan" in text or "inf" in text or (isinstance(value, (int, float)) and abs(value) > 1e300):
        return  # refused by us alone
    assert values.check(field.type, value) == getattr(held, field.name)


def test_labels_that_no_model_in_force_knows() -> None:
    known = ["person", "traffic light", "car"]
    model = ModelConfig(labels_allowed=["persn", "car", "traffic-light", "zebra", "class_7"])
    assert [text.partition("; ")[2] for text in unknown_labels(model, known)] == [
        "did you mean person?",
        "did you mean traffic light?",
        "it knows car, person, traffic light",
    ]
    assert unknown_labels(model, []) == [], "while it is not known what it knows"
    (denied,) = unknown_labels(ModelConfig(labels_denied=["cra"]), known)
    assert denied == 'model.labels_denied: found "cra", which no class of the model is called; did you mean car?'


def test_texts_that_are_no_utf8_are_refused_by_their_key() -> None:
    told = [problem.key for problem in faults(ModelConfig(path=os.fsdecode(b"caf\xe9"), labels_allowed=["\udcff"]))]
    assert told == ["path", "labels_allowed"]


@pytest.mark.parametrize("path", ["it's/v\"s\\\\n.sock", "a b.sock", "1", "true"])
def test_the_commands_socket_is_taken_as_it_is(path: str) -> None:
    assert from_command_line(socket=path).daemon.socket == os.path.abspath(path)  # noqa: PTH100
