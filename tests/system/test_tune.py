"""`vigild tune` as a command on real models, and a daemon that takes what it found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from harness import ASSETS, COCO_V1, Client, Daemon

from delegates.kit import Board, library
from simboard.live import Live
from simboard.profiles import PI5_BARE
from unit import modelkit

FLOAT = ASSETS / "models/ssd_mobilenet_v1_coco_float/ssd_mobilenet_v1_coco_dequant_fp32.tflite"
LABELS = ASSETS / "models/ssd_mobilenet_v1_coco/labelmap.txt"
EVAL = ASSETS / "images/coco_eval"
ANNOTATIONS = ASSETS / "annotations/coco_eval.json"

TIMEOUT_S = 110.0

TWO = """
format = 1
[model.quarters]
[[model.quarters.variant]]
name = "float32"
file = "float32.tflite"
[[model.quarters.variant]]
name = "uint8"
file = "uint8.tflite"
"""


class Tune:
    """A folder with a manifest and a profile of its own, and the command."""

    def __init__(self, folder: Path, manifest: str = "", **environ: str) -> None:
        self.folder = folder
        self.profile = folder / "tune.json"
        self.environ = {**os.environ, "VIGILD_PROFILE": str(self.profile), **environ}
        if manifest:
            (folder / "manifest.toml").write_text(manifest)
            self.environ["VIGILD_MANIFEST"] = str(folder / "manifest.toml")

    def start(self, *args: str) -> subprocess.Popen[str]:
        socket = [] if "--socket" in args else ["--socket", str(self.folder / "no-daemon")]
        return subprocess.Popen(
            [sys.executable, "-m", "vigild", "tune", *socket, *args],
            env=self.environ, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *args: str, status: int = 0) -> tuple[str, str]:
        """What it writes to standard output and standard error."""
        process = self.start(*args)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == status, out + err
        assert "Traceback" not in err
        return out, err

    def refused(self, *args: str, status: int = 1) -> str:
        """The one sentence it says."""
        out, err = self.run(*args, status=status)
        said = [line for line in err.splitlines() if line.startswith("vigild: ")]
        assert out == "" and len(said) == 1 and said[0].endswith("."), out + err
        return said[0]

    def model(self, name: str = "quarters") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.profile.read_text())["models"][name]
        return found

    def daemon(self, config: str, *args: str) -> Daemon:
        return Daemon(self.folder, config, *args, env={**self.environ})


@pytest.fixture
def quarters(tmp_path: Path) -> Tune:
    """An entry of two small detectors; they see green and blue quarters."""
    for dtype in ("float32", "uint8"):
        modelkit.quadrants(tmp_path, name=f"{dtype}.tflite", dtype=dtype)
    return Tune(tmp_path, TWO)


QUICK = ("--rounds", "1", "--seconds", "0.05", "--threads", "1")
TWICE = ("--rounds", "2", "--seconds", "0.05", "--threads", "1,2")


def test_the_embedded_model_and_a_daemon_that_takes_what_was_found(tmp_path: Path) -> None:
    tune = Tune(tmp_path)
    out, err = tune.run("--rounds", "1", "--seconds", "0.2", "--threads", "1,2")
    lines = out.splitlines()
    assert lines[0].startswith("VARIANT") and "P50 ms" in lines[0]
    assert re.search(r" 14\d of 144 shapes, \d invented", out)
    assert lines[-1] == 'The daemon takes this from the profile where model.variant is "auto" (the default).'
    assert f"The profile is {tune.profile}" in err and (tmp_path / "tune.svg").read_text().startswith("<svg")
    assert not tune.profile.with_name("tune.json.part").exists()
    (name,) = json.loads(tune.profile.read_text())["models"]
    rows = tune.model(name)["rows"]
    assert {(row["delegate"], row["threads"]) for row in rows} >= {("xnnpack", 1), ("xnnpack", 2), ("none", 1)}
    for row in rows:
        assert row["p50_ms"] > 0 and row["cpu_ms"] > 0 and row["load_ms"] > 0 and row["first_ms"] > 0
        assert row["memory_bytes"] > 20e6 and len(row["sha256"]) == 64
    # Whatever was chosen here: the daemon says that it took that, and runs it.
    with tune.daemon('[daemon]\nlog_level = "debug"\n[camera.c]\nsource = "testcard"\n') as daemon:
        client = daemon.connect()
        client.watch()
        message = client.until("detections")
        log = daemon.logged()
    chosen = lines[-2].split(": ")[0]
    variant, threads = chosen.split(" with ")[0], chosen.split(" with ")[1].split(" on ")[0]
    assert f"variant {variant} of {name} with {threads}" in log and f"({tune.profile})" in log
    assert message["variant"] == variant


def test_the_profile_decides_and_a_stale_one_is_noticed(quarters: Tune) -> None:
    quarters.run("--model", "quarters", *TWICE)
    config = '[model]\nname = "quarters"\n[camera.c]\nsource = "testcard"\n'

    def runs() -> tuple[str, int, str]:
        with quarters.daemon(config) as daemon:
            client = daemon.connect()
            client.watch(empty=True)
            client.until("detections")
            point = client.ask(type="status")["health"]["operating_point"]
            log = daemon.logged()
        daemon.log.unlink()
        return point["variant"], point["threads"], log

    # Edited as if only uint8 with 2 threads had been good enough.
    kept = json.loads(quarters.profile.read_text())
    rows = kept["models"]["quarters"]["rows"]
    for row in rows:
        row.pop("accuracy", None)
        row["p50_ms"], row["dropped"] = 3.0, "" if (row["variant"], row["threads"]) == ("uint8", 2) else "slow"
    quarters.profile.write_text(json.dumps(kept))
    variant, threads, log = runs()
    assert (variant, threads) == ("uint8", 2) and "stale" not in log
    kept["models"]["quarters"]["preferred"] = "litert 0.1"
    quarters.profile.write_text(json.dumps(kept))
    variant, threads, log = runs()
    assert (variant, threads) == ("float32", 1)
    assert "is stale: it was measured with" in log and "run vigild tune again" in log
    kept["board"]["model"] = "Raspberry Pi 9"
    quarters.profile.write_text(json.dumps(kept))
    _, err = quarters.run("--model", "quarters", "--show")
    assert "is stale: it was measured on another board (Raspberry Pi 9" in err


def test_stopped_and_gone_on_with(quarters: Tune) -> None:
    part = quarters.profile.with_name("tune.json.part")

    def trials() -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = json.loads(part.read_text())["trials"]
        except FileNotFoundError:
            return []
        return found

    process = quarters.start("--model", "quarters", *TWICE)
    deadline = time.monotonic() + TIMEOUT_S
    while len(trials()) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    told = quarters.refused("--model", "quarters", *TWICE)
    assert f"another vigild tune is running and keeps its measurements in {quarters.folder}" in told
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    before = trials()
    assert 2 <= len(before) < 16 and len(out.splitlines()) >= 2
    assert f"Stopped; what is measured is kept in {part}" in err and not quarters.profile.exists()
    _, err = quarters.run("--model", "quarters", *TWICE)
    assert f"Going on with a run that was stopped; {len(before)} results are there." in err
    assert not part.exists()
    kept = {(row["variant"], row["delegate"], row["threads"]): row for row in quarters.model()["rows"]}
    assert len(kept) == 8
    # Another file in between, and nothing of it is believed.
    part.write_text(json.dumps({"subject": {}, "trials": before}))
    _, err = quarters.run("--model", "quarters", *TWICE, "--delegates", "xnnpack")
    assert f"Begun anew, since {part} is damaged" in err


def test_killed_it_leaves_no_process_behind(quarters: Tune) -> None:
    process = quarters.start("--model", "quarters", "--seconds", "60")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := children.read_text().split()) or b"timing" not in _command(found[0]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while Path(f"/proc/{found[0]}").exists() and b"timing" in _command(found[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_sustained_loads_the_board_and_claims_nothing_too_soon(quarters: Tune) -> None:
    """The real load on a simulated board, for the six seconds that are the least it may be given."""
    arguments = ("--model", "quarters", *QUICK, "--delegates", "none")
    with Live(PI5_BARE, 30.0, quarters.folder / "board") as live:
        process = quarters.start(*arguments, "--sustained", "0.1", "--sysfs-root", str(live.root))
        live.pid = process.pid
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1 and out == "" and "Traceback" not in err
    assert re.search(r"^vigild: \w+ with 1 thread on none: at rest \(1 s\), under load", err, re.MULTILINE), err
    loaded = re.search(r"^under load: [\d.]+ °C, ([\d.]+) frames/s; about 5 s left$", err, re.MULTILINE)
    assert loaded, err
    assert "cooling down: " in err and err.splitlines()[-1].startswith("vigild: no rate is told: ")
    assert quarters.model()["rows"] and not any("sustained_fps" in row for row in quarters.model()["rows"])


def test_sustained_stopped_leaves_no_load_behind(quarters: Tune) -> None:
    arguments = ("--model", "quarters", *QUICK, "--delegates", "none")
    with Live(PI5_BARE, 30.0, quarters.folder / "board") as live:
        process = quarters.start(*arguments, "--sustained", "5", "--sysfs-root", str(live.root))
        live.pid = process.pid
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := children.read_text().split()) or b"\0load\0" not in _command(found[0]):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        assert process.stderr is not None
        while "at rest: " not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and "Stopped, and so is the load." in err, err
    assert not Path(f"/proc/{found[0]}").exists()


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [("aborts@1", "killed by SIGABRT in the first invoke()"), ("aborts@5", "killed by SIGABRT in invoke()")],
)
def test_a_delegate_that_aborts_costs_one_row(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, behaviour: str, says: str
) -> None:
    board = Board(tmp_path, library(tmp_path_factory), device=False)
    board.behaves(behaviour)
    tune = Tune(tmp_path, **board.environment)
    out, _ = tune.run(
        "--model", "twins", "-o", f"model.delegate={tmp_path}/lib/libedgetpu.so.1", *board.arguments, *TWICE,
        "--threads", "1",
    )  # fmt: skip
    (died,) = [line for line in out.splitlines() if "SIGABRT" in line]
    assert died.startswith(f"cpu on {tmp_path}/lib/libedgetpu.so.1 (1 thread): ") and says in died
    rows = {row["delegate"]: row for row in tune.model("twins")["rows"]}
    assert "SIGABRT" in rows[f"{tmp_path}/lib/libedgetpu.so.1"]["failed"]
    assert rows["xnnpack"]["rounds"] == rows["none"]["rounds"] == 2 and "failed" not in rows["none"]


def test_where_no_runtime_works_the_profile_stays(quarters: Tune, tmp_path: Path) -> None:
    quarters.profile.write_text("the old one")
    for name in ("ai_edge_litert", "tflite_runtime"):
        package = tmp_path / "site" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "interpreter.py").write_text("import ctypes\nctypes.string_at(0)\n")
    path = quarters.environ.get("PYTHONPATH", "")
    quarters.environ["PYTHONPATH"] = f"{tmp_path / 'site'}:{path}".rstrip(":")
    out, err = quarters.run("--model", "quarters", *QUICK, status=1)
    (line, other) = out.splitlines()
    assert line.startswith("float32 on xnnpack (1 thread) and none (1 thread): killed by SIGSEGV while starting litert")
    assert other.startswith("uint8 on ")
    assert "none of the 4 settings runs here, so the profile stays as it was" in err
    assert quarters.profile.read_text() == "the old one"


def test_an_edge_tpu_and_its_twin_are_measured_side_by_side(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    board = Board(tmp_path, library(tmp_path_factory))
    board.behaves("works")
    tune = Tune(tmp_path, **board.environment)
    tune.run("--model", "twins", *board.arguments, *QUICK)
    rows = tune.model("twins")["rows"]
    assert {(row["variant"], row["delegate"]) for row in rows if row["rounds"]} == {
        ("edgetpu", "edgetpu"), ("cpu", "xnnpack"), ("cpu", "none")
    }  # fmt: skip


def test_sensors_and_throttling(quarters: Tune, tmp_path: Path) -> None:
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal")
    (zone / "temp").write_text("54500")
    volt = tmp_path / "root/sys/class/hwmon/hwmon0"
    volt.mkdir(parents=True)
    (volt / "name").write_text("rpi_volt")
    (volt / "in0_lcrit_alarm").write_text("1")
    out, _ = quarters.run("--model", "quarters", "--sysfs-root", str(tmp_path / "root"), *QUICK)
    assert "RISE °C" in out and "+0.0" in out and "limited meanwhile (under voltage)" in out
    assert all(row["celsius"] == 54.5 for row in quarters.model()["rows"])
    out, _ = quarters.run(
        "--model", "quarters", "--sysfs-root", str(tmp_path / "root"), *QUICK, "--budget", "temperature=50C"
    )
    assert "Nothing can be recommended: no setting fits the budget" in out and "54 °C of 50 °C" in out


@pytest.mark.skipif(not COCO_V1.exists(), reason=f"needs the COCO models and pictures in {ASSETS}")
def test_the_official_model_and_its_float_twin_with_annotations(tmp_path: Path) -> None:
    tune = Tune(
        tmp_path,
        f"""
format = 1
[model.coco]
[[model.coco.variant]]
name = "uint8"
file = "{COCO_V1}"
[[model.coco.variant]]
name = "float32"
file = "{FLOAT}"
labels = "{LABELS}"
mean = [128, 128, 128]
std = [128, 128, 128]
""",
    )
    arguments = ("--model", "coco", "--images", str(EVAL), "--annotations", str(ANNOTATIONS), "--delegates", "xnnpack")
    out, _ = tune.run(*arguments, "--rounds", "1", "--seconds", "0.3", "--threads", "1")
    rows = {row["variant"]: row["accuracy"] for row in tune.model("coco")["rows"]}
    # As an evaluation of its own gives for all 42 pictures (test_accuracy.py).
    assert rows["uint8"]["ap"] == pytest.approx(0.226, abs=0.002)
    assert rows["float32"]["ap"] == pytest.approx(0.234, abs=0.002)
    assert rows["uint8"]["reference"] == "float32" and rows["uint8"]["agreement"] > 0.9
    assert rows["float32"]["agreement"] == 1.0
    assert "COCO AP" in (tmp_path / "tune.svg").read_text()
    assert out.splitlines()[-2].startswith("float32 with 1 thread on xnnpack: ")
    assert "but loses 0.008 AP" in out or "uint8 is" in out


def test_a_daemon_that_runs(quarters: Tune) -> None:
    config = '[model]\nname = "quarters"\n[camera.a]\nsource = "testcard"\n[camera.b]\nsource = "testcard"\n'
    with quarters.daemon(config) as daemon:
        told = quarters.refused("--model", "quarters", "--socket", str(daemon.socket), *QUICK)
        assert f"a vigild daemon runs ({daemon.socket})" in told and "--pause" in told and "--anyway" in told
        _, err = quarters.run("--model", "quarters", "--socket", str(daemon.socket), "--anyway", *QUICK)
        assert "the times say little" in err
        client = daemon.connect()
        client.ask(type="pause", camera="b")
        client.watch(empty=True)
        process = quarters.start("--model", "quarters", "--socket", str(daemon.socket), "--pause", *QUICK)
        client.until(lambda m: m["type"] == "heartbeat" and m["camera"] == "a" and m["status"] == "paused")
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        assert _statuses(client) == {"a": True, "b": False}


def _statuses(client: Client) -> dict[str, bool]:
    """Which cameras are looked through."""
    cameras = client.ask(type="status")["health"]["cameras"]
    return {name: camera["status"] != "paused" for name, camera in cameras.items()}


def test_one_sentence_for_each_mistake(quarters: Tune, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.json").write_text('{"images": 1}')
    (tmp_path / "text.tflite").write_text("no model, but long enough to be looked into: " + 64 * "x")
    model = ("--model", "quarters")
    assert "no model named 'nothing'" in quarters.refused("--model", "nothing")
    assert "There is no model file /absent.tflite" in quarters.refused("--model", "/absent.tflite")
    assert "is not a TFLite model" in quarters.refused("--model", str(tmp_path / "text.tflite"))
    assert "holds no picture" in quarters.refused(*model, "--images", str(tmp_path / "empty"))
    assert "does not exist" in quarters.refused(*model, "--images", str(tmp_path / "absent"))
    assert "name their folder with --images" in quarters.refused(*model, "--annotations", "a.json", status=2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.png").write_bytes(b"x")
    told = quarters.refused(*model, "--images", str(tmp_path / "photos"), "--annotations", str(tmp_path / "a.json"))
    assert "is not a COCO annotations file" in told
    (tmp_path / "b.json").write_text(
        '{"images": [{"id": 1, "file_name": "gone.jpg", "width": 9, "height": 9}], '
        '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}], '
        '"categories": [{"id": 1, "name": "cat"}]}'
    )
    (tmp_path / "empty/broken.jpg").write_text("no picture")
    told = quarters.refused(*model, "--images", str(tmp_path / "empty"), "--annotations", str(tmp_path / "b.json"))
    assert f"that {tmp_path}/b.json names is a picture that can be decoded" in told
    assert "is a picture that can be decoded" in quarters.refused(*model, "--images", str(tmp_path / "empty"))
    assert "--budget: found 'speed=1'" in quarters.refused(*model, "--budget", "speed=1", status=2)
    told = quarters.refused(*model, "--profile", str(tmp_path / "a.json/tune.json"), *QUICK)
    assert "cannot be kept at" in told and "--profile FILE" in told
    assert "one name of the manifest" in quarters.refused("--model", "a", "b", status=2)
    assert "there is no profile" in quarters.refused(*model, "--show")
    quarters.run(*model, *QUICK, "--delegates", "xnnpack")
    assert "holds quarters, but nothing of people_vehicles_ssd" in quarters.refused(
        "--show", "--model", "people_vehicles_ssd"
    )


def test_files_instead_of_an_entry_and_json(quarters: Tune, tmp_path: Path) -> None:
    files = [str(tmp_path / "float32.tflite"), str(tmp_path / "uint8.tflite")]
    out, _ = quarters.run("--model", *files, *QUICK, "--json", "--delegates", "none", "--pareto", "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(out)["rows"]
    assert {row["variant"] for row in rows} == {"float32", "uint8"}
    assert {row["delegate"] for row in rows} == {"none"}
    assert list(json.loads(quarters.profile.read_text())["models"]) == ["float32 + uint8"]
