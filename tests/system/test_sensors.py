"""`vigild sensors` as a command: on trees of boards, live, beside a daemon."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import TIMEOUT_S, Daemon

from boardkit import flip, jetson_orin, raspberry_pi_5, write
from vigild.budget.thermal_model import begin, learn
from vigild.learned import Learned


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vigild", "sensors", *arguments]


def sensors(*arguments: str, path: Path | None = None) -> str:
    """`path`: a folder for the PATH."""
    env = os.environ if path is None else {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=dict(env)
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def config(tmp_path: Path) -> str:
    """One that sets nothing: so that no daemon is asked."""
    write(tmp_path / "empty.toml", "")
    return str(tmp_path / "empty.toml")


def test_a_table(tmp_path: Path, config: str) -> None:
    root = raspberry_pi_5(tmp_path / "pi")
    write(tmp_path / "bin/vcgencmd", "#!/bin/sh\necho throttled=0x20001\n")
    (tmp_path / "bin/vcgencmd").chmod(0o755)
    told = sensors("--once", "--config", config, "--sysfs-root", str(root), path=tmp_path / "bin")
    assert "Raspberry Pi 5 Model B Rev 1.0" in told
    assert "cpu-thermal   61.7 °C; active 50 °C (pwm-fan)" in told
    assert "rp1_adc       52.3 °C; the budget is not for it" in told
    assert "pwm-fan 2 of 4" in told
    assert "under_voltage; asked: the kernel and vcgencmd get_throttled" in told
    assert "since the board's start: frequency_capped" in told
    assert "2400 of 2400 MHz" in told
    assert "temperature 77.5 °C: half way from the fan's last step" in told
    assert "memory 1.0 GiB: the most that is taken unasked" in told


def test_budgets_that_are_set(tmp_path: Path) -> None:
    told = sensors("--once", "-o", "budget.temperature=65 °C", "--sysfs-root", str(jetson_orin(tmp_path)))
    assert "temperature 65 °C: budget.temperature is set" in told
    assert "gpu-thermal" in told and "cannot be read now" in told
    done = subprocess.run(
        command("--once", "-o", "budget.temperature=65"), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 2 and "a number needs a unit" in done.stderr


def test_one_object_for_programs(tmp_path: Path, config: str) -> None:
    shown = json.loads(sensors("--json", "--config", config, "--sysfs-root", str(jetson_orin(tmp_path / "jetson"))))
    assert shown["readings"]["temperatures"] == {"cpu-thermal": 76.0, "tj-thermal": 76.5}
    assert shown["readings"]["flags"] == ["cpu_throttle"]
    assert shown["budgets"]["temperature"] == 94 and shown["budgets"]["temperature_why"]
    trip = {"celsius": 99.0, "kind": "passive", "coolers": ["cpu-throttle-alert"], "slows": True}
    assert trip in shown["trips"]["cpu-thermal"]
    assert {"kind": "cpu-throttle-alert", "state": 1, "most": 0} in shown["coolers"]


def test_nothing_to_read(tmp_path: Path, config: str) -> None:
    told = sensors("--once", "--config", config, "--sysfs-root", str(tmp_path))
    assert "no sensor found: the temperature budget is not held" in told and "nothing can be read" in told


def test_what_was_learned(tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    board = tmp_path / "board"
    board.mkdir()
    arguments = ("--once", "--model", "--config", config, "--sysfs-root", str(board))
    assert "nothing was learned of this board yet" in sensors(*arguments)
    model = begin("int8-256, 1 threads, xnnpack", full_load=20.0, celsius=40.0)
    for _ in range(600):
        model = learn(model, celsius=60.0, load=20.0, seconds=1.0)
    Learned(board).save(model)
    shown = " ".join(sensors(*arguments).split())
    assert re.search(r"model [\d.]+ ± [\d.]+ fps of int8-256, 1 threads, xnnpack", shown), shown
    warms = r"each frame/s warms it by [\d.]+ ± [\d.]+ °C: [\d.]+ with a time constant of \d+ s \(die\), "
    warms += r"[\d.]+ with one of \d+ min \(board\); [\d.]+ °C without this work"
    assert re.search(warms, shown), shown
    told = json.loads(sensors("--json", *arguments[1:]))["warming"]
    assert 2 < told["die_seconds"] < 15 and 80 < told["board_seconds"] < 1500 and "sure" in told
    with subprocess.Popen(command(*arguments[1:]), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT_S) == 130
    assert re.search(rf"no flag.*; [\d.]+ ± [\d.]+ fps of .*; {warms}", first), first


def test_lines_for_another_program(tmp_path: Path, config: str) -> None:
    root = raspberry_pi_5(tmp_path / "pi")
    with subprocess.Popen(
        command("--config", config, "--sysfs-root", str(root)), stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert "cpu-thermal 61.7 °C, rp1_adc 52.3 °C, no flag, 2400 MHz" in running.stdout.readline()
        flip(root / "sys/class/thermal/thermal_zone0/temp", "63000\n")
        assert "cpu-thermal 63.0 °C" in running.stdout.readline() + running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT_S) == 130


def test_a_table_each_second_on_a_terminal(tmp_path: Path, config: str) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(command("--config", config, "--sysfs-root", str(tmp_path)), stdout=follower) as running:
        os.close(follower)
        seen = b""
        give_up = time.monotonic() + TIMEOUT_S
        while seen.count(b"\x1b[H\x1b[J") < 2:
            assert select.select([leader], [], [], give_up - time.monotonic())[0], seen
            seen += os.read(leader, 65536)
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT_S) == 130
    os.close(leader)
    assert b"no sensor found" in seen


def test_beside_a_running_daemon(tmp_path: Path) -> None:
    """Its processes, and the budgets that it holds."""
    settings = '[camera.front]\nsource = "testcard"\n[budget]\ntemperature = "66 °C"\n'
    with Daemon(tmp_path, settings) as daemon:
        daemon.connect().ask(type="ping")
        told = sensors("--once", "--socket", str(daemon.socket))
        assert f"answers at {daemon.socket}" in told
        assert "temperature 66 °C: budget.temperature is set" in told
        assert "hub " in told and "from Pss of the hub and its workers" in told
        shown = json.loads(sensors("--json", "--socket", str(daemon.socket)))
        assert shown["readings"]["memory"]["processes"]["hub"] > 2**20


def test_quiet_hours_of_a_running_daemon(tmp_path: Path) -> None:
    """What holds now is shown, and what is set for later is said to be for later."""
    now_s = time.time()
    start, end = (time.strftime("%H:%M", time.localtime(now_s + hours * 3600)) for hours in (-2, 2))
    settings = '[camera.front]\nsource = "testcard"\n[budget]\ntemperature = "66 °C"\n'
    settings += f'[budget.quiet]\nhours = "{start}-{end}"\ntemperature = "60 °C"\n'
    with Daemon(tmp_path, settings) as daemon:
        client = daemon.connect()
        daemon.wait_for(lambda: daemon.status()["health"]["temperature_budget"] == 60)
        shown = " ".join(sensors("--once", "--socket", str(daemon.socket)).split())
        assert f"temperature 60 °C: quiet hours until {end}; else 66 °C: budget.temperature is set" in shown
        answer = client.ask(type="set", key="budget.temperature", value="70 °C")
        assert answer["message"].endswith(f"quiet hours until {end} hold 60 °C")
    assert "temperature 60 °C: quiet hours" in sensors("--once", "--config", str(daemon.config))


def test_no_daemon_where_one_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--once", "--socket", str(tmp_path / "none")),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 3 and "none" in done.stderr and "Traceback" not in done.stderr
