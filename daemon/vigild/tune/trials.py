"""What was tried so far, as it is kept for a run that is stopped and goes on, and what the tries come to.

state.trials.append(Trial(...)); save(path, state)
rows(state, first_round_done=True)             # a Row for each setting
"""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from vigild.catalogue.profile import FORMAT, MAX_BYTES, Accuracy, Board, Row
from vigild.tune.plan import Key, hopeless


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one setting, as the process that ran it says."""

    variant: str
    sha256: str
    runtime: str
    runtime_version: str
    delegate_nodes: int
    total_nodes: int
    inferences: int
    load_ms: float
    first_ms: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    cores_busy: float
    memory_bytes: int
    celsius: float | None
    rise_celsius: float | None
    flags: list[str]
    others_busy: float


class Trial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try of one setting."""

    variant: str
    delegate: str
    threads: int
    round: int
    spent_s: float
    timed: Timed | None = None
    failed: str = ""

    @property
    def key(self) -> Key:
        return self.variant, self.delegate, self.threads


class Judged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How right one variant is on one delegate."""

    variant: str
    delegate: str
    spent_s: float
    accuracy: Accuracy | None = None
    failed: str = ""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """What a build's file is."""

    sha256: str
    file_bytes: int
    width: int
    height: int
    dtype: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is about: another one has to begin anew."""

    format: int = FORMAT
    board: Board
    name: str
    files: dict[str, File | str]
    """By variant; a text says why the file cannot be used."""
    runtime: str
    """Name and release."""
    seconds: float
    """Of a round."""
    pictures: str
    """Which ones, and how many."""
    config: str
    """The keys of [model] that matter."""


class State(msgspec.Struct, kw_only=True):
    """A run so far."""

    subject: Subject
    trials: list[Trial] = []
    judged: list[Judged] = []


def load(path: Path, subject: Subject) -> tuple[State, str]:
    """(the state kept at `path`, or a new one; why it is a new one, where one was kept: a clause)."""
    fresh = State(subject=subject)
    try:
        with path.open("rb") as file:
            state = msgspec.json.decode(file.read(MAX_BYTES), type=State)
    except (FileNotFoundError, NotADirectoryError):
        return fresh, ""
    except OSError as error:
        return fresh, f"{path} cannot be read ({error.strerror})"
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return fresh, f"{path} is damaged"
    for field in Subject.__struct_fields__:
        if getattr(state.subject, field) != getattr(subject, field):
            return fresh, f"{_WORDS[field]} another one than in the run that was stopped"
    return state, ""


_WORDS = {
    "format": "vigild is",
    "board": "the board is",
    "name": "the model is",
    "files": "a model file is",
    "runtime": "the runtime is",
    "seconds": "the time for each round is",
    "pictures": "the set of pictures is",
    "config": "the model's configuration is",
}


def dropped(state: State) -> dict[Key, str]:
    """What is not measured any further, and why it is given up."""
    first = {trial.key: trial.timed.p50_ms for trial in state.trials if trial.round == 1 and trial.timed is not None}
    return hopeless(first)


def rows(state: State, *, first_round_done: bool) -> list[Row]:
    """A row for each setting that was tried and each file that cannot be used, in order of appearance."""
    given_up = dropped(state) if first_round_done else {}
    by_key: dict[Key, list[Trial]] = {}
    for trial in sorted(state.trials, key=lambda trial: trial.round):
        by_key.setdefault(trial.key, []).append(trial)
    result = []
    for (variant, delegate, threads), trials in by_key.items():
        row = _row(trials, state.subject.files[variant])
        judged = next((one for one in state.judged if (one.variant, one.delegate) == (variant, delegate)), None)
        failed = next((trial.failed for trial in trials if trial.failed), "")
        if judged is not None and judged.failed and not failed:
            failed = f"it ran, but not over all pictures: {judged.failed}"
        result.append(
            msgspec.structs.replace(
                row,
                accuracy=judged.accuracy if judged is not None else None,
                failed=failed,
                dropped=given_up.get((variant, delegate, threads), ""),
            )
        )
    for variant, file in state.subject.files.items():
        if isinstance(file, str):
            result.append(Row(variant=variant, delegate="", threads=0, failed=file))
    return result


def _row(trials: list[Trial], file: File | str) -> Row:
    one = trials[0]
    base = Row(variant=one.variant, delegate=one.delegate, threads=one.threads)
    if isinstance(file, File):
        base = msgspec.structs.replace(base, **msgspec.structs.asdict(file))
    timed = [trial.timed for trial in trials if trial.timed is not None]
    if not timed:
        return base
    p50s = [one.p50_ms for one in timed]
    celsius = [one.celsius for one in timed if one.celsius is not None]
    rises = [one.rise_celsius for one in timed if one.rise_celsius is not None]
    last = timed[-1]
    return msgspec.structs.replace(
        base,
        runtime=last.runtime,
        runtime_version=last.runtime_version,
        delegate_nodes=last.delegate_nodes,
        total_nodes=last.total_nodes,
        rounds=len(timed),
        inferences=sum(one.inferences for one in timed),
        load_ms=statistics.median(one.load_ms for one in timed),
        first_ms=statistics.median(one.first_ms for one in timed),
        p50_ms=statistics.median(p50s),
        p95_ms=statistics.median(one.p95_ms for one in timed),
        spread_ms=max(p50s) - min(p50s),
        cpu_ms=statistics.median(one.cpu_ms for one in timed),
        cores_busy=statistics.median(one.cores_busy for one in timed),
        memory_bytes=max(one.memory_bytes for one in timed),
        celsius=max(celsius) if celsius else None,
        rise_celsius=statistics.median(rises) if rises else None,
        flags=sorted({flag for one in timed for flag in one.flags}),
        others_busy=max(one.others_busy for one in timed),
    )
