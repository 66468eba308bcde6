"""`vigild tune --sustained`: what rate this board holds for ever, measured on purpose.

    check(wanted, learned)                                     # raises CannotMeasure before anything is heated
    result = Sustaining(wanted, build, row, learned, bar, say).run()
    model = with_rates(model, row, result, budget_celsius)     # the profile with a rate for each operating point

Carries out a `course`: a `load` of the chosen setting, the board's sensors once a second, and what was learned into the
file that the daemon begins with.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from vigild.board.board import Board
from vigild.board.firmware import flags_now
from vigild.board.readings import Hottest, Readings
from vigild.budget import budgeting, thermal_model
from vigild.budget.deciding import Deciding, decide
from vigild.budget.operating_points import OperatingPoint
from vigild.catalogue.choose import name
from vigild.catalogue.profile import ModelProfile, Row, Sustained
from vigild.learned import Learned
from vigild.sandbox import parent
from vigild.tune import sustained_words as words
from vigild.tune.bar import Bar
from vigild.tune.candidates import Build
from vigild.tune.course import LEAST_ROOM, Course, Phase, Plan, Result, Seen
from vigild.tune.load import Load
from vigild.tune.measure import MODULE, CannotMeasure, tensors_name
from vigild.tune.race import Progress, Settings
from vigild.tune.tasks import LoadTask, Pictures, Prepare

PERIOD_S = 1.0
LINE_EVERY_S = 60.0
"""Between two lines of progress, where there is no bar."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    seconds: float
    """The most that it may take."""
    celsius: float
    """The budget, which is not passed."""
    settings: Settings


class Thermometer:
    """The board's sensors, as the budget sees them."""

    def __init__(self, root: Path) -> None:
        self._board = Board(root)
        self._deciding = Deciding()

    def read(self) -> tuple[Hottest | None, frozenset[str]]:
        """(the warmest sensor that the budget is for, what limits the board). None: it cannot be read now."""
        now_ns = time.monotonic_ns()
        sensors = self._board.sensors
        read = sensors.read(now_ns)
        readings = Readings(at_ns=now_ns, temperatures=read, counted=sensors.counted, lost=tuple(sensors.lost(now_ns)))
        # Another sensor says nothing of how warm the one is that was the warmest.
        self._deciding, hottest, _ = decide(self._deciding, readings, None, now_ns / 1e9)
        said = self._board.firmware.poll(now_ns, near=True)
        flags = frozenset({*sensors.flags(now_ns), *flags_now(said.bits if said else 0)})
        return hottest, flags

    def close(self) -> None:
        """Leave no process behind."""
        self._board.firmware.close()


def check(asked: Asked, learned: Learned) -> None:
    """Whether it can be done here. Raises CannotMeasure."""
    thermometer = Thermometer(asked.settings.root)
    try:
        hottest, _ = thermometer.read()
    finally:
        thermometer.close()
    if hottest is None:
        raise CannotMeasure(
            "--sustained needs a temperature sensor, and none of a processor can be read on this machine "
            "(vigild sensors shows what there is)"
        )
    if hottest.celsius > asked.celsius - LEAST_ROOM:
        raise CannotMeasure(words.too_hot(hottest.sensor, hottest.celsius, asked.celsius))
    if not learned.writable:
        raise CannotMeasure(
            f"what is learned of this board cannot be kept: {learned.path.parent} cannot be written to; run it as the "
            "user whom the daemon runs as, or as root"
        )


class Sustaining:
    """One course on this board."""

    def __init__(
        self, asked: Asked, build: Build, row: Row, learned: Learned, bar: Bar, say: Callable[[str], None]
    ) -> None:
        """`row`: the setting that is to run, as it was measured."""
        self._asked = asked
        self._build = build
        self._row = row
        self._learned = learned
        self._bar = bar
        self._say = say
        self._course: Course
        self.sensor = ""
        """The warmest one, as it was read last."""

    def run(self) -> Result:
        """To the end; what was learned is kept, or that it is not is said.

        Raises CannotMeasure, and KeyboardInterrupt after the load has ended and what was learned is kept.
        """
        with tempfile.TemporaryDirectory(prefix="vigild-tune-") as scratch:
            task = self._task(Path(scratch))
            with Load(task) as load:
                # Named as the daemon names it: what is learned is of this unit.
                loaded = load.loaded
                point = OperatingPoint(**msgspec.structs.asdict(loaded))
                plan = Plan(
                    unit=budgeting.unit(point),
                    full_fps=self._row.full_fps,
                    celsius=self._asked.celsius,
                    seconds=self._asked.seconds,
                )
                self._say(words.begins(name(self._row), plan))
                self._course = Course(plan)
                try:
                    self._follow(load)
                except (CannotMeasure, KeyboardInterrupt) as stopped:
                    load.close()
                    self._bar.end()
                    kept = self._keep(self._course.result())
                    if isinstance(stopped, KeyboardInterrupt):
                        self._say(f"Stopped, and so is the load. {kept}")
                    else:
                        self._say(kept)
                    raise
        self._bar.end()
        result = self._course.result()
        self._say(self._keep(result))
        return result

    def _task(self, scratch: Path) -> LoadTask:
        """With the tensors of some pictures in `scratch`."""
        tensors, settings = tensors_name(self._build), self._asked.settings
        prepare = Prepare(
            models={tensors: self._build.config},
            delegates={tensors: self._row.delegate},
            pictures=Pictures(folder=settings.pictures.folder, limit=settings.pictures.limit),
            folder=str(scratch),
        )
        prepared = parent.run(MODULE, "prepare", prepare)
        answer = prepared.answer or {"refused": prepared.death}
        answer = answer.get("models", {}).get(tensors, answer)
        if "refused" in answer:
            raise CannotMeasure(f"the pictures and the model could not be read: {str(answer['refused']).rstrip('.')}")
        if answer["sha256"] != self._row.sha256:
            raise CannotMeasure(
                f"the file of {self._build.name} is another one than was measured; measure it again: vigild tune"
            )
        return LoadTask(
            config=msgspec.structs.replace(self._build.config, threads=self._row.threads),
            runtime=self._row.runtime or settings.runtime,
            delegate=self._row.delegate,
            tensors=str(scratch / tensors),
            meter=str(scratch / "meter"),
            ready=str(scratch / "ready"),
        )

    def _follow(self, load: Load) -> None:
        """Once a second: read, decide, ask."""
        thermometer = Thermometer(self._asked.settings.root)
        phase: Phase = "rest"
        try:
            load.frames()
            before_s = due_s = time.monotonic()
            while True:
                due_s += PERIOD_S
                time.sleep(max(due_s - time.monotonic(), 0.0))
                due_s = max(due_s, time.monotonic() - PERIOD_S)
                hottest, flags = thermometer.read()
                frames, now_s = load.frames(), time.monotonic()
                seen = Seen(
                    celsius=hottest.celsius if hottest is not None else None,
                    sensor=hottest.sensor if hottest is not None else self.sensor or "the temperature sensor",
                    fps=frames / (now_s - before_s),
                    flags=flags,
                )
                before_s, self.sensor = now_s, seen.sensor
                step = self._course.step(seen, now_s)
                load.ask(step.fps)
                if step.phase != phase:
                    self._bar.next()
                phase = step.phase
                if phase == "done":
                    break
                self._bar.update(Progress(0, 0, 0.0, words.progress(step, seen)))
        finally:
            thermometer.close()

    def _keep(self, result: Result) -> str:
        """Write what was learned, where it is better than what is there; a sentence about it."""
        new = result.model
        if new is None:
            return f"Nothing was learned of this board; {self._learned.path} stays as it was."
        old = self._learned.load()
        if not result.sure and old is not None and old.unit == new.unit and _doubt(old) <= _doubt(new):
            return f"{self._learned.path} stays as it was: what is in there is surer."
        try:
            self._learned.replace(new)
        except (OSError, msgspec.MsgspecError) as error:
            return f"What was learned of this board cannot be kept: {self._learned.path}: {error}."
        return f"What was learned of this board is kept for the daemon, in {self._learned.path}."


def _doubt(model: thermal_model.ThermalModel) -> float:
    """Deviation of the gains, as a part of them."""
    belief = thermal_model.believe(model)
    return math.hypot(belief.die_deviation, belief.board_deviation) / belief.gain + (0.0 if belief.sure else 1.0)


def with_rates(model: ModelProfile, row: Row, result: Result, celsius: float) -> ModelProfile:
    """The profile with what was found of `row`, and from it the rate of each operating point of its delegate.

    A frame of another point heats as much as it takes CPU time, which is what the governor takes it for too.
    """
    assert result.fitted is not None and result.sure
    fitted = result.fitted
    found = Sustained(
        variant=row.variant,
        delegate=row.delegate,
        threads=row.threads,
        fps=result.load,
        deviation_fps=result.deviation,
        full_fps=row.full_fps,
        celsius=celsius,
        rest_celsius=fitted.rest,
        die_celsius=fitted.die_gain * row.full_fps,
        board_celsius=fitted.board_gain * row.full_fps,
        die_seconds=fitted.die_s,
        board_seconds=fitted.board_s,
        flags=list(result.flags),
        measured=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    rows = [_with_rate(one, row, result.load) for one in model.rows]
    return msgspec.structs.replace(model, rows=rows, sustained=found)


def _with_rate(one: Row, row: Row, load: float) -> Row:
    known = one.works and not one.dropped and one.delegate == row.delegate and one.cpu_ms > 0
    if not known:
        return msgspec.structs.replace(one, sustained_fps=None, duty=None)
    fps = min(load * row.cpu_ms / one.cpu_ms, one.full_fps)
    return msgspec.structs.replace(one, sustained_fps=fps, duty=fps / one.full_fps)
