"""Damaged input ends in a refusal, or in the death of the one child that read it; else the fuzzer notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import case as cases
from fuzz import corpus, seeds, targets
from fuzz.case import Case
from fuzz.server import Server

REPO = Path(__file__).resolve().parents[2]
CI_CASES = 2500
"""As many on every machine, however busy it is; `make fuzz` goes on from there."""


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPO / 'tests'}:{REPO / 'daemon'}"}
    return subprocess.run(
        [sys.executable, "-m", "fuzz", *arguments], env=environment, capture_output=True, text=True, timeout=280
    )


def test_a_while_of_damaged_input(tmp_path: Path) -> None:
    done = fuzz("--cases", str(CI_CASES), "--keep", str(tmp_path), "--json", str(tmp_path / "report.json"))
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-3000:]}"
    report = json.loads((tmp_path / "report.json").read_bytes())
    outcomes = report["outcomes"]
    assert report["cases"] == CI_CASES
    # Each reader was reached, and got past its first check now and then.
    assert {outcome.split()[0] for outcome in outcomes} == set(targets.TARGETS)
    assert outcomes["model loaded"] and outcomes["model refused: truncated"]
    assert "one thread" not in done.stdout


def test_what_was_found_once_stays_fixed() -> None:
    done = fuzz("--replay")
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"{len(list((REPO / 'tests/fuzz/reproducers').iterdir()))} cases" in done.stdout


def test_servers_share_the_cases(tmp_path: Path) -> None:
    arguments = ("--cases", "30", "--only", "labels", "--keep", str(tmp_path))
    done = [fuzz(*arguments, "--jobs", jobs) for jobs in ("1", "3")]
    counts = [[line for line in each.stdout.splitlines() if line.startswith("  ")] for each in done]
    assert counts[0] == counts[1] != []
    assert all("30 cases" in each.stdout and each.returncode == 0 for each in done)


def test_a_case_is_the_same_each_time() -> None:
    first, second = corpus.Corpus(7, with_shared=False), corpus.Corpus(7, with_shared=False)
    assert [first.case(n) for n in range(40)] == [second.case(n) for n in range(40)]
    assert first.case(3) != corpus.Corpus(8, with_shared=False).case(3)


def test_a_case_survives_its_folder(tmp_path: Path) -> None:
    case = corpus.Corpus(1, with_shared=False).case(0)
    place = case.save(tmp_path, "a test")
    assert Case.load(place) == case
    assert (place / cases.FACTS).is_file()


LABELS = Case("labels", {"labels.txt": seeds.LABELS}, {"classes": "2"}, "a test")


def report_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: object) -> dict[str, str]:
    """What the server says of a good case, one with this reader, and another good case, by cause."""
    monkeypatch.setattr("fuzz.server.CPU_S", 0.3)
    monkeypatch.setattr("fuzz.server.WALL_S", 5.0)
    monkeypatch.setattr("fuzz.server.MEMORY_BYTES", 2**26)
    monkeypatch.setitem(targets.TARGETS, "odd", reader)
    report = Server(None, tmp_path, [LABELS, LABELS._replace(target="odd"), LABELS]).run(range(3))
    assert report.cases == 3, "the others of the batch go on"
    assert report.outcomes["labels loaded"] == 2
    return {cause: failure.text for cause, failure in report.failures.items()}


def hang(case: Case, folder: Path) -> str:
    while True:
        pass


def wait(case: Case, folder: Path) -> str:
    os.read(os.pipe()[0], 1)
    return "never"


def raise_(case: Case, folder: Path) -> str:
    return {}["missing"]


def die(case: Case, folder: Path) -> str:
    os.abort()


def ask_for_much(case: Case, folder: Path) -> str:
    return str(len(bytearray(2**40)))


def take_much(case: Case, folder: Path) -> str:
    return str(len(b"\1" * 2**27))


def mumble(case: Case, folder: Path) -> str:
    targets.check_sentence("two\nlines")
    return "never"


@pytest.mark.parametrize(
    ("reader", "cause", "text"),
    [
        (hang, "more than its processor time", "in hang"),
        (wait, "SIGKILL", ""),
        (raise_, "KeyError", "in raise_"),
        (die, "SIGABRT", "in die"),
        (ask_for_much, "MemoryError", "in ask_for_much"),
        (take_much, "memory", "MiB"),
        (mumble, "would steer a terminal", "two"),
    ],
)
def test_each_way_to_fail_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: object, cause: str, text: str
) -> None:
    failures = report_of(tmp_path, monkeypatch, reader)
    assert len(failures) == 1
    found = next(iter(failures))
    assert cause in found
    assert text in failures[found]
