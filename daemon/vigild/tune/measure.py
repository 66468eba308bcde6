"""Carries the plan out: one process after the other, each result kept at once.

    run = Measuring(found, candidates, settings, board, kept=Path("tune.json.part"), tell=bar.update)
    run.measure()                  # Ctrl-C goes through; what is measured stays
    run.rows()

Nothing native is loaded here.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vigild import runtimes
from vigild.catalogue.profile import Accuracy, Board, Row, save
from vigild.config.schema import ModelConfig
from vigild.sandbox import parent
from vigild.sandbox.fallback import on_runtime
from vigild.tune import trials
from vigild.tune.candidates import Build, Builds, Candidate
from vigild.tune.plan import order
from vigild.tune.race import Progress, Race, Settings, pair
from vigild.tune.tasks import AccuracyTask, Prepare, Timing
from vigild.tune.trials import File, Judged, State, Subject, Timed, Trial

MODULE = "vigild.tune.tasks"

PICTURE_S = 1.0
"""A picture may take this long on average: decoding a large one, and a slow setting's invoke()."""


class CannotMeasure(Exception):
    """There is nothing to measure: a sentence without a full stop."""


class Measuring:
    """One run over the candidates of one model."""

    def __init__(
        self,
        found: Builds,
        candidates: Sequence[Candidate],
        settings: Settings,
        board: Board,
        kept: Path,
        tell: Callable[[Progress], None] = lambda progress: None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`kept`: the file that a run which is stopped leaves. `say` gets a sentence about what it found there."""
        self._found = found
        self._candidates = candidates
        self._settings = settings
        self._board = board
        self._kept = kept
        self._tell = tell
        self._say = say
        self._state: State | None = None
        self._race: Race

    # ---- the run

    def measure(self, *, anew: bool = False) -> None:
        """To the end. Raises CannotMeasure and KeyboardInterrupt."""
        with alone(self._kept.parent), tempfile.TemporaryDirectory(prefix="vigild-tune-") as scratch:
            self._tell(Progress(0, 0, 0.0, "reading the pictures and the models"))
            files = self._prepare(Path(scratch))
            self._state = self._begin(self._subject(files), anew)
            self._save()  # so that a place that cannot be written to is known before the work
            self._candidates = [one for one in self._candidates if isinstance(files[one.build.name], File)]
            if not self._candidates:
                raise CannotMeasure(next(iter(value for value in files.values() if isinstance(value, str))).rstrip("."))
            self._race = Race(self._found.builds, self._candidates, self._settings, self._state)
            self._round(1, Path(scratch))
            self._judge(Path(scratch))
            for round_ in range(2, self._settings.rounds + 1):
                self._round(round_, Path(scratch))

    def finished(self) -> None:
        """What was kept for going on is not needed any more."""
        self._kept.unlink(missing_ok=True)

    def rows(self) -> list[Row]:
        """What is measured so far, in the order of the candidates."""
        if self._state is None:
            return []
        places = {candidate.key: place for place, candidate in enumerate(self._candidates)}
        race = Race(self._found.builds, self._candidates, self._settings, self._state)
        found = trials.rows(self._state, first_round_done=race.first_round_done())
        return sorted(found, key=lambda row: places.get((row.variant, row.delegate, row.threads), len(places)))

    @property
    def state(self) -> State:
        assert self._state is not None
        return self._state

    # ---- steps

    def _begin(self, subject: Subject, anew: bool) -> State:
        state, why = trials.load(self._kept, subject)
        if anew:
            return State(subject=subject)
        if why:
            self._say(f"Begun anew, since {why}.")
        if there := len(state.trials) + len(state.judged):
            self._say(f"Going on with a run that was stopped; {there} results are there.")
        return state

    def _prepare(self, scratch: Path) -> dict[str, File | str]:
        """Tensors for each build in `scratch`; what its file is, or why it cannot be used."""
        used = {candidate.build.name: candidate for candidate in self._candidates}
        task = Prepare(
            models={tensors_name(build): build.config for build in self._builds(used)},
            delegates={tensors_name(one.build): one.delegate for one in used.values()},
            pictures=self._settings.pictures,
            folder=str(scratch),
        )
        result = parent.run(MODULE, "prepare", task)
        if result.answer is None:
            raise CannotMeasure(f"the pictures and models could not be read: {result.death}")
        if "refused" in result.answer:
            raise CannotMeasure(str(result.answer["refused"]))
        models = result.answer["models"]
        files: dict[str, File | str] = {}
        for build in self._builds(used):
            said = models[tensors_name(build)]
            files[build.name] = str(said["refused"]) if "refused" in said else msgspec.convert(said, File)
        return files

    def _build(self, name: str) -> Build:
        return next(build for build in self._found.builds if build.name == name)

    def _builds(self, used: dict[str, Candidate]) -> list[Build]:
        return [build for build in self._found.builds if build.name in used]

    def _round(self, round_: int, scratch: Path) -> None:
        for candidate in order(self._candidates, round_):
            if self._race.is_done(candidate, round_) or self._race.is_out(candidate.key, round_):
                continue
            text = f"round {round_}: {candidate.build.name}, {candidate.delegate}, {candidate.threads} threads"
            self._tell(self._race.progress(text.replace("1 threads", "1 thread")))
            self._keep_trial(self._time(candidate, round_, scratch))

    def _time(self, candidate: Candidate, round_: int, scratch: Path) -> Trial:
        seconds = self._settings.seconds
        task = Timing(
            config=self._config(candidate),
            delegate=candidate.delegate,
            tensors=str(scratch / tensors_name(candidate.build)),
            seconds=seconds,
            sysfs_root=str(self._settings.root),
        )
        started_s = time.monotonic()
        result = self._try("timing", task, parent.LIMIT_S + 10 * seconds)
        timed, failed = None, _failure(result)
        if result.answer is not None and not failed:
            timed = msgspec.convert(result.answer, Timed)
        return Trial(
            variant=candidate.build.name,
            delegate=candidate.delegate,
            threads=candidate.threads,
            round=round_,
            spent_s=time.monotonic() - started_s,
            timed=timed,
            failed=failed,
        )

    def _judge(self, scratch: Path) -> None:
        """How right each build is on each delegate: the ones that others are compared with first."""
        todo = self._race.to_judge()
        references = self._race.references(todo)
        first = [one for one in todo if pair(one) in references.values()]
        for candidate in itertools.chain(first, (one for one in todo if one not in first)):
            reference = references[candidate.build.name]
            is_reference = pair(candidate) == reference
            waiting = any(self._race.judged(one) is None for one in todo if references[one.build.name] == reference)
            if self._race.judged(candidate) is not None and not (is_reference and waiting):
                continue
            self._tell(self._race.progress(f"accuracy: {candidate.build.name}, {candidate.delegate}"))
            saved = scratch / f"{tensors_name(self._build(reference[0]))}.seen"
            started_s = time.monotonic()
            task = AccuracyTask(
                config=self._config(candidate),
                delegate=candidate.delegate,
                pictures=self._settings.pictures,
                save=str(saved) if is_reference else "",
                reference=str(saved) if not is_reference and saved.exists() else "",
                reference_name=reference[0],
            )
            limit_s = parent.LIMIT_S + self._settings.pictures.limit * max(
                PICTURE_S, 0.01 * self._race.p50_ms(candidate)
            )
            result = self._try("accuracy", task, limit_s)
            failed = _failure(result)
            code = (result.answer or {}).get("code")
            if failed and code in ("pictures", "annotations"):
                raise CannotMeasure(failed)
            accuracy = msgspec.convert(result.answer, Accuracy) if not failed else None
            if accuracy is not None and is_reference:
                accuracy = msgspec.structs.replace(accuracy, agreement=1.0, score_error=0.0, reference=reference[0])
            self.state.judged = [one for one in self.state.judged if (one.variant, one.delegate) != pair(candidate)]
            self.state.judged.append(
                Judged(
                    variant=candidate.build.name,
                    delegate=candidate.delegate,
                    spent_s=time.monotonic() - started_s,
                    accuracy=accuracy,
                    failed=failed,
                )
            )
            self._save()

    def _try(self, kind: str, task: Timing | AccuracyTask, limit_s: float) -> parent.TaskResult:
        def on(runtime: str) -> parent.TaskResult:
            return parent.run(MODULE, kind, msgspec.structs.replace(task, runtime=runtime), limit_s)

        return on_runtime(self._settings.runtime, on)

    # ---- keeping

    def _keep_trial(self, trial: Trial) -> None:
        self.state.trials.append(trial)
        self._save()

    def _save(self) -> None:
        try:
            save(self._kept, self.state)
        except OSError as error:
            raise _no_place(self._kept, error) from None

    def _subject(self, files: dict[str, File | str]) -> Subject:
        pictures = self._settings.pictures
        configs = {build.name: msgspec.to_builtins(build.config) for build in self._found.builds}
        return Subject(
            board=self._board,
            name=self._found.name,
            files=files,
            runtime=runtimes.preferred(self._settings.runtime),
            seconds=self._settings.seconds,
            pictures=f"{pictures.folder}:{pictures.annotations}:{pictures.limit}",
            config=msgspec.json.encode(configs, order="sorted").decode(),
        )

    def _config(self, candidate: Candidate) -> ModelConfig:
        return msgspec.structs.replace(candidate.build.config, threads=candidate.threads)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other run keeps its measurements in `folder` meanwhile, or CannotMeasure; the lock ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _no_place(folder, error) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotMeasure(f"another vigild tune is running and keeps its measurements in {folder}") from None
        yield
    finally:
        os.close(lock)


def _no_place(path: Path, error: OSError) -> CannotMeasure:
    return CannotMeasure(
        f"the measurements cannot be kept at {path}: {error.strerror}; name another place with --profile FILE"
    )


def tensors_name(build: Build) -> str:
    """A file name for a build, which may be called by a path."""
    return build.name.replace("/", "_") + ".tensors"


def _failure(result: parent.TaskResult) -> str:
    """Why a try gave nothing: a clause; empty when it did."""
    if result.answer is None:
        return result.death
    refused: Any = result.answer.get("refused", "")
    return str(refused).rstrip(".")
