"""Where a run stands: what is done, what is out of the race, what is compared with what, how long it still takes.

    race = Race(found.builds, candidates, settings, state)
    race.progress("round 1: int8, xnnpack, 1 thread")
    race.references(race.to_judge())

Looks at the state that `measure` adds to; changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vigild.tune import trials
from vigild.tune.candidates import Build, Candidate
from vigild.tune.plan import START_S, Job, Key, estimate
from vigild.tune.tasks import Pictures
from vigild.tune.trials import File, Judged, State


class Settings(NamedTuple):
    """How to measure."""

    rounds: int
    seconds: float
    """For each setting, in each round."""
    pictures: Pictures
    runtime: str
    """ "auto", or one of the runtimes."""
    root: Path
    """What /sys is below."""


class Progress(NamedTuple):
    """How far a run is."""

    done: int
    total: int
    left_s: float
    now: str
    """What is being done."""


class Race:
    """The candidates of one run."""

    def __init__(
        self, builds: Sequence[Build], candidates: Sequence[Candidate], settings: Settings, state: State
    ) -> None:
        self._builds = builds
        self._candidates = candidates
        self._settings = settings
        self._state = state

    def to_judge(self) -> list[Candidate]:
        """The fastest candidate of each build and delegate that is still in the race."""
        best: dict[tuple[str, str], Candidate] = {}
        for candidate in sorted(self._candidates, key=self.p50_ms):
            if not self.is_out(candidate.key, 2):
                best.setdefault(pair(candidate), candidate)
        return [one for one in self._candidates if one in best.values()]

    def references(self, todo: list[Candidate]) -> dict[str, tuple[str, str]]:
        """Build -> build and delegate it is compared with: float32 of its own size, else of any, else the first."""
        exact = [one for one in todo if self._is_float32(one)] or todo
        chosen = {}
        for candidate in todo:
            same = [one for one in exact if self._size(one) == self._size(candidate)]
            largest = sorted(exact, key=lambda one: -self._size(one)[0] * self._size(one)[1])
            chosen[candidate.build.name] = pair((same or largest)[0])
        return chosen

    def _is_float32(self, candidate: Candidate) -> bool:
        """By its name, since weights of 16 and 8 bits have float32 inputs too; without such a name by its input."""
        named = [one for one in self._builds if _says_float32(one.name)]
        if named:
            return candidate.build in named
        return self._file(candidate).dtype == "float32"

    def _file(self, candidate: Candidate) -> File:
        file = self._state.subject.files[candidate.build.name]
        assert isinstance(file, File)
        return file

    def _size(self, candidate: Candidate) -> tuple[int, int]:
        return self._file(candidate).width, self._file(candidate).height

    def p50_ms(self, candidate: Candidate) -> float:
        """The best of its rounds; 0 while it has none."""
        found = [one.timed.p50_ms for one in self._state.trials if one.key == candidate.key and one.timed is not None]
        return min(found) if found else 0.0

    def is_done(self, candidate: Candidate, round_: int) -> bool:
        return any(trial.key == candidate.key and trial.round == round_ for trial in self._state.trials)

    def judged(self, candidate: Candidate) -> Judged | None:
        """What is known of its build's accuracy on its delegate."""
        return next((one for one in self._state.judged if (one.variant, one.delegate) == pair(candidate)), None)

    def is_out(self, key: Key, round_: int) -> bool:
        """Failed before, or given up after the first round."""
        failed = any(trial.key == key and trial.failed for trial in self._state.trials)
        return failed or (round_ > 1 and key in trials.dropped(self._state))

    def first_round_done(self) -> bool:
        return all(self.is_done(candidate, 1) for candidate in self._candidates)

    def _left(self) -> list[Job]:
        settings, first = self._settings, self.first_round_done()
        left = []
        for candidate in self._candidates:
            for round_ in range(1, settings.rounds + 1):
                if not self.is_done(candidate, round_) and not (self.is_out(candidate.key, 2 if first else round_)):
                    left.append(Job("timing", candidate.key, settings.seconds + START_S))
        judging = self.to_judge() if first else {pair(one): one for one in self._candidates}.values()
        guess_s = START_S + 0.05 * settings.pictures.count
        left += [Job("accuracy", (*pair(one), 0), guess_s) for one in judging if self.judged(one) is None]
        return left

    def progress(self, now: str) -> Progress:
        """`now`: what is done next."""
        left = self._left()
        done = len(self._state.trials) + len(self._state.judged)
        spent = [("timing", trial.key, trial.spent_s) for trial in self._state.trials]
        spent += [("accuracy", (one.variant, one.delegate, 0), one.spent_s) for one in self._state.judged]
        return Progress(done, done + len(left), estimate(left, spent), now)


def pair(candidate: Candidate) -> tuple[str, str]:
    """What its accuracy depends on: build and delegate, but not threads."""
    return candidate.build.name, candidate.delegate


def _says_float32(name: str) -> bool:
    return any(word in name.lower() for word in ("float32", "fp32"))
