"""Carries out what the budgets ask for: readings in, limits, takeovers and restarts out, once a second, and at once
when other programs suddenly take much of the processor.

    keeper = BudgetKeeper(fleet, emit, kept_model)
    keeper.tick(now_ns, minute_of_day, config, budgets, readings)
    keeper.operating(config.model)           # the model's settings at the operating point in force

Decisions are `vigild.budget`'s, which is pure; here they become calls to the fleet, each told as an event.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from vigild import log
from vigild.board.budgets import Budgets
from vigild.board.readings import Readings
from vigild.budget import budgeting, schedule, summary
from vigild.budget.actions import Action, Limits, Move, Recycle, Trim, UsePoint
from vigild.budget.from_profile import assumed, operating_points
from vigild.budget.operating_points import GIVE_UP, OperatingPoint
from vigild.budget.operating_points import Camera as BudgetCamera
from vigild.budget.thermal_model import ThermalModel
from vigild.catalogue import profile
from vigild.config.schema import Config, ModelConfig
from vigild.fleet import events
from vigild.fleet.camera import Camera
from vigild.fleet.fleet import Fleet
from vigild.fleet.limits import Holder
from vigild.fleet.takeover import NotReplaced
from vigild.ipc.messages import ModelReady

LATEST_NS = 1_500_000_000
"""The governors decide on new readings, which come once a second; without any, so long after the last ones."""

NO_SENSOR_NS = 10_000_000_000
"""For a board's first sensor to be found, before it is called missing."""

WHO: tuple[Holder, ...] = ("governor", "schedule")

_log = log.logger("budget")


class BudgetKeeper:
    """What is remembered of budgets, and the hands that keep them."""

    def __init__(self, fleet: Fleet, emit: events.Emit, kept: ThermalModel | None = None) -> None:
        """`kept`: what was learned of this board in an earlier run."""
        self._fleet = fleet
        self._emit = emit
        self._sensed = kept is None
        """A sensor is there, or that it is not was told; of a board that never had one there is nothing to tell."""
        self._began_ns: int | None = None
        self._state = budgeting.begin(kept)
        self._settings = budgeting.Settings(temperature=None, memory=None)
        self._points: list[OperatingPoint] = []
        """What may run: first what is wanted."""
        self._asked = False
        self._moving = False
        """A takeover that a budget asked for is under way."""
        self._point: OperatingPoint | None = None
        """In force, when it is not the wanted one."""
        self._latest_ns = 0
        """When to decide at the latest."""
        self._read_ns = -1
        """When the sensors were read that were decided on last."""
        self._glanced: Readings | None = None
        self._why = ""
        """The reason of the newest move of a round: limits that follow from it are told with it."""
        self._cameras: list[BudgetCamera] = []

    # ---- what runs

    def asked_for_model(self, under_way: bool) -> None:
        """A client or a reload has another model loaded: the next one taken is what is wanted from then on."""
        self._asked = under_way

    def model_taken(self, ready: ModelReady, config: Config) -> None:
        """A detector serves. Unless it is the budgets' doing, it is what is wanted from now on."""
        if self._asked:
            self._point = None
        elif self._moving or self._point is not None:
            return
        self._points = _points(ready, config)

    def operating(self, config: ModelConfig) -> ModelConfig:
        """[model] as it is to run now: with the variant and threads that budgets leave."""
        point = self._point
        if point is None:
            return config
        return msgspec.structs.replace(config, variant=point.variant, threads=point.threads)

    # ---- what there is to say

    @property
    def reduced(self) -> bool:
        """Whether the model in service is a lighter one than is wanted, or has fewer threads. Goes by what serves, not
        by what was asked for: until a takeover is through, frames are still the old one's."""
        serves = self._fleet.detectors.model
        if serves is None or not self._points:
            return False
        wanted = self._points[0]
        return (serves.variant, serves.threads) != (wanted.variant, wanted.threads)

    @property
    def summary(self) -> summary.Summary:
        return summary.summary(self._state, self._settings, self._cameras, self.reduced)

    @property
    def learned(self) -> ThermalModel | None:
        """Of this board, to be kept for the next run."""
        return self._state.heat.model if self._state.heat is not None else self._state.kept

    # ---- the round

    def tick(self, now_ns: int, minute_of_day: int, config: Config, budgets: Budgets, readings: Readings) -> None:
        """Decide and act; call often: it does so when the sensors were read anew, which is once a second. In between it
        glances at what other programs take."""
        if readings is not self._glanced:
            self._glanced = readings
            self._state, actions = budgeting.glance(self._state, self._settings, readings, now_ns / 1e9)
            self._act(actions, config)
        if readings.at_ns == self._read_ns and now_ns < self._latest_ns:
            return
        self._read_ns, self._latest_ns = readings.at_ns, now_ns + LATEST_NS
        if budgets.memory <= 0:  # not read yet
            return
        self._tell_a_missing_sensor(now_ns, readings, budgets)
        self._settings = _settings(config, budgets, readings)
        self._cameras = [_camera(camera, now_ns) for camera in self._fleet.cameras.values() if _counts(camera)]
        self._state, actions = budgeting.step(
            self._state,
            self._settings,
            self._cameras,
            self._points,
            readings,
            minute_of_day,
            now_ns / 1e9,
            running=self._running,
        )
        self._act(actions, config)

    def _tell_a_missing_sensor(self, now_ns: int, readings: Readings, budgets: Budgets) -> None:
        """Once: a board that was learned had a sensor. One that was read in this run and is lost is the governor's to
        tell; a driver may come late."""
        if self._sensed:
            return
        self._began_ns = now_ns if self._began_ns is None else self._began_ns
        self._sensed = bool(readings.counted or readings.lost)
        if not self._sensed and now_ns - self._began_ns >= NO_SENSOR_NS:
            self._sensed = True
            reason = (
                "no temperature sensor of a processor is found, although this board had one in an earlier run: nothing "
                f"holds the temperature budget of {budgets.temperature:g} °C; see what vigild sensors finds, and bring "
                "the kernel's thermal driver back"
            )
            self._emit(events.Noticed(kind="sensor_missing", reason=reason))

    def _act(self, actions: Iterable[Action], config: Config) -> None:
        self._why = ""
        for action in sorted(actions, key=lambda action: not isinstance(action, Move)):
            self._carry_out(action, config)

    def _carry_out(self, action: Action, config: Config) -> None:
        match action:
            case Move(kind=kind, reason=reason):
                self._why = reason
                self._emit(events.BudgetMoved(move=kind, reason=reason))
            case Limits():
                self._limit(action)
            case UsePoint(point=point, beside=beside):
                self._use(point, beside, config)
            case Trim(on=on):
                self._fleet.trim(on)
            case Recycle(worker=worker, reason=reason, overlap=overlap):
                self._recycle(worker, reason, overlap, config)

    def _limit(self, wanted: Limits) -> None:
        by_name = {limit.camera: limit for limit in wanted.cameras}
        for name, camera in self._fleet.cameras.items():
            limit = by_name.get(name)
            limits = camera.limits
            for who in WHO:
                held = limit is not None and who in limit.holds
                limits = limits.held(who, wanted.degraded or self._why) if held else limits.released(who)
            limits = limits.capped("governor", limit.max_fps if limit is not None else None)
            self._fleet.limit(name, limits, self._why or wanted.degraded or "full work again")

    def _recycle(self, worker: str, reason: str, overlap: bool, config: Config) -> None:
        """Where there is room for both, a detector's successor takes over with its first result; else, and of a
        camera, whose source one process at a time can have open, the old one is ended first."""
        slots = [slot.name for slot in self._fleet.detectors.slots]
        if not overlap or slots != [worker] or self._moving:
            self._fleet.recycle(worker, reason)
            return
        self._moving = True

        def done(outcome: ModelReady | NotReplaced) -> None:
            self._moving = False
            if isinstance(outcome, NotReplaced):
                self._fleet.recycle(worker, reason)

        self._fleet.replace(self.operating(config.model), done)

    @property
    def _running(self) -> OperatingPoint | None:
        """The point that runs; None while that is about to change, or nothing is known."""
        if self._moving or self._asked or not self._points:
            return None
        return self._point or self._points[0]

    def _use(self, point: OperatingPoint, beside: bool, config: Config) -> None:
        full = bool(self._points) and point.settings == self._points[0].settings
        if full and self._point is None:
            return  # it runs: another model or delegate came, and not by the budgets
        before, self._point = self._point, None if full else point
        self._moving = True

        def done(outcome: ModelReady | NotReplaced) -> None:
            self._moving = False
            if isinstance(outcome, NotReplaced):
                self._point = before  # what runs stays, and so does what is started again
                reason = f"the budgets' move to {point} was refused, what runs stays: {outcome}"
                self._emit(events.Noticed(kind="budget_refused", reason=reason))

        self._fleet.replace(self.operating(config.model), done, beside=beside)


def _settings(config: Config, budgets: Budgets, readings: Readings) -> budgeting.Settings:
    budget = config.budget
    return budgeting.Settings(
        temperature=budgets.temperature if readings.counted or readings.lost else None,
        memory=budgets.memory,
        hysteresis=budget.hysteresis,
        dwell=budget.dwell,
        min_fps=budget.min_fps,
        give_up=tuple(budget.give_up) or GIVE_UP,
        quiet=schedule.of(budget.quiet),
    )


def _counts(camera: Camera) -> bool:
    """Whether nobody but the budgets may keep it from running now."""
    others = set(camera.limits.holds) - set(WHO)
    return camera.source is not None and not camera.ended and not others


def _camera(camera: Camera, now_ns: int) -> BudgetCamera:
    source = camera.source
    # A file that is read to the full goes as fast as the detector does, whatever rate it was recorded at.
    said = source.fps if source is not None and source.live and source.fps > 0 else None
    return BudgetCamera(
        name=camera.name,
        priority=camera.config.priority,
        wanted_fps=camera.config.fps or said,
        asked_fps=camera.config.fps or None,
        given_fps=(camera.fps or None) if source is not None and source.live else None,
        measured_fps=camera.inferred_rate.per_second(now_ns / 1e9),
        pace=camera.config.pace,
        size=camera.size,
    )


def _points(ready: ModelReady, config: Config) -> list[OperatingPoint]:
    """What this model may run as, the wanted point first."""
    return [msgspec.structs.replace(point, model=ready.name) for point in _known(ready, config)]


def _known(ready: ModelReady, config: Config) -> list[OperatingPoint]:
    """The points of its ladder, by what `vigild tune` measured here; the one point that runs, where nothing was."""
    # A profile is of the processor that works, not of a board whose sensors alone are read (--sysfs-root): it is kept
    # by `vigild tune` and read by the detector in the same way.
    where = profile.find()
    if where is not None and config.model.path is None:
        try:
            kept = profile.load(where)
        except profile.ProfileError as error:
            _log.warning("%s; the budgets can give up the frame rate, cameras and a pause", error)
        else:
            model = kept.models.get(ready.name)
            if model is not None and not profile.stale(kept, profile.this_board()):
                return operating_points(
                    model.rows,
                    ready.variant,
                    ready.threads,
                    ready.delegate,
                    config.budget.variants,
                    config.model.detectors,
                )
    return assumed(ready.variant, ready.threads, ready.delegate)
