"""The printed reference: complete, true, and itself a configuration."""

import json
import re
from pathlib import Path

import pytest

from vigild.config.fields import Field
from vigild.config.load import ConfigError, load
from vigild.config.reference import reference, reload_text
from vigild.config.schema import CameraConfig, Config
from vigild.config.tree import ROOT
from vigild.config.values import describe

KEYS = [(".".join(section.path).replace("NAME", "front"), field) for section in ROOT.walk() for field in section.fields]
IDS = [f"{table}.{field.name}" for table, field in KEYS]


def block(table: str, name: str) -> str:
    """The comment and the line of one key, comment marks and line breaks taken out."""
    section = re.split(r"^\[", reference(), flags=re.MULTILINE)
    (own,) = (part for part in section if part.startswith(f"{table}]"))
    (found,) = (part for part in own.split("\n\n") if re.search(rf"^(# )?{name} = ", part, re.MULTILINE))
    return " ".join(found.replace("# ", "").split())


def test_it_is_a_configuration_and_says_the_defaults() -> None:
    config = load(reference())
    assert config == Config(camera={"front": CameraConfig(source="/dev/video0")})


@pytest.mark.parametrize(("table", "field"), KEYS, ids=IDS)
def test_each_key_has_its_meaning_limits_and_reload(table: str, field: Field) -> None:
    assert field.text
    assert field.text[-1] == "."
    text = block(table, field.name)
    assert " ".join(field.text.split()) in text
    assert describe(field.type).lower() in text.lower()
    assert f"Reload: {reload_text(field.reload)}." in text


@pytest.mark.parametrize(("table", "field"), KEYS, ids=IDS)
def test_each_reload_fits_its_table(table: str, field: Field) -> None:
    allowed = {"daemon": {"live", "restart"}, "model": {"live", "detector"}, "camera": {"live", "camera"}}
    assert field.reload in allowed.get(table.partition(".")[0], {"live"})


@pytest.mark.parametrize(("table", "field"), KEYS, ids=IDS)
def test_each_key_without_a_default_has_an_example_that_loads(table: str, field: Field) -> None:
    if field.default is not None and not field.required:
        return
    assert field.example
    source = 'camera.front.source = "/dev/video0"\n' if table.startswith("camera.") and field.name != "source" else ""
    load(f"{source}{table}.{field.name} = {field.example}\n")
    commented = "" if field.required else "# "
    assert f"\n{commented}{field.name} = {field.example}\n" in reference()


def test_lines_are_short_enough_for_a_terminal() -> None:
    assert max(len(line) for line in reference().splitlines()) <= 110


def test_it_is_plain_text() -> None:
    assert reference().endswith("\n")
    assert json.dumps(reference(), ensure_ascii=False).count("\\u") == 0


PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def fenced(language: str) -> list[str]:
    """The code blocks of the page on configuration."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_on_configuration_shows_a_file_that_loads() -> None:
    (text,) = fenced("toml")
    assert list(load(text).camera) == ["front", "gate"]


def test_the_page_on_configuration_shows_real_messages() -> None:
    (shown,) = fenced("console")
    with pytest.raises(ConfigError) as refused:
        load(
            "[model]\nmin_scor = 0.3\n[camera.front]\nsource = 'clip.mp4'\n[budget]\ntemperature = 75\n",
            ["camera.front.loop=yes"],
        )
    assert shown.splitlines()[1:-2] == refused.value.problems


def test_the_page_on_configuration_says_of_a_camera_and_of_the_daemon_what_a_reload_does() -> None:
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {what: re.findall(r"`([a-z_.]+)`", which) for which, what in rows}
    at_once = [name for which, _ in rows if which.startswith("a camera's `") for name in re.findall(r"`(\w+)`", which)]
    reloads = {field.reload: [] for _, field in KEYS}
    for table, field in KEYS:
        reloads[field.reload].append(f"{table}.{field.name}")
    assert told["not taken up; the answer says so, restart the daemon"] == reloads["restart"]
    of_cameras = [name.removeprefix("camera.front.") for name in reloads["live"] if name.startswith("camera.")]
    assert sorted(at_once) == sorted(of_cameras)
