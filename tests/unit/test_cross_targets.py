"""Targets, locks and the inventory are read as written, and mistakes are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from cross import inventory, lock, target
from cross.errors import CrossError
from cross.target import REPOSITORY

TARGETS = target.names()


def test_the_targets_that_are_promised():
    assert TARGETS == ["amd64-bookworm", "jetson-jp6", "rpi32-bookworm", "rpi64-bookworm", "rpi64-trixie"]


@pytest.mark.parametrize("name", TARGETS)
def test_every_wheel_of_a_lock_runs_on_its_target(name: str):
    chosen = target.load(name)
    version = tuple(int(part) for part in chosen.python.split("."))
    fits = set(cpython_tags(version, platforms=chosen.tags))
    fits |= set(compatible_tags(version, f"cp{''.join(chosen.python.split('.'))}", chosen.tags))
    wheels = lock.read(chosen)
    for wheel in wheels:
        assert parse_wheel_filename(wheel.file)[3] & fits, f"{wheel.file} does not fit {name}"
    assert {"pip", "tflite-runtime" if chosen.runtime == "tflite" else "ai-edge-litert"} <= {w.name for w in wheels}


@pytest.mark.parametrize("name", TARGETS)
def test_a_lock_has_all_that_the_project_asks_for(name: str):
    chosen = target.load(name)
    locked = {wheel.name: wheel.version for wheel in lock.read(chosen)}
    for requirement in map(lock.Requirement, lock.wanted(chosen)):
        version = locked.get(lock.canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in the lock of {name}: make lock TARGET={name}"
        assert requirement.specifier.contains(version)


def test_no_tag_asks_for_a_newer_c_library_than_the_target_has():
    for name in TARGETS:
        chosen = target.load(name)
        for tag in chosen.tags:
            if match := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag):
                assert int(match[1]) <= int(chosen.glibc.removeprefix("2."))
                assert match[2] == chosen.machines[0]


def test_markers_are_the_boards_not_this_machines():
    assert any(text.startswith("tomli") for text in lock.wanted(target.load("jetson-jp6")))
    assert not any(text.startswith("tomli") for text in lock.wanted(target.load("rpi64-trixie")))


def test_what_pip_left_out_is_noticed():
    metadata = [{"name": "a", "requires_dist": ["b>=1", "c; python_version < '3.11'", "d; extra == 'x'"]}]
    assert lock.lacks(target.load("jetson-jp6"), metadata) == {"b>=1", "c"}
    assert lock.lacks(target.load("rpi64-bookworm"), metadata) == {"b>=1"}


def test_what_apt_gives_is_not_locked():
    wanted = lock.wanted(target.load("rpi32-bookworm"))
    assert not [text for text in wanted if text.startswith(("numpy", "opencv", "msgspec"))]


def test_an_unknown_target_is_told_the_known_ones():
    with pytest.raises(CrossError, match="rpi64-bookworm"):
        target.load("rpi5")


# ---- the inventory


def load(tmp_path: Path, text: str) -> inventory.Inventory:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    return inventory.load(path)


def test_the_example_is_valid():
    found = inventory.load(REPOSITORY / "cross/hosts.example.toml")
    assert [board.name for board in found.group("all")] == ["front-door", "workbench"]
    assert [board.name for board in found.group("yard")] == ["front-door"]
    assert [board.job.window_s for board in found.boards] == [60, 120]


BOARD = '[board.a]\nhost = "pi@a"\ntarget = "rpi64-bookworm"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[boards.a]", "unknown table 'boards'"),
        ('[board.a]\nhost = "pi@a"', "lacks the key 'target'"),
        (BOARD + "hots = 1", "unknown key 'hots'"),
        (BOARD + "window = -1", "window is -1"),
        (BOARD + 'window = "60"', "window is '60'"),
        (BOARD + "groups = [1]", "groups is"),
        (BOARD + 'configuration = "nowhere.toml"', "is not there"),
        (BOARD.replace("rpi64-bookworm", "pi"), "target is 'pi'"),
        ("[defaults]\nwave = 0\n" + BOARD, "wave is 0"),
        ("x", "hosts.toml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(CrossError, match=re.escape(message)):
        load(tmp_path, text)


def test_a_group_of_nobody_is_told_the_groups(tmp_path: Path):
    with pytest.raises(CrossError, match="there are all, yard"):
        load(tmp_path, BOARD + 'groups = ["yard"]').group("roof")


def test_a_missing_inventory_says_where_an_example_is(tmp_path: Path):
    with pytest.raises(CrossError, match=r"hosts\.example\.toml"):
        inventory.load(tmp_path / "hosts.toml")
