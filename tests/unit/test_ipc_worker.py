"""What a worker does before everything else."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vigild.ipc.worker import USAGE, go_before_the_hub

DAEMON = Path(__file__).parents[2] / "daemon"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(DAEMON)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("inherited", "own"), [("0\n", "300"), ("-100\n", "200"), ("900\n", "1000")])
def test_workers_go_before_the_hub(tmp_path: Path, inherited: str, own: str) -> None:
    score = tmp_path / "self/oom_score_adj"
    score.parent.mkdir()
    score.write_text(inherited)
    go_before_the_hub(tmp_path)
    assert score.read_text() == own


def test_a_kernel_without_scores_is_no_obstacle(tmp_path: Path) -> None:
    go_before_the_hub(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--control=3", "--progress=4"), ("--control=a",)])
@pytest.mark.parametrize("worker", ["camera", "detector"])
def test_started_by_hand_it_says_what_it_is(worker: str, arguments: tuple[str, ...]) -> None:
    done = python("-m", f"vigild.{worker}", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{USAGE}\n")


@pytest.mark.parametrize(
    ("first", "rest"),
    [("vigild.camera.__main__", "vigild.camera.worker"), ("vigild.detector.__main__", "vigild.detector.loop")],
)
def test_a_worker_brings_along_no_configuration_file(first: str, rest: str) -> None:
    """It gets its settings from the hub: each start would pay for reading TOML, and for the whole schema."""
    done = python("-c", f"import sys, {first}, {rest}\nprint(sorted(sys.modules))")
    modules = set(ast.literal_eval(done.stdout))
    assert rest in modules, done.stderr
    assert not modules & {"argparse", "tomllib", "tomli", "vigild.config.tree", "vigild.config.load"}
