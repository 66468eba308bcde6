"""`vigild doctor` as a command: on this machine, on trees of boards, beside a daemon, and with broken packages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from harness import TIMEOUT_S, Daemon

from boardkit import jetson_orin, plain_pc, raspberry_pi_4, write
from delegates.kit import Board, library


def doctor(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vigild", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=3 * TIMEOUT_S,
        env={**os.environ, **(env or {})},
        check=False,
    )


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    report = json.loads(done.stdout)
    assert report["could_run"] == (done.returncode == 0)
    return {finding["name"]: finding for finding in report["findings"]}


def test_vigild_could_run_on_this_machine() -> None:
    done = doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert done.stdout.splitlines()[-1].startswith("vigild could run here")


@pytest.mark.parametrize("tree", [raspberry_pi_4, jetson_orin, plain_pc])
def test_boards(tmp_path: Path, tree: Any) -> None:
    done = doctor("--json", "--sysfs-root", str(tree(tmp_path)))
    found = findings(done)
    assert done.returncode == 0, done.stdout
    states = {name: finding["state"] for name, finding in found.items() if finding["group"] in ("heat", "memory")}
    if tree is plain_pc:
        assert set(states.values()) == {"ok"}
    else:
        assert states["throttling"] == "problem" and found["throttling"]["todo"]
        assert states["memory controller"] == ("note" if tree is raspberry_pi_4 else "ok")


def test_a_runtime_that_segfaults_is_a_line_and_an_exit_status(tmp_path: Path) -> None:
    for package in ("ai_edge_litert", "tflite_runtime"):
        write(tmp_path / package / "__init__.py", "")
        write(tmp_path / package / "interpreter.py", "import ctypes\nctypes.string_at(0)\n")
    done = doctor(env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stdout.count("killed by SIGSEGV") == 2
    assert done.stdout.splitlines()[-1] == "vigild could not run here because of: litert, tflite-runtime"


def test_nothing_native_is_loaded_by_the_doctor_itself() -> None:
    program = (
        "import sys\nfrom vigild.cli.main import main\nmain(['doctor', '--source', 'testcard'])\n"
        "found = {'numpy', 'cv2', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules)\n"
        "maps = open('/proc/self/maps').read()\n"
        "sys.exit(f'loaded: {found}' if found or 'tflite' in maps or 'litert' in maps else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_configuration_is_tried(tmp_path: Path) -> None:
    config = tmp_path / "vigild.toml"
    config.write_text(
        '[model]\nthreads = 2\n[camera.a]\nsource = "testcard"\n[camera.b]\nsource = "rtsp://pi:hunter2@127.0.0.1:9/x"\n'
    )
    done = doctor("--json", "--config", str(config))
    found = findings(done)
    assert done.returncode == 0
    assert found["camera a"]["state"] == "ok" and found["camera b"]["state"] == "problem"
    assert "hunter2" not in done.stdout + done.stderr
    config.write_text("[camera.a]\nsuorce = 1\n")
    done = doctor("--config", str(config))
    assert done.returncode == 2 and "did you mean source?" in done.stderr


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory)


@pytest.mark.parametrize(
    ("word", "device", "state", "found", "todo"),
    [
        ("works", True, "ok", "PCIe apex_0 answers through libedgetpu.so.1", ""),
        ("none", True, "problem", "found no device that it may open", "unplug it and plug it in again"),
        ("refuses", True, "problem", "did not start: the tests do not want it to start", "plug it in again"),
        ("works", False, "note", "none is connected; libedgetpu.so.1 is installed", ""),
    ],
)
def test_an_edge_tpu(
    tmp_path: Path, delegate: Path, word: str, device: bool, state: str, found: str, todo: str
) -> None:
    board = Board(tmp_path, delegate, device=device)
    board.behaves(word)
    done = doctor("--json", *board.arguments, env=board.environment)
    assert done.returncode == 0, done.stdout
    finding = findings(done)["Edge TPU"]
    assert finding["state"] == state and found in finding["found"] and todo in finding.get("todo", "")


@pytest.mark.parametrize(
    ("word", "status", "state", "found"),
    [
        ("works", 0, "ok", "twins (edgetpu) runs on litert"),
        ("aborts@1", 0, "problem", "edgetpu failed: killed by SIGABRT in the first invoke()"),
        ("segfaults@0", 0, "problem", "edgetpu failed: killed by SIGSEGV while loading the model"),
    ],
)
def test_a_model_and_its_twin(tmp_path: Path, delegate: Path, word: str, status: int, state: str, found: str) -> None:
    board = Board(tmp_path, delegate)
    board.behaves(word)
    done = doctor("--json", *board.arguments, "--model", "twins", env=board.environment)
    assert done.returncode == status, done.stdout
    finding = findings(done)["model"]
    assert finding["state"] == state and found in finding["found"]
    assert (": xnnpack takes" in finding["found"]) == (state == "problem")


def test_beside_a_running_daemon(tmp_path: Path) -> None:
    with Daemon(tmp_path, '[camera.front]\nsource = "testcard"') as daemon:
        daemon.connect()
        done = doctor("--json", "--socket", str(daemon.socket))
        assert done.returncode == 0, done.stdout
        assert findings(done)["daemon"]["found"].endswith(f"answers at {daemon.socket}")
        daemon.connect().ask(type="ping")  # still there


def test_a_try_ends_with_the_doctor(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)\n"
    write(tmp_path / "cv2/__init__.py", body)
    process = subprocess.Popen(
        [sys.executable, "-m", "vigild", "doctor"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    give_up = time.monotonic() + TIMEOUT_S
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    pid = int(pid_file.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _alive(pid):
        assert time.monotonic() < give_up, "the try outlived the doctor"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
