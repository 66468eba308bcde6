"""The profile as a file, whether it holds, and what model.variant = "auto" takes from it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tunekit import row

from vigild import runtimes
from vigild.catalogue import profile
from vigild.catalogue.profile import Budgets, ModelProfile, Profile, ProfileError, Row
from vigild.catalogue.resolve import Resolved, resolve
from vigild.config.schema import ModelConfig

MANIFEST = """
format = 1
[model.two]
[[model.two.variant]]
name = "first"
file = "first.tflite"
[[model.two.variant]]
name = "second"
file = "second.tflite"
[[model.two.variant]]
name = "tpu"
file = "tpu.tflite"
delegate = "edgetpu"
cpu_twin = "first"
"""

NOBODY = 65534

HERE = next(package for package in runtimes.PACKAGES if runtimes.version(package))
"""The runtime that `auto` takes."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Place:
    """A manifest with its files, and a profile in which the second variant is the best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "manifest.toml").write_text(MANIFEST)
        for name in ("first", "second", "tpu"):
            (folder / f"{name}.tflite").write_bytes(name.encode())
        self.path = folder / "tune.json"
        self.environ = {"VIGILD_MANIFEST": str(folder / "manifest.toml"), "VIGILD_PROFILE": str(self.path)}
        self.rows = [
            self.row("first", p50_ms=9),
            self.row("second", p50_ms=5),
            self.row("second", p50_ms=3, threads=2),
            self.row("second", p50_ms=12, delegate="none"),
            self.row("tpu", p50_ms=2, delegate="edgetpu"),
        ]

    def row(self, variant: str, **facts: Any) -> Row:
        version = runtimes.version(HERE)
        facts = {"sha256": sha256(variant.encode()), "runtime": HERE.name, "runtime_version": version, **facts}
        return row(variant, agreement=1.0, **facts)

    def write(self, board: dict[str, Any] | None = None, **model: Any) -> None:
        facts = {
            "preferred": runtimes.preferred("auto"),
            "measured": "2026-01-02T03:04:05Z",
            "budgets": Budgets(),
            "rows": self.rows,
            **model,
        }
        here = msgspec.structs.replace(profile.this_board(), **(board or {}))
        profile.save(self.path, Profile(format=1, board=here, models={"two": ModelProfile(**facts)}))

    def resolve(self, rung: str = "xnnpack", **config: Any) -> Resolved:
        return resolve(ModelConfig(name="two", **config), rung, self.environ)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    return Place(tmp_path)


# ---- what is taken


def test_without_a_profile_the_first_of_the_manifest_and_one_thread(two: Place) -> None:
    found = two.resolve()
    assert (found.variant, found.config.threads, found.warnings) == ("first", 1, ())


def test_with_a_profile_what_it_speaks_for(two: Place) -> None:
    two.write()
    found = two.resolve()
    assert (found.variant, found.config.threads, found.warnings) == ("second", 2, ())
    assert found.config.path == str(two.folder / "second.tflite")
    assert found.notes[0] == (
        "variant second of two with 2 threads: the fastest of those that agree with float32, as measured on "
        f"2026-01-02T03:04:05Z ({two.path})"
    )


def test_the_rung_is_respected(two: Place) -> None:
    two.write()
    assert two.resolve("none").config.threads == 1
    assert two.resolve("none").variant == "second"
    assert two.resolve("edgetpu").variant == "tpu"
    assert two.resolve("edgetpu:usb:0").variant == "tpu"


def test_a_rung_that_was_not_measured(two: Place) -> None:
    two.rows = two.rows[:1]
    two.write()
    found = two.resolve("none")
    assert found.variant == "first" and found.warnings == ()
    assert "nothing of two on none" in found.notes[0] and "first of the manifest" in found.notes[1]


def test_a_variant_or_threads_that_are_named_stand(two: Place) -> None:
    two.write()
    assert (two.resolve(variant="first").variant, two.resolve(variant="first").config.threads) == ("first", 1)
    found = two.resolve(threads=3)
    assert (found.variant, found.config.threads) == ("second", 3)


def test_the_budgets_that_it_was_measured_for_hold(two: Place) -> None:
    two.write(budgets=Budgets(latency_ms=4))
    assert two.resolve().config.threads == 2
    two.write(budgets=Budgets(latency_ms=1))
    found = two.resolve()
    assert found.variant == "first"
    assert "nothing is taken: no setting fits the budget: even second with 2 threads" in found.warnings[0]


def test_a_file_that_is_gone(two: Place) -> None:
    two.write()
    (two.folder / "second.tflite").unlink()
    found = two.resolve()
    assert found.variant == "first" and "which is not here any more" in found.notes[0]


# ---- what is stale


def test_another_file(two: Place) -> None:
    two.write()
    (two.folder / "second.tflite").write_bytes(b"a newer one")
    found = two.resolve()
    assert found.variant == "first"
    assert "stale: variant second is another file than the one measured; run vigild tune again" in found.warnings[0]


def test_another_runtime(two: Place) -> None:
    two.write(preferred=f"{HERE.name} 0.1")
    found = two.resolve()
    assert found.variant == "first"
    assert f"it was measured with {HERE.name} 0.1, and what is to run here is {HERE.name} " in found.warnings[0]
    two.write()
    other = next(package for package in runtimes.PACKAGES if package.name != HERE.name)
    assert f"what is to run here is {runtimes.preferred(other.name)}" in two.resolve(runtime=other.name).warnings[0]


def test_another_board(two: Place) -> None:
    two.write(board={"model": "Raspberry Pi 4 Model B Rev 1.4"})
    found = two.resolve()
    assert found.variant == "first" and "measured on another board (Raspberry Pi 4" in found.warnings[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no profile of vigild tune"),
        ('{"format": 1}', "is no profile of vigild tune"),
        ('{"format": 9, "board": {"model": "", "machine": "", "processor": "", "cores": 1}, "models": {}}', "format 9"),
    ],
)
def test_a_file_that_is_no_profile(two: Place, text: str, says: str) -> None:
    two.path.write_text(text)
    found = two.resolve()
    assert found.variant == "first" and says in found.warnings[0] and "run vigild tune again" in found.warnings[0]


def test_threads_that_no_configuration_may_have(two: Place) -> None:
    two.rows[2] = msgspec.structs.replace(two.rows[2], threads=1000)
    two.write()
    assert "threads" in two.resolve().warnings[0] and two.resolve().config.threads == 1
    two.rows = [msgspec.structs.replace(row, threads=0) for row in two.rows]
    two.write()
    assert two.resolve().config.threads == 1


def test_another_model_in_the_profile(two: Place) -> None:
    two.write()
    kept = profile.load(two.path)
    profile.save(two.path, msgspec.structs.replace(kept, models={"other": kept.models["two"]}))
    assert two.resolve().warnings == () and "has nothing of two" in two.resolve().notes[0]


# ---- the file


def test_what_is_written_is_read(two: Place) -> None:
    two.write()
    assert profile.load(two.path).models["two"].rows == two.rows
    assert list(two.folder.glob("*.new")) == []
    with pytest.raises(ProfileError, match="cannot be read"):
        profile.load(two.folder / "absent.json")


def test_models_are_kept_side_by_side_but_not_boards(two: Place) -> None:
    two.write()
    kept = profile.load(two.path)
    model = kept.models["two"]
    assert profile.merged(kept, kept.board, "other", model).models.keys() == {"two", "other"}
    elsewhere = msgspec.structs.replace(kept.board, cores=99)
    assert profile.merged(kept, elsewhere, "other", model).models.keys() == {"other"}
    assert profile.merged(None, kept.board, "two", model).models.keys() == {"two"}


def test_places(tmp_path: Path) -> None:
    system = tmp_path / "var"
    environ = {"STATE_DIRECTORY": "/s:/t", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    assert profile.places(environ, system) == [Path("/s/tune.json"), system / "tune.json", Path("/x/vigild/tune.json")]
    assert profile.places({"HOME": "/h"}, system)[1] == Path("/h/.local/state/vigild/tune.json")
    assert profile.places({"VIGILD_PROFILE": "/p.json", "HOME": "/h"}, system) == [Path("/p.json")]
    assert profile.find({"VIGILD_PROFILE": str(tmp_path / "p")}, system) is None
    assert profile.own_place({"STATE_DIRECTORY": str(tmp_path / "state")}, system) == tmp_path / "state/tune.json"


def test_a_place_that_this_user_may_not_look_into(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "tune.json").write_text("{}")
    closed.chmod(0)
    tmp_path.chmod(0o755)
    environ = {"STATE_DIRECTORY": str(closed), "HOME": "/nowhere"}
    if os.getuid() == 0:  # root may look everywhere
        os.seteuid(NOBODY)
    try:
        assert profile.find(environ, tmp_path / "var") is None
        profile.own_place(environ, tmp_path / "var")  # does not raise
    finally:
        os.seteuid(os.getuid())
        closed.chmod(0o700)


def test_neither_the_daemons_side_nor_the_command_loads_anything_native() -> None:
    modules = "vigild.catalogue.pick, vigild.catalogue.resolve, vigild.tune.session, vigild.cli.tune"
    code = f"import sys, {modules}; print([name for name in ('numpy', 'cv2') if name in sys.modules])"
    environ = {**os.environ, "PYTHONPATH": str(Path(profile.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_this_board_is_always_the_same() -> None:
    assert profile.this_board() == profile.this_board()
    assert profile.this_board().cores >= 1 and profile.this_board().machine == os.uname().machine
