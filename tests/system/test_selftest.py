"""`vigild selftest` as a command: what computes right is proved, and what computes wrong is found out and said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import TIMEOUT_S

from boardkit import write
from delegates.kit import Board, library
from vigild import runtimes
from vigild.catalogue import embedded

VARIANTS = [variant.name for variant in embedded.entry().variants]
OBJECTS = 12 * 6
INSTALLED = [package.name for package in runtimes.PACKAGES if runtimes.version(package)]


def selftest(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vigild", "selftest", *arguments],
        capture_output=True,
        text=True,
        timeout=4 * TIMEOUT_S,
        env={**os.environ, **(env or {})},
        check=False,
    )


def report(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = selftest("--json", *arguments, env=env)
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["passed"] == (done.returncode == 0)
    assert found["model"] == embedded.ENTRY
    return found


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory)


def demanded(delegate: Path, behaviour: str) -> list[str]:
    """The int8 variant, whose last nodes (DEQUANTIZE) the tests' delegate takes."""
    keys = [f'model.delegate="{delegate}"', f'model.delegate_options={{behave = "{behaviour}"}}', "model.runtime=auto"]
    return [argument for key in keys for argument in ("-o", key)]


# ---- what is right


def test_this_machine_computes_right() -> None:
    done = selftest()
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *_, verdict = done.stdout.splitlines()
    assert embedded.ENTRY in heading
    assert f"computes right: it finds {OBJECTS} of {OBJECTS} objects, invents none" in verdict


def test_every_combination_that_this_machine_can_run() -> None:
    found = report("--all")
    tried = [one for one in found["outcomes"] if one["state"] != "skipped"]
    assert [(one["runtime"], one["variant"], one["delegate"]) for one in tried] == [
        (runtime, variant, delegate)
        for runtime in INSTALLED
        for variant in VARIANTS
        for delegate in ("xnnpack", "none")
    ]
    for one in tried:
        assert one["state"] == "right", one
        assert (one["truth"]["objects"], one["truth"]["found"], one["truth"]["invented"]) == (OBJECTS, OBJECTS, 0)
        assert one["delegate"] == "none" or one["nodes"] > 0
        assert ("agreement" in one) == (one["executes"] != "none"), "compared with plain kernels, where they are others"
    skipped = {one["runtime"] for one in found["outcomes"] if one["state"] == "skipped"}
    assert skipped == {package.name for package in runtimes.PACKAGES} - set(INSTALLED)
    assert found["verdict"] == f"All {len(tried)} combinations compute right: every object found, none invented."


def test_a_variant_and_a_delegate_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "vigild.toml"
    config.write_text(f'[model]\nvariant = "{VARIANTS[-1]}"\ndelegate = "none"\n')
    (one,) = report("--config", str(config))["outcomes"]
    assert (one["variant"], one["delegate"], one["executes"]) == (VARIANTS[-1], "none", "none")
    assert "with plain kernels computes right" in selftest("--config", str(config)).stdout
    config.write_text('[model]\ndelegate = "nnone"\n')
    done = selftest("--config", str(config))
    assert done.returncode == 2 and "nnone" in done.stderr


def test_the_configured_model_is_not_what_is_tested(tmp_path: Path) -> None:
    """Its truth is not known; the embedded model's is."""
    (one,) = report("-o", f'model.path="{tmp_path}/none.tflite"')["outcomes"]
    assert (one["state"], one["variant"]) == ("right", VARIANTS[0])


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
    commands = re.findall(r"^    vigild (selftest[^#\n]*)", page, re.MULTILINE)
    assert len(commands) == 4
    (tmp_path / "vigild.toml").write_text("[model]\nthreads = 1\n")
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "vigild", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command


# ---- what is wrong


def test_a_delegate_that_computes_right(delegate: Path) -> None:
    (one,) = report(*demanded(delegate, "works"))["outcomes"]
    assert (one["state"], one["executes"]) == ("right", str(delegate))
    assert one["taken"] > 0


@pytest.mark.parametrize("behaviour", ["reverses@1", "reverses@2"])
def test_a_delegate_that_computes_something_else(delegate: Path, behaviour: str) -> None:
    """It raises no error: only what comes out shows it."""
    done = selftest(*demanded(delegate, behaviour))
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    assert lines[1].split()[0] == "WRONG"
    assert lines[-1].startswith("WRONG RESULTS") and f"{delegate} finds" in lines[-1]
    assert (
        'where plain kernels are right; install another release of it, or set model.delegate = "xnnpack"' in lines[-1]
    )


def test_a_delegate_that_is_wrong_once_in_a_while(delegate: Path) -> None:
    (one,) = report(*demanded(delegate, "reverses@13"))["outcomes"]
    assert one["state"] == "wrong"
    assert one["truth"]["found"] < OBJECTS


def test_a_delegate_that_is_wrong_a_little(delegate: Path) -> None:
    """It sees the objects, so the truth alone would not tell."""
    found = report(*demanded(delegate, "shrinks@1"))
    (one,) = found["outcomes"]
    assert one["state"] == "wrong"
    assert 0.1 < one["agreement"]["score"] < 0.16, "15 % of a score, and a step of int8"
    assert "sees the objects, but its scores are off by up to" in found["verdict"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("aborts@5", "killed by SIGABRT in invoke()"),
        ("segfaults@5", "killed by SIGSEGV in invoke()"),
        ("segfaults@0", "killed by SIGSEGV while loading the model"),
        ("fails@5", "fails on card 180"),
        ("refuses", "did not start: the tests do not want it to start"),
    ],
)
def test_a_delegate_that_gives_no_results(delegate: Path, behaviour: str, reason: str) -> None:
    found = report(*demanded(delegate, behaviour))
    (one,) = found["outcomes"]
    assert (one["state"], reason in one["reason"]) == ("failed", True), one
    assert reason in found["verdict"]
    assert ("vigild doctor" in found["verdict"]) == ("killed" in reason), "a refusal says itself what to do"


def test_all_with_a_wrong_delegate_names_what_is_right(delegate: Path) -> None:
    done = selftest("--all", *demanded(delegate, "reverses@1"))
    assert done.returncode == 1
    verdict = done.stdout.splitlines()[-1]
    assert "WRONG RESULTS" in verdict
    assert f"; {INSTALLED[0]} " in verdict and " computes right; " in verdict


def test_a_delegate_that_takes_no_node(delegate: Path) -> None:
    """Alone it proves nothing; among all variants there may be some that it is not made for."""
    (one,) = report(*demanded(delegate, "idle"))["outcomes"]
    assert (one["state"], one["code"]) == ("failed", "delegate")
    found = report("--all", *demanded(delegate, "idle"))
    assert found["passed"]
    states = {one["state"] for one in found["outcomes"] if one.get("delegate") == str(delegate)}
    assert states == {"skipped"}


def test_a_delegate_that_is_not_there() -> None:
    found = report("-o", "model.delegate=/nowhere/lib.so")
    assert "/nowhere/lib.so cannot be loaded" in found["verdict"]


def test_an_edge_tpu_is_not_vouched_for(tmp_path: Path, delegate: Path) -> None:
    board = Board(tmp_path, delegate)
    skipped, one = report(*board.arguments)["outcomes"]
    assert (skipped["state"], one["state"]) == ("skipped", "right")
    assert "apex_0: the embedded model has no build for it" in skipped["reason"]


def test_a_runtime_that_kills_its_process(tmp_path: Path) -> None:
    """Both die of being started: plain kernels have nothing to fall back on."""
    for package in ("ai_edge_litert", "tflite_runtime"):
        write(tmp_path / package / "__init__.py", "")
        write(tmp_path / package / "interpreter.py", "import ctypes\nctypes.string_at(0)\n")
    found = report(env={"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert [one["state"] for one in found["outcomes"]] == ["failed", "failed"]
    assert "killed by SIGSEGV while starting litert" in found["verdict"]
    found = report("--all", env={"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert [one["state"] for one in found["outcomes"]] == ["failed", "failed"], "once for each runtime"


def test_no_package_for_a_runtime(tmp_path: Path) -> None:
    """As after `pip install vigild` without an extra."""
    for package in ("ai_edge_litert", "tflite_runtime"):
        write(tmp_path / f"{package}.py", f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n")
    found = report(env={"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    (one,) = found["outcomes"]
    assert (one["state"], one["code"]) == ("failed", "runtime")
    assert "is not installed" in found["verdict"]


def test_nothing_native_is_loaded_by_the_command_itself() -> None:
    program = (
        "import sys\nfrom vigild.cli.main import main\nmain(['selftest'])\n"
        "found = {'numpy', 'cv2', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
