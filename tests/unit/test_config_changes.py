"""What a reload does with each key, and single keys set on the configuration in force."""

from typing import Any

import msgspec
import pytest

from vigild.config.changes import diff, emptied, new_code, reopens, taken_up
from vigild.config.fields import Choice, Field, Fixed, Flag, Items, Number, Table, Text
from vigild.config.keys import flatten, set_keys
from vigild.config.load import ConfigError, load
from vigild.config.schema import CameraConfig, Config
from vigild.config.tree import ROOT

BASE = load("[camera.front]\nsource = 'testcard'\n[camera.back]\nsource = 'testcard'\n")


def another(field: Field) -> Any:
    """A value as the file would hold it, other than the default and allowed."""
    by_name: dict[str, Any] = {
        "socket_mode": "0600",
        "sha256": "0" * 64,
        "delegate": "none",
        "crop": [0.0, 0.0, 0.5, 1.0],
        "min_score": 0.25,
        "memory": "64 MiB",
        "path": "/m.tflite",
        "labels": "/l.txt",
        "socket": "/s.sock",
        "source": "/dev/video0",
        "give_up": ["pause"],
        "hours": "22:00-07:00",
    }
    if field.name in by_name:
        return by_name[field.name]
    kind = field.type
    if isinstance(kind, Number):
        unit = {"duration": "2 s", "temperature": "60 °C", "temperature difference": "3 °C"}.get(kind.unit or "")
        return unit or 2
    if isinstance(kind, Choice):
        return next(value for value in kind.values if value != field.default)
    examples: dict[type, Any] = {Text: "other", Flag: True, Items: ["person"], Table: {"a": "b"}}
    if isinstance(kind, Fixed):
        return [100] * len(kind.items)
    return examples[type(kind)]


def set_key(config: Config, key: str, value: object) -> Config:
    return set_keys(config, {key: value})


KEYS = [(".".join(section.path).replace("NAME", "front"), field) for section in ROOT.walk() for field in section.fields]


@pytest.mark.parametrize(("table", "field"), KEYS, ids=[f"{t}.{f.name}" for t, f in KEYS])
def test_each_key_changes_what_it_says(table: str, field: Field) -> None:
    key, of_camera = f"{table}.{field.name}", table == "camera.front"
    # Hours that limit nothing are refused, so something is limited in them.
    base = set_key(BASE, "budget.quiet.max_fps", 3) if field.name == "hours" else BASE
    new = set_key(base, key, another(field))
    changes = diff(base, new)
    assert changes
    by_reload = {
        "live": changes.live,
        "detector": changes.detector,
        "restart": changes.restart,
        "camera": [change.key for change in changes.all if change.reopens],
    }
    assert {reload: keys for reload, keys in by_reload.items() if keys} == {field.reload: [key]}
    assert changes.changed("camera") == (["front"] if of_camera else [])
    assert changes.reopened("camera") == (["front"] if field.reload == "camera" else [])
    assert reopens(BASE.camera["front"], new.camera["front"]) == (field.reload == "camera")
    assert not changes.added("camera")
    assert not changes.removed("camera")
    assert (field.name if of_camera else key) in changes.describe()
    in_force = taken_up(BASE, new)
    assert (in_force == BASE) == (field.reload == "restart")
    assert (in_force == new) == (field.reload != "restart")


def test_nothing_changed() -> None:
    changes = diff(BASE, BASE)
    assert not changes
    assert changes.describe() == "nothing changed"


def test_cameras_come_and_go() -> None:
    new = load("[camera.front]\nsource = 'testcard'\nrotate = 90\n[camera.side]\nsource = 'testcard'\n")
    changes = diff(BASE, new)
    assert changes.added("camera") == ["side"]
    assert changes.removed("camera") == ["back"]
    assert changes.reopened("camera") == ["front"]
    assert changes.describe() == "camera added: side; camera removed: back; camera reopened: front (rotate)"


def test_settings_that_need_no_reopening_do_not_reopen() -> None:
    new = set_keys(BASE, {"camera.front.priority": 2, "camera.front.fps": 5})
    changes = diff(BASE, new)
    assert changes.changed("camera") == ["front"]
    assert changes.reopened("camera") == []
    assert sorted(changes.live) == ["camera.front.fps", "camera.front.priority"]


@pytest.mark.parametrize("struct", [section.struct for section in ROOT.walk()], ids=lambda struct: struct.__name__)
def test_each_table_can_be_sent_to_a_worker(struct: type[msgspec.Struct]) -> None:
    # msgspec refuses some annotations only when a decoder is made for them.
    sent = struct(source="testcard") if struct is CameraConfig else struct()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=struct) == sent


# ---- what is refused


def test_an_emptied_file_closes_no_camera_unless_it_says_so() -> None:
    told = emptied(BASE, Config())
    assert told
    assert "(front, back) would be closed" in told
    assert "daemon.allow_no_cameras = true" in told
    assert emptied(BASE, load("daemon.allow_no_cameras = true")) is None
    assert emptied(load("daemon.allow_no_cameras = true\n[camera.a]\nsource = 'testcard'"), Config())
    assert emptied(Config(), Config()) is None
    assert emptied(BASE, load("[camera.side]\nsource = 'testcard'")) is None


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("camera.front.source", "exec:cat /etc/shadow", ["camera.front.source: an exec: source"]),
        ("camera.front.source", "/dev/video0", []),
        ("model.delegate", "/tmp/lib.so", ["model.delegate: a library's path"]),
        ("model.delegate", "edgetpu:/dev/apex_0", ["model.delegate: a library's path"]),
        ("model.delegate", "edgetpu:usb:0", []),
        ("model.path", "/m.tflite", []),
    ],
)
def test_what_the_daemon_would_run_is_told_apart(key: str, value: str, code: list[str]) -> None:
    new = set_key(BASE, key, value)
    assert new_code(BASE, new) == code
    assert new_code(new, set_key(new, "model.min_score", 0.25)) == [], "what it runs already is nothing new"


# ---- set


def refused(key: str, value: object, config: Config = BASE) -> str:
    with pytest.raises(ConfigError) as error:
        set_key(config, key, value)
    (line,) = error.value.problems
    return line


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("model.min_score", 2, "model.min_score: found 2, expected a number from 0 to 1"),
        ("model.min_scor", 2, "model.min_scor: unknown key (found 2); did you mean min_score?"),
        ("modell.min_score", 2, "did you mean model?"),
        ("model", 2, "expected model.KEY"),
        ("camera.fps", 2, "expected camera.NAME.KEY"),
        ("model.path.x", 2, "expected model.KEY"),
        ("camera.side.fps", 2, 'there is no camera "side"; the cameras are: front, back'),
        ("camera.front.fsp", 2, "did you mean fps?"),
        ("camera.front.loop", 1, "expected true or false"),
        ("camera.front.source", None, "cannot be unset"),
        ("camera.front.source", "rtmp://u:secret@h/x", "rtmp://***@h/x"),
        ("camera.front.source", "clip.mp4", "a relative path; write an absolute one"),
        ("camera.front.source", "images:frames", "a relative path"),
        ("model.path", "m.tflite", "a relative path"),
        ("budget.dwell", 10, 'write "10 s"'),
        ("", 1, "expected a form like"),
        ("model..x", 1, "expected a form like"),
        ("model.min_score=1", 1, "expected a form like"),
        ("model.min_score ", [1], "model.min_score: found [1]"),
    ],
)
def test_what_cannot_be_set(key: str, value: object, part: str) -> None:
    assert part in refused(key, value)


def test_a_key_that_does_not_go_with_others_is_refused() -> None:
    config = load("[model]\nlabels_denied = ['a']\n[camera.live]\nsource = '/dev/video0'\n")
    assert "set one of the two" in refused("model.labels_allowed", ["b"], config)
    assert "camera.live.pace: found" in refused("camera.live.pace", "every", config)


def test_keys_that_go_together_only_are_set_together() -> None:
    config = load("[model]\nlabels_denied = ['a']\n")
    new = set_keys(config, {"model.labels_allowed": ["b"], "model.labels_denied": []})
    assert new.model.labels_allowed == ["b"]
    with pytest.raises(ConfigError) as error:
        set_keys(config, {"model.threads": 0, "model.min_score": -1})
    assert len(error.value.problems) == 2


def test_none_unsets() -> None:
    config = load("[model]\npath = '/m.tflite'\nthreads = 3\n")
    assert set_keys(config, {"model.path": None, "model.threads": None}) == Config()


def test_setting_leaves_the_old_configuration_as_it_was() -> None:
    before = load("[camera.a]\nsource = 'testcard'\n")
    set_key(before, "camera.a.fps", 5)
    assert before == load("[camera.a]\nsource = 'testcard'\n")


# ---- shown


def test_what_is_in_force_is_shown_as_the_file_would_hold_it() -> None:
    config = load(
        "[budget]\nmemory = '64 MiB'\ntemperature = '75 °C'\n"
        "[camera.front]\nsource = 'rtsp://user:secret@cam/x'\nsize = [640, 480]\n"
        "[model]\ndelegate_options = {token = 'a secret', mode = 'fast'}\n"
    )
    flat = flatten(config)
    assert flat["budget.memory"] == "64 MiB"
    assert flat["budget.temperature"] == "75 °C"
    assert "model.min_score" not in flat, "the model's own"
    assert flat["camera.front.size"] == [640, 480]
    assert flat["camera.front.source"] == "rtsp://***@cam/x"
    assert flat["model.delegate_options"] == {"token": "***", "mode": "fast"}
    assert "model.path" not in flat
    assert None not in flat.values()


def test_what_is_shown_can_be_set() -> None:
    shown = flatten(BASE)
    assert set_keys(BASE, shown) == BASE
