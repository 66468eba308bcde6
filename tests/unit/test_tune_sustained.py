"""`vigild tune --sustained` as a command: real settings, and a simulated board on a clock that does not wait."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tunekit import BOARD, row

from simboard.live import Live
from simboard.profiles import PI5_BARE
from unit import modelkit
from vigild import terminal
from vigild.budget import budgeting, thermal_fit, thermal_model
from vigild.budget.operating_points import OperatingPoint
from vigild.budget.thermal_pair import Sample
from vigild.catalogue import profile
from vigild.catalogue.profile import ModelProfile, Profile, Sustained
from vigild.cli import tune as cli_tune
from vigild.cli.parser import build as build_parser
from vigild.config.schema import ModelConfig
from vigild.doctor.service import Daemon
from vigild.learned import Learned
from vigild.tune import load, meter, session, sustained, sustained_words, table
from vigild.tune.bar import Bar
from vigild.tune.course import Plan, Result
from vigild.tune.measure import CannotMeasure
from vigild.tune.meter import Meter
from vigild.tune.tasks import Loaded, LoadTask

ROOM_CELSIUS = 30.0
TRUE_PART = 16.42 / 40
"""Of full speed, that this board holds for ever in that room (the same formula as in test_tune_course)."""

MANIFEST = """
format = 1
[model.quarters]
[[model.quarters.variant]]
name = "uint8"
file = "uint8.tflite"
"""


class World:
    """A clock that sleeping moves, a board that warms with the load, and the load itself."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.now_s = 1000.0
        self.full_fps = 40.0
        self.asked = 0.0
        self.done = 0.0
        self.most_asked = 0.0
        self.ended = False
        self.at: dict[int, Callable[[], None]] = {}
        """What happens at a second."""

    # ---- in place of the module time

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)

    def gmtime(self) -> Any:
        return time.gmtime(0)

    def strftime(self, *arguments: Any) -> str:
        return time.strftime(*arguments)

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self.now_s += seconds
        if happens := self.at.pop(round(self.now_s - 1000), None):
            happens()
        fps = min(self.asked, self.full_fps)
        self.done += fps * seconds
        for _ in range(round(seconds / self.live.board.STEP_S)):
            self.live.step(fps / self.full_fps)

    # ---- in place of Load

    def __call__(self, task: LoadTask) -> World:
        assert Path(task.tensors).stat().st_size > 0
        self.loaded = Loaded(model="quarters", variant="uint8", threads=task.config.threads, delegate=task.delegate)
        return self

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.ended, self.asked = True, 0.0

    def ask(self, fps: float) -> None:
        self.asked = fps
        self.most_asked = max(self.most_asked, fps)

    def frames(self) -> int:
        whole, self.done = int(self.done), self.done % 1.0
        return whole


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    modelkit.quadrants(tmp_path, name="uint8.tflite")
    (tmp_path / "manifest.toml").write_text(MANIFEST)
    monkeypatch.setenv("VIGILD_MANIFEST", str(tmp_path / "manifest.toml"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("VIGILD_SOCKET", str(tmp_path / "no-daemon"))
    monkeypatch.delenv("VIGILD_PROFILE", raising=False)
    world = World(Live(PI5_BARE, ROOM_CELSIUS, tmp_path / "board"))
    monkeypatch.setattr(sustained, "time", world)
    monkeypatch.setattr(sustained, "Load", world)
    # As if the setting had been measured on such a board.
    facts = {"p50_ms": 25.0, "cpu_ms": 100.0, "cores_busy": 4.0, "threads": 1}
    real = session._measured

    def measured(*arguments: Any) -> ModelProfile:
        model = real(*arguments)
        assert model is not None
        rows = [msgspec.structs.replace(one, **facts) for one in model.rows]
        half = msgspec.structs.replace(rows[0], threads=2, cpu_ms=50.0, p50_ms=12.5)
        return msgspec.structs.replace(model, rows=[*rows, half])

    monkeypatch.setattr(session, "_measured", measured)
    yield world


def tune(world: World, *arguments: str) -> int:
    common = ["--model", "quarters", "--rounds", "1", "--seconds", "0.05", "--delegates", "none", "--threads", "1"]
    args = build_parser().parse_args(["tune", *common, "--sysfs-root", str(world.live.root), *arguments])
    status: int = args.run(args)
    return status


def state(tmp_path: Path, name: str) -> Any:
    path = tmp_path / "state" / name
    return json.loads(path.read_text()) if path.exists() else None


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """Standard output, and the sentences on standard error."""
    out, err = capsys.readouterr()
    return out, [line.removeprefix("vigild: ") for line in err.splitlines() if line.startswith("vigild: ")]


def test_from_nothing_to_a_rate_for_each_operating_point(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(world, "--sustained") == 0
    out, err = said(capsys)
    assert world.live.hottest <= PI5_BARE.budget + 1.0 and world.ended
    model = state(tmp_path, "tune.json")["models"]["quarters"]
    one, two = (found for found in model["rows"] if "sustained_fps" in found)
    assert one["sustained_fps"] == pytest.approx(40 * TRUE_PART, rel=0.1)
    assert one["duty"] == pytest.approx(TRUE_PART, rel=0.1)
    # Half the CPU time for a frame: twice the rate, at the same duty.
    assert two["sustained_fps"] == pytest.approx(2 * one["sustained_fps"]) and two["duty"] == one["duty"]
    found = model["sustained"]
    assert (found["variant"], found["threads"], found["celsius"]) == ("uint8", 1, 75.0)
    assert found["rest_celsius"] == pytest.approx(55.5, abs=1.0)
    assert "SUSTAINED" in out.splitlines()[0]
    assert re.search(r"uint8 with 1 thread on none: 1\d\.\d ± \d\.\d frames/s for ever at 75 °C", out)
    assert "With a fan that took 20 °C off: 3" in out
    assert re.match(
        r"uint8 with 1 thread on none: at rest \(60 s\), under load .* about \d\d min, at most 60 min", err[2]
    )
    # The daemon begins with it.
    kept = Learned(world.live.root).load()
    assert kept is not None and f"is kept for the daemon, in {tmp_path / 'state/thermal.json'}" in err[3]
    point = OperatingPoint(model="quarters", variant="uint8", threads=1, delegate="none")
    assert kept.unit == budgeting.unit(point)
    told = thermal_model.describe(thermal_model.believe(kept), 75.0, 1.0, str(point), kept.full_load)
    assert told.startswith(f"{one['sustained_fps']:.1f} ± ") and "not learned well" not in told


def test_what_is_measured_is_not_measured_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tune(world, "--sustained", "0.5") == 1
    before = (tmp_path / "state/tune.json").read_text()
    monkeypatch.setattr(session, "_measured", None)
    assert tune(world, "--sustained", "0.5") == 1
    assert (tmp_path / "state/tune.json").read_text() == before
    assert "no rate is told" in said(capsys)[1][-1]


def test_too_short_it_claims_nothing(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(world, "--sustained", "5") == 1
    out, err = said(capsys)
    assert out == "" and "In so short a time hardly any board comes to stand still." in err[2]
    assert "the temperature did not come to stand still in 5 min." in err[-1]
    assert re.search(r"What was seen would make it [\d.]+ ± [\d.]+ frames/s; .* --sustained 10\.", err[-1])
    model = state(tmp_path, "tune.json")["models"]["quarters"]
    assert model.get("sustained") is None and not any("sustained_fps" in one for one in model["rows"])


def test_what_is_surer_is_not_written_over(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(world, "--sustained") == 0
    before = (tmp_path / "state/thermal.json").read_text()
    profile_before = (tmp_path / "state/tune.json").read_text()
    world.live.board.board = world.live.board.room + 19.0
    assert tune(world, "--sustained", "3") == 1
    assert (tmp_path / "state/thermal.json").read_text() == before
    assert (tmp_path / "state/tune.json").read_text() == profile_before
    assert "stays as it was: what is in there is surer" in said(capsys)[1][-2]


@pytest.mark.parametrize(("second", "says"), [(30, "Nothing was learned"), (400, "is kept for the daemon")])
def test_ctrl_c_ends_the_load_and_says_what_is_kept(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], second: int, says: str
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    world.at[second] = stop
    assert tune(world, "--sustained") == 130
    assert world.ended and (tmp_path / "state/thermal.json").exists() == (second > 60)
    sentence = said(capsys)[1][-1]
    assert sentence.startswith("Stopped, and so is the load. ") and says in sentence


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_goes_away_keeps_what_was_learned(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        def isatty(self) -> bool:
            return True

    def goes() -> None:
        os.kill(os.getpid(), number)

    world.at[400] = goes
    monkeypatch.setattr(session, "Bar", lambda out, *more: Bar(Gone(), *more))
    # It comes again while things are kept, from the shell.
    keep = sustained.Sustaining._keep
    again = goes if number is signal.SIGHUP else (lambda: None)
    monkeypatch.setattr(sustained.Sustaining, "_keep", lambda self, result: (again(), keep(self, result))[1])
    before = {one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGHUP, signal.SIGTERM)}
    try:
        assert tune(world, "--sustained") == 130
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert world.ended and (tmp_path / "state/thermal.json").exists()
    assert "is kept for the daemon" in said(capsys)[1][-1]


def test_nohup_is_heard() -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        cli_tune._stop_as_with_ctrl_c()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_a_sensor_that_goes_away(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    def goes() -> None:
        world.live.board.sensor_works = False
        (world.live.root / "sys/class/thermal/thermal_zone0/temp").unlink()

    world.at[200] = goes
    assert tune(world, "--sustained") == 1
    assert world.now_s < 1220 and world.ended
    assert "cpu-thermal cannot be read any more, so the load was stopped" in said(capsys)[1][-1]


def refused(world: World, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """One sentence, before anything was measured or heated."""
    assert tune(world, *(arguments or ("--sustained",))) == 1
    out, err = said(capsys)
    assert out == "" and len(err) == 1 and world.now_s == 1000.0 and world.most_asked == 0.0
    return err[0]


def test_a_cooler_sensor_does_not_stand_in_for_the_one_that_is_missing(tmp_path: Path) -> None:
    """Not even in the two seconds until it is known to be lost: that is how the load would run on blind."""
    zones = tmp_path / "sys/class/thermal"
    for at, (kind, milli) in enumerate((("cpu-thermal", 74000), ("gpu-thermal", 62000))):
        zone = zones / f"thermal_zone{at}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{milli}\n")
    thermometer = sustained.Thermometer(tmp_path)
    assert thermometer.read()[0] == ("cpu-thermal", 74.0)
    (zones / "thermal_zone0/temp").unlink()
    assert thermometer.read()[0] is None
    (zones / "thermal_zone0/temp").write_text("73000\n")
    assert thermometer.read()[0] == ("cpu-thermal", 73.0)
    thermometer.close()


def test_no_sensor(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.live.root / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert refused(world, capsys).startswith("--sustained needs a temperature sensor, and none of a processor")


def test_too_hot_already(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(world, capsys, "--sustained", "--budget", "temperature=50C")
    assert re.match(
        r"cpu-thermal is at 5\d\.\d °C without any of this work, and the budget is 50 °C: there is no ", told
    )


def test_nowhere_to_keep_it(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learned, "writable", False)
    assert "cannot be written to; run it as the user whom the daemon runs as" in refused(world, capsys)


def test_nowhere_to_keep_the_profile(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    told = refused(world, capsys, "--sustained", "--profile", str(tmp_path / "file/tune.json"))
    assert told.startswith(f"the profile cannot be kept in {tmp_path / 'file'}; ")


def test_a_daemon_runs(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    there = Daemon(hello=object(), path="/run/it", reason="")  # type: ignore[arg-type]
    monkeypatch.setattr(session, "find_daemon", lambda *_: there)
    for more in ((), ("--pause",), ("--anyway",)):
        assert "a vigild daemon runs (/run/it), warms the board" in refused(world, capsys, "--sustained", *more)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "x", "0.05", "100000"])
def test_minutes_that_are_none(world: World, text: str) -> None:
    with pytest.raises(SystemExit) as usage:
        tune(world, f"--sustained={text}")
    assert usage.value.code == 2


# ---- the parts


def test_the_meter_carries_both_ways_and_a_load_that_nobody_watches_rests(tmp_path: Path) -> None:
    with Meter.made(tmp_path / "meter") as parent, Meter(tmp_path / "meter") as child:
        assert child.asked(100.0) == 0.0
        parent.ask(12.5)
        assert child.asked(101.0) == 12.5 and child.asked(101.0 + meter.ASKED_S - 0.1) == 12.5
        assert child.asked(101.0 + meter.ASKED_S) == 0.0
        parent.ask(12.5)
        assert child.asked(120.0) == 12.5
        parent.ask(1e12)
        assert child.asked(121.0) > 4e6
        for _ in range(3):
            child.count()
        assert parent.frames() == 3 and parent.frames() == 0


def test_a_load_that_dies_or_never_loads_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    task = LoadTask(
        config=ModelConfig(path=str(tmp_path / "broken.tflite")), delegate="none", tensors=str(tmp_path / "tensors"),
        meter=str(tmp_path / "meter"), ready=str(tmp_path / "ready"),
    )  # fmt: skip
    with pytest.raises(CannotMeasure, match="the load ended: "):
        load.Load(task)


def test_a_fit_needs_a_load_and_some_time() -> None:
    assert thermal_fit.fit([]) is None
    assert thermal_fit.fit([Sample(1.0, 50.0, 0.0)] * 500) is None
    assert thermal_fit.fit([Sample(1.0, None, 5.0)] * 500) is None
    # Work that cools a board is none.
    cooled = [Sample(1.0, 60.0 - 10 * (at > 250), 18.0 * (at > 250)) for at in range(500)]
    assert thermal_fit.fit(cooled) is None


def test_why_no_rate_is_told() -> None:
    base = Result(
        ended="whole", plateau=True, load=10.0, deviation=4.0, sure=False, fitted=None, model=None,
        rest_celsius=74.0, hottest_celsius=75.0, load_s=100.0, flags=(),
    )  # fmt: skip

    def why(**changed: Any) -> str:
        return sustained_words.failed(msgspec.structs.replace(base, **changed), 75.0, 60.0, "cpu-thermal")

    some = object()
    assert "is at 74.0 °C without any of this work" in why(ended="hot")
    assert "went 1 °C above the budget of 75 °C although" in why(ended="over")
    assert "10.0 ± 4.0 frames/s, which is not sure enough" in why(fitted=some)
    assert "60 min are too short" in why()


def test_the_sentence_of_what_is_held() -> None:
    found = Sustained(
        variant="int8-256", delegate="xnnpack", threads=2, fps=50.0, deviation_fps=1.0, full_fps=40.0, celsius=75.0,
        rest_celsius=40.0, die_celsius=10.0, board_celsius=20.0, die_seconds=5.0, board_seconds=300.0, measured="",
    )  # fmt: skip
    full = sustained_words.held(found, "it")
    assert full.startswith("it: full speed, 40.0 frames/s, for ever below 75 °C") and "fan" not in full
    assert "Full speed adds 10.0 °C within 5 s and 20.0 °C within 5 min." in full
    flags = sustained_words.held(msgspec.structs.replace(found, fps=20.0, flags=["under_voltage"]), "it")
    assert "it: 20.0 ± 1.0 frames/s for ever at 75 °C" in flags and "(under voltage)" in flags
    plan = Plan(unit="u", full_fps=10.0, celsius=75.0, seconds=3600.0)
    assert "so short" not in sustained_words.begins("it", plan)


def test_the_column_stays_within_a_terminal() -> None:
    rows = [
        row(
            "int8-256", sustained_fps=14.2, duty=0.71, rise_celsius=3.0, agreement=1.0, found=140, missed=4, invented=0
        ),
        row("int8-192", sustained_fps=140.2, duty=1.0, rise_celsius=3.0, agreement=1.0),
        row("float32-256", rise_celsius=3.0, agreement=1.0),
    ]
    lines = list(table.lines(rows, 80))
    assert "SUSTAINED" in lines[0] and "14.2 fps 71 %" in lines[1] and "140 fps 100 %" in lines[2]
    assert all(terminal.width(line) <= 80 for line in lines)
    assert "SUSTAINED" not in next(table.lines(rows[2:], 80))


def test_profiles_of_before_are_read(tmp_path: Path) -> None:
    model = ModelProfile(preferred="litert 2.3.0", measured="", budgets=profile.Budgets(), rows=[row()])
    whole = msgspec.to_builtins(Profile(format=1, board=BOARD, models={"m": model}))
    del whole["models"]["m"]["sustained"]
    assert "sustained_fps" not in whole["models"]["m"]["rows"][0]
    (tmp_path / "tune.json").write_text(json.dumps(whole))
    read = profile.load(tmp_path / "tune.json").models["m"]
    assert read == model and read.sustained is None and read.rows[0].sustained_fps is None


def test_full_speed() -> None:
    assert row(p50_ms=4.0).full_fps == pytest.approx(250) and row(p50_ms=0.0).full_fps == 0.0
