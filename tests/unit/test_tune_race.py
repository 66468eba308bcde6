"""What is compared with what, what is judged, and what is left to do."""

from __future__ import annotations

from pathlib import Path

from tunekit import subject, timed

from vigild.catalogue.profile import Accuracy
from vigild.config.schema import ModelConfig
from vigild.tune.candidates import Build, Candidate
from vigild.tune.race import Race, Settings
from vigild.tune.tasks import CARDS, Pictures
from vigild.tune.trials import File, Judged, State, Trial

SETTINGS = Settings(rounds=2, seconds=2.0, pictures=Pictures(limit=200), runtime="auto", root=Path("/"))


def race(*names_and_sizes: tuple[str, int], threads: tuple[int, ...] = (1,)) -> tuple[Race, State, list[Candidate]]:
    builds = [Build(name, ModelConfig(path=f"/{name}"), False) for name, _ in names_and_sizes]
    files: dict[str, File | str] = {
        name: File(sha256="", file_bytes=1, width=size, height=size, dtype="float32" if "float" in name else "int8")
        for name, size in names_and_sizes
    }
    state = State(subject=subject(files=files))
    candidates = [Candidate(build, "xnnpack", count) for build in builds for count in threads]
    return Race(builds, candidates, SETTINGS, state), state, candidates


def add(state: State, candidate: Candidate, p50_ms: float, round_: int = 1, failed: str = "") -> None:
    state.trials.append(
        Trial(
            variant=candidate.build.name,
            delegate=candidate.delegate,
            threads=candidate.threads,
            round=round_,
            spent_s=3.0,
            timed=None if failed else timed(p50_ms),
            failed=failed,
        )
    )


def references(*names_and_sizes: tuple[str, int]) -> dict[str, str]:
    run, _, candidates = race(*names_and_sizes)
    return {name: reference for name, (reference, _) in run.references(candidates).items()}


def test_each_is_compared_with_float32_of_its_size() -> None:
    both = references(
        ("int8-256", 256), ("int8-192", 192), ("float16-192", 192), ("float32-192", 192), ("float32-256", 256)
    )
    assert both == {
        "int8-256": "float32-256",
        "int8-192": "float32-192",
        "float16-192": "float32-192",
        "float32-192": "float32-192",
        "float32-256": "float32-256",
    }
    assert references(("int8-192", 192), ("float32-256", 256))["int8-192"] == "float32-256"
    assert references(("uint8", 300), ("int8", 300)) == {"uint8": "uint8", "int8": "uint8"}


def test_the_fastest_threads_are_judged_and_nothing_that_failed_or_was_given_up() -> None:
    run, state, candidates = race(("int8", 300), ("float32", 300), ("int16x8", 300), ("broken", 300), threads=(1, 2))
    for candidate in candidates:
        p50_ms = {"int8": 3.0, "float32": 7.0, "int16x8": 120.0}.get(candidate.build.name, 1.0) / candidate.threads
        add(state, candidate, p50_ms, failed="killed by SIGABRT" if candidate.build.name == "broken" else "")
    assert [one.key for one in run.to_judge()] == [("int8", "xnnpack", 2), ("float32", "xnnpack", 2)]


def test_what_is_left_shrinks_to_nothing() -> None:
    run, state, candidates = race(("int8", 300), ("float32", 300))
    first = run.progress("")
    assert (first.done, first.total) == (0, 2 * 2 + 2)
    assert first.left_s == 4 * (2.0 + 2.0) + 2 * (2.0 + 0.05 * CARDS)
    for candidate in candidates:
        add(state, candidate, 3.0)
    state.judged += [
        Judged(variant=one.build.name, delegate="xnnpack", spent_s=1.0, accuracy=Accuracy(pictures=1))
        for one in candidates
    ]
    half = run.progress("")
    assert (half.done, half.total, half.left_s) == (4, 6, 6.0)
    for candidate in candidates:
        add(state, candidate, 3.0, round_=2)
    assert run.progress("").left_s == 0 and run.progress("").done == 6
