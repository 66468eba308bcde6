"""The commands of docs/tune.md, run as they stand, and what the page says in numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from unit import modelkit
from vigild.catalogue import choose, embedded
from vigild.catalogue.profile import FILE, SYSTEM
from vigild.cli.tune import SUSTAINED_MINUTES
from vigild.config.schema import BudgetConfig
from vigild.tune import course, plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tune.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]

# A small detector in place of the embedded one, under its name, so that each command takes seconds.
MANIFEST = f"""
format = 1
[model.{embedded.ENTRY}]
[[model.{embedded.ENTRY}.variant]]
name = "uint8"
file = "quadrants.tflite"
[model.coco_ssd_mobilenet_v1]
[[model.coco_ssd_mobilenet_v1.variant]]
name = "uint8"
file = "quadrants.tflite"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    modelkit.quadrants(folder)
    (folder / "manifest.toml").write_text(MANIFEST)
    for name, command in (("vigild", f'{sys.executable} -m vigild "$@"'), ("sudo", '"$@"')):
        (folder / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (folder / name).chmod(0o755)
    (folder / "photos").mkdir()
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32, 1] = 255
    cv2.imwrite(str(folder / "photos/green.png"), picture)
    annotations = {
        "images": [{"id": 1, "file_name": "green.png", "width": 64, "height": 64}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 32, 32]}],
        "categories": [{"id": 1, "name": "class_0"}],
    }
    (folder / "photos.json").write_text(json.dumps(annotations))
    return folder


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    found = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "daemon"),
        "VIGILD_MANIFEST": str(folder / "manifest.toml"),
        "VIGILD_SOCKET": str(folder / "no-daemon"),
        "STATE_DIRECTORY": str(folder / "state"),
    }
    found.pop("VIGILD_PROFILE", None)
    return found


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 13 and all(command.startswith(("vigild tune", "sudo vigild tune")) for command in COMMANDS)


def quick(command: str) -> str:
    return command.replace("vigild tune", "vigild tune --rounds 1 --seconds 0.05 --threads 1 --delegates none")


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--sustained" in command])
def test_a_command_that_takes_half_an_hour_as_far_as_some_seconds_go(
    command: str, folder: Path, environ: dict[str, str]
) -> None:
    """To its honest end: in so short a time no rate is told."""
    zone = folder / "board/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("45000\n")
    short = re.sub(r"--sustained( \d+)?", "--sustained 0.1", quick(command)) + " --sysfs-root board"
    done = subprocess.run(
        ["bash", "-ec", short], env=environ, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1 and "vigild: no rate is told: " in done.stderr, done.stderr
    assert "at rest" in done.stderr and "under load" in done.stderr and "cooling down" in done.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--sustained" not in command])
def test_a_command(command: str, folder: Path, environ: dict[str, str]) -> None:
    kept = folder / "state/tune.json"
    if "--show" in command and not (kept.exists() and f'"{embedded.ENTRY}"' in kept.read_text()):
        pytest.skip("it shows what the command before has measured")
    done = subprocess.run(
        ["bash", "-ec", quick(command)],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VARIANT") and "uint8 with 1 thread on none: " in done.stdout
    place = folder / ("here.json" if "here.json" in command else "state/tune.json")
    assert place.exists() and place.with_suffix(".png" if "here" in command else ".svg").exists()
    if "photos.json" in command:
        assert "AP 1.000 (AP50 1.000)" in done.stdout


def test_the_page_gives_the_numbers_of_the_program() -> None:
    assert f"up to {choose.AP_TIE:g} AP" in PAGE
    assert f"up to {100 * choose.AGREEMENT_TIE:g} % agreement" in PAGE
    assert f"within {100 * (choose.SPEED_TIE - 1):.0f} % in speed" in PAGE
    assert f"{choose.REST_OF_DAEMON_BYTES // 2**20} MiB of it are set aside" in PAGE
    assert f"What is {plan.HOPELESS:.0f} times slower" in PAGE
    assert BudgetConfig().memory is None and "(what this board allows, by default" in PAGE
    assert f"`{SYSTEM / FILE}`" in PAGE
    assert f"less than {course.STILL:g} °C a minute over {course.WINDOW_S / 60:g} minutes" in PAGE
    assert f"is not sure to {100 * course.SURE_PART:g} %" in PAGE and f"({SUSTAINED_MINUTES:g} by default)" in PAGE
    assert f"gets {course.OVER_CELSIUS:g} °C above the budget" in " ".join(PAGE.split())
    help_ = subprocess.run(
        [sys.executable, "-m", "vigild", "tune", "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "daemon")}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for option in set(re.findall(r"(--[a-z]+)", PAGE)):
        assert option in help_, option
    assert "--limit N" in help_ and "default: 200" in help_ and "default: 2)" in help_ and "default: 3" in help_
