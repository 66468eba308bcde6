"""In which order, what is given up, how long it takes, and what the tries come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tunekit import BOARD, subject, timed

from vigild.board import budgets as board_budgets
from vigild.catalogue.entry import ManifestError
from vigild.catalogue.profile import Accuracy, Budgets, save
from vigild.config.schema import ModelConfig
from vigild.tune import trials
from vigild.tune.budgets import BudgetError, parse
from vigild.tune.candidates import Build, builds, candidates, default_threads
from vigild.tune.plan import Job, estimate, hopeless, order
from vigild.tune.trials import Judged, State, Trial

INT8 = Build("int8", ModelConfig(path="/int8.tflite"), False)
TPU = Build("tpu", ModelConfig(path="/tpu.tflite"), True)


# ---- plan


def test_every_round_has_all_in_another_order_and_always_the_same() -> None:
    items = list(range(12))
    rounds = [order(items, number) for number in (1, 2, 3)]
    assert all(sorted(one) == items for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3
    assert rounds == [order(items, number) for number in (1, 2, 3)]


def test_hopeless() -> None:
    p50 = {("int8", "xnnpack", 1): 3.0, ("float32", "xnnpack", 1): 20.0, ("int16x8", "xnnpack", 1): 120.0}
    assert hopeless(p50) == {
        ("int16x8", "xnnpack", 1): "given up after one round: 40 times slower than the fastest on xnnpack",
    }
    assert hopeless({}) == {}


def test_a_fast_edge_tpu_does_not_take_the_cpu_out_of_the_race() -> None:
    p50 = {("tpu", "edgetpu", 1): 2.0, ("int8", "xnnpack", 1): 40.0, ("float32", "xnnpack", 1): 400.0}
    assert hopeless(p50).keys() == {("float32", "xnnpack", 1)}


def test_the_estimate_takes_what_was_seen() -> None:
    a, b = ("a", "xnnpack", 1), ("b", "xnnpack", 1)
    left = [Job("timing", a, 4.0), Job("timing", b, 4.0), Job("accuracy", a, 10.0)]
    assert estimate(left, []) == 18
    assert estimate(left, [("timing", a, 2.0)]) == 2 + 2 + 10
    assert estimate(left, [("timing", a, 2.0), ("timing", b, 6.0), ("accuracy", b, 3.0)]) == 2 + 6 + 3


# ---- candidates


def test_threads() -> None:
    assert [default_threads(cores) for cores in (1, 2, 4, 6, 64)] == [
        [1],
        [1, 2],
        [1, 2, 4],
        [1, 2, 4, 6],
        [1, 2, 4, 8],
    ]


def keys(delegate: str = "auto", delegates: list[str] | None = None, root: Path = Path("/nowhere")) -> list[str]:
    found = candidates([INT8, TPU], [1, 2], delegates, delegate, root)
    return [f"{one.build.name} {one.delegate} {one.threads}" for one in found]


def test_what_a_board_can_run() -> None:
    on_cpu = ["int8 xnnpack 1", "int8 xnnpack 2", "int8 none 1", "int8 none 2"]
    assert keys() == on_cpu
    assert keys("edgetpu:usb:0") == [*on_cpu, "tpu edgetpu:usb:0 1"]
    assert keys("/lib/d.so") == ["int8 /lib/d.so 1", "int8 /lib/d.so 2", *on_cpu]
    assert keys(delegates=["none"]) == ["int8 none 1", "int8 none 2"]
    assert keys(delegates=["edgetpu"]) == ["tpu edgetpu 1"]


def test_builds_of_an_entry_and_of_files(tmp_path: Path) -> None:
    manifest = tmp_path / "m.toml"
    manifest.write_text(
        'format = 1\n[model.m]\n[[model.m.variant]]\nname = "a"\nfile = "a.tflite"\n'
        '[[model.m.variant]]\nname = "b"\nfile = "b.tflite"\n'
    )
    environ = {"VIGILD_MANIFEST": str(manifest), "VIGILD_MODELS": str(tmp_path)}
    config = ModelConfig(name="m", sha256="0" * 64)
    with pytest.raises(ManifestError, match="No variant of m is on this machine"):
        builds(config, [], environ)
    (tmp_path / "a.tflite").write_bytes(b"x")
    found = builds(config, [], environ)
    assert ([one.name for one in found.builds], found.absent) == (["a"], ["b"])
    assert found.builds[0].config.sha256 is None
    with pytest.raises(ManifestError, match="no model named 'n'"):
        builds(ModelConfig(name="n"), [], environ)
    with pytest.raises(ManifestError, match=r"There is no model file /absent\.tflite"):
        builds(config, ["/absent.tflite"], environ)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.tflite").write_bytes(b"edgetpu-custom-op")
    files = builds(config, [str(tmp_path / "a.tflite"), str(tmp_path / "sub/a.tflite")], environ)
    assert len({one.name for one in files.builds}) == 2
    assert [one.edgetpu for one in files.builds] == [False, True]


# ---- budgets

IN_FORCE = board_budgets.Budgets(memory=256 * 2**20, temperature=75.0)


def test_budgets_from_the_command_line() -> None:
    assert parse(None, IN_FORCE) == Budgets(memory_bytes=256 * 2**20, temperature_celsius=75)
    assert parse("memory=200MiB, latency=50ms,temperature=70C", IN_FORCE) == Budgets(
        memory_bytes=200 * 2**20, latency_ms=50, temperature_celsius=70
    )


@pytest.mark.parametrize(
    ("text", "says"), [("speed=1", "expected memory="), ("memory", "expected"), ("latency=50", "without a unit")]
)
def test_budgets_that_are_none(text: str, says: str) -> None:
    with pytest.raises(BudgetError, match=says):
        parse(text, IN_FORCE)


# ---- what the tries come to


def trial(round_: int, delegate: str = "xnnpack", **facts: Any) -> Trial:
    return Trial(variant="int8", delegate=delegate, threads=1, round=round_, spent_s=3.0, **facts)


def test_rounds_become_a_row() -> None:
    state = State(
        subject=subject(),
        trials=[
            trial(1, timed=timed(3.0, celsius=50.0, rise_celsius=1.0, memory_bytes=41 * 2**20)),
            trial(2, timed=timed(5.0, celsius=55.0, rise_celsius=3.0, flags=["under_voltage"])),
            trial(3, timed=timed(4.0, others_busy=0.7)),
        ],
        judged=[Judged(variant="int8", delegate="xnnpack", spent_s=9.0, accuracy=Accuracy(pictures=9, ap=0.2))],
    )
    row, broken = trials.rows(state, first_round_done=True)
    assert (row.rounds, row.inferences, row.p50_ms, row.spread_ms) == (3, 300, 4.0, 2.0)
    assert (row.memory_bytes, row.celsius, row.rise_celsius) == (41 * 2**20, 55.0, 2.0)
    assert (row.flags, row.others_busy) == (["under_voltage"], 0.7)
    assert row.accuracy is not None and row.accuracy.ap == 0.2 and row.width == 300
    assert row.works and not broken.works and broken.failed == "it is no model"


def test_one_that_dies_costs_its_row_only() -> None:
    state = State(
        subject=subject(),
        trials=[
            trial(1, timed=timed()),
            trial(1, "none", timed=timed(9.0)),
            trial(2, "none", failed="killed by SIGABRT"),
        ],
    )
    works, died, _ = trials.rows(state, first_round_done=True)
    assert works.works and not died.works and died.failed == "killed by SIGABRT"


def test_a_run_goes_on_only_with_the_same_subject(tmp_path: Path) -> None:
    path = tmp_path / "tune.json.part"
    kept = State(subject=subject(), trials=[trial(1, timed=timed())])
    assert trials.load(path, subject()) == (State(subject=subject()), "")
    save(path, kept)
    assert trials.load(path, subject()) == (kept, "")
    changes: dict[str, tuple[Any, str]] = {
        "files": ({}, "a model file is another one"),
        "runtime": ("litert 9", "the runtime is another one"),
        "board": (msgspec.structs.replace(BOARD, cores=4), "the board is another one"),
        "seconds": (1.0, "the time for each round is another one"),
        "pictures": ("/photos::9", "the set of pictures is another one"),
    }
    for field, (value, says) in changes.items():
        state, why = trials.load(path, subject(**{field: value}))
        assert state.trials == [] and why.startswith(says)
    path.write_text("{")
    assert trials.load(path, subject())[1] == f"{path} is damaged"
