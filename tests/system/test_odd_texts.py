"""Real commands and a real daemon with arguments, variables, paths and files that are no text, or steer a terminal.

All of it in a UTF-8 locale, in "C", and where Python would take names of files for ASCII.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import REPO, TIMEOUT_S

from boardkit import NASTY, STEERS, every_board

LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LANG": "C", "PYTHONUTF8": "0"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
VARIABLES = [
    "VIGILD_SOCKET",
    "VIGILD_MODELS",
    "VIGILD_MANIFEST",
    "VIGILD_PROFILE",
    "VIGILD_CREDENTIALS",
    "CREDENTIALS_DIRECTORY",
    "HOME",
    "TERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "NOTIFY_SOCKET",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LISTEN_FDS",
    "LISTEN_PID",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "LD_LIBRARY_PATH",
]


def vigild(*arguments: bytes | str, env: dict[str, str | bytes], cwd: Path | None = None) -> tuple[int, str]:
    """Its status, and all that it printed: UTF-8, no traceback, nothing that steers."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "PYTHONUTF8")}
    done = subprocess.run(
        [sys.executable, "-m", "vigild", *arguments],
        capture_output=True,
        timeout=TIMEOUT_S,
        env={os.fsencode(k): os.fsencode(v) for k, v in {**kept, "PYTHONPATH": str(REPO / "daemon"), **env}.items()},
        check=False,
        cwd=cwd,
    )
    said = (done.stdout + done.stderr).decode()
    assert "Traceback" not in said, said
    assert not STEERS.search(said), said
    return done.returncode, said


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("value", [b"/tmp/\xff\x1b[31m\nx", b"", b"/" + b"x" * 5000], ids=["odd", "empty", "long"])
def test_an_odd_environment(tmp_path: Path, locale: str, value: bytes) -> None:
    env: dict[str, str | bytes] = {**LOCALES[locale], **dict.fromkeys(VARIABLES, value)}
    env.pop("VIGILD_MANIFEST") if value else None  # one that is named has to be there
    (tmp_path / "v.toml").write_text('[camera.front]\nsource = "testcard"\n')
    assert vigild("check", str(tmp_path / "v.toml"), env=env)[0] == 0
    assert vigild("models", "list", env=env)[0] == 0
    assert vigild("sensors", "--once", env=env)[0] == 0
    assert vigild("status", env=env)[0] == 3


@pytest.mark.parametrize("locale", LOCALES)
def test_odd_arguments(tmp_path: Path, locale: str) -> None:
    env: dict[str, str | bytes] = {**LOCALES[locale]}
    odd = b"\xff\x1b[31m\nx"
    for arguments in (("check", odd), ("run", "--config", odd), ("run", "--source", b"images:" + odd)):
        status, said = vigild(*arguments, env=env, cwd=tmp_path)
        assert status == (1 if arguments[0] == "check" else 2) and len(said.splitlines()) == 1, said
        assert r"\udcff\x1b[31m" in said or r"\udcff\u001b[31m" in said
    assert vigild("status", "--socket", odd, env=env)[0] == 3
    assert vigild("status", odd, env=env)[0] == 2
    assert vigild(odd, env=env)[0] == 2
    # And one that is UTF-8 is found whatever the locale calls its bytes.
    folder = tmp_path / "caf\u00e9"
    folder.mkdir()
    (folder / "v.toml").write_text('[camera.front]\nsource = "images:."\n[model]\nlabels = "\u00e9.txt"\n')
    (folder / "\u00e9.txt").touch()
    status, said = vigild("check", str(folder / "v.toml"), env=env)
    assert status == 0 and "does not exist" not in said, said


@pytest.mark.parametrize("locale", ["UTF-8", "ASCII"])
def test_sensors_and_a_doctor_of_an_odd_board(tmp_path: Path, locale: str) -> None:
    root = every_board(tmp_path / "root")
    for path in root.rglob("*"):
        if path.is_file() and path.name in (
            "type",
            "name",
            "model",
            "sys_vendor",
            "os-release",
            "osrelease",
            "cpuinfo",
            "cgroup",
        ):
            path.write_bytes(NASTY)
    env: dict[str, str | bytes] = {**LOCALES[locale]}
    (tmp_path / "v.toml").touch()
    arguments = ("--config", str(tmp_path / "v.toml"), "--sysfs-root", str(root))
    assert vigild("sensors", "--once", *arguments, env=env)[0] == 0
    status, said = vigild("sensors", "--json", *arguments, env=env)
    assert status == 0 and json.loads(said)["board"]
    status, said = vigild("doctor", "--json", *arguments, env=env)
    assert not [found for found in json.loads(said)["findings"] if found["name"] == "doctor"], said


@pytest.mark.parametrize("locale", LOCALES)
def test_a_daemon_whose_paths_are_odd(tmp_path: Path, locale: str) -> None:
    """Its configuration and its socket have names that are no UTF-8, its model one that clears the screen."""
    folder = tmp_path / os.fsdecode(b"\xff\x1b[31m")
    folder.mkdir()
    model = tmp_path / "m\x1b[2J\u00e9.tflite"
    shutil.copy(REPO / "models/embedded/people_vehicles_ssd_192_int8.tflite", model)
    config = folder / "v.toml"
    config.write_text(f'[camera.front]\nsource = "testcard"\n[model]\npath = {json.dumps(str(model))}\n')
    env: dict[str, str | bytes] = {**LOCALES[locale], "VIGILD_SOCKET": str(folder / "s"), "HOME": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "PYTHONUTF8")}
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "vigild", "run", "--config", config],
            stdout=log,
            stderr=log,
            env={**kept, "PYTHONPATH": str(REPO / "daemon"), **env},
        )
    try:
        until = time.monotonic() + TIMEOUT_S
        while "invoke" not in (told := vigild("status", env=env)[1]):
            assert daemon.poll() is None and time.monotonic() < until, (tmp_path / "log").read_bytes()
        assert "\ufffd" in told.split("config", 1)[1].splitlines()[0]
        answer = json.loads(vigild("status", "--json", env=env)[1])
        assert answer["model"]["name"] == "m\ufffd[2J\u00e9"
        assert "\ufffd" in answer["config_file"] and "\ufffd" in answer["socket"]
        assert vigild("status", "--config", env=env)[0] == 0
        assert vigild("watch", "-n", "1", env=env)[0] == 0
        assert vigild("reload", env=env)[0] == 0
    finally:
        daemon.terminate()
        assert daemon.wait(TIMEOUT_S) == 0
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said and not STEERS.search(said), said
