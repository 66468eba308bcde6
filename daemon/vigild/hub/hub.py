"""The hub: what follows from what happens.

    hub = Hub(config, clock, starter, publish, finish)
    hub.start()
    hub.tick(now_ns)                 # ten times a second
    hub.state()                      # everything there is to say, made at most once a tick

The fleet tells events; here they become results for clients (through each camera's chain of perception),
lines of the log, and changes of status. Requests of clients are in `api`. Time, processes and the socket
come from outside, so all of it runs in a test through days of faults in milliseconds.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from vigild import log
from vigild.board.budgets import Budgets
from vigild.board.readings import Readings
from vigild.budget import schedule
from vigild.budget.thermal_model import ThermalModel
from vigild.config.changes import Changes
from vigild.config.rules import unknown_labels
from vigild.config.schema import Config
from vigild.config.source import parse_source
from vigild.fleet import events
from vigild.fleet.camera import Camera
from vigild.fleet.clock import Clock
from vigild.fleet.fleet import Fleet
from vigild.fleet.process import Starter
from vigild.hub import answers, state, telling
from vigild.hub.budget_keeper import BudgetKeeper
from vigild.hub.snapshots import Snapshots
from vigild.hub.state import State
from vigild.ipc.messages import ModelReady, Result
from vigild.perception.chain import Chain, Step
from vigild.perception.filter import filter_of
from vigild.perception.observation import Observation, observed
from vigild.perception.order import Order
from vigild.wire import messages as wire

TICK_S = 0.1

HEARTBEAT_S = 2.0
"""Protocol 1 promises one per camera at least this often: silence always means a fault."""

HUB_STALL_S = 1.0
"""A tick this late means that the hub itself was stopped or starved; workers are not blamed for it."""

BLAMELESS_S = 2.0
"""Workers may have waited for the hub, or been stopped with it: they come round first."""

EXIT_CONFIG = 2
"""As for every configuration that cannot be used: a supervisor need not try it again."""

HELD_OBSERVATIONS = 4
"""Kept for drawing on a snapshot: as many as frames may be on the way."""

Publish = Callable[[wire.Detections | wire.Heartbeat | wire.Health | wire.Event], None]
Finish = Callable[[int, str], None]
"""Stop the daemon: (exit status, why; empty when the log has it already)."""

_log = log.logger("hub")


class _Sight:
    """What is known of one camera beyond the fleet: the order of its results, the chain, what was seen."""

    def __init__(self, chain: Chain) -> None:
        self.order = Order()
        self.chain = chain
        self.recent: deque[Observation] = deque(maxlen=HELD_OBSERVATIONS)
        self.faulty = False
        """The newest result said nothing: the model's outputs have no meaning."""
        self.told: wire.Status | None = None
        """The status clients were told last."""


class Hub:
    """Everything but the socket, the sensors and the event loop."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        starter: Starter,
        publish: Publish,
        finish: Finish,
        *,
        exit_at_end: bool = False,
        root: Path = Path("/"),
        kept: ThermalModel | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        """`root`: what /sys and /dev are below. `kept`: what was learned of this board before. `random`: numbers from
        0 to 1, for jitter."""
        self.config = config
        self.instance = os.urandom(6).hex()
        self.fleet = Fleet(config, clock, starter, self.happened, root=root, random=random)
        self.snapshots = Snapshots(clock)
        self.readings = Readings(at_ns=clock.now_ns())
        self.budgets = Budgets(temperature=0.0, memory=0)
        self.ended = False
        """All sources came to their end, and that is why the daemon stops."""
        self.losses: list[str] = []
        """What ended sources did not give, in words."""
        self.keeper = BudgetKeeper(self.fleet, self.happened, kept)
        self._clock = clock
        self._publish = publish
        self._finish = finish
        self._exit_at_end = exit_at_end
        self._started_ns = clock.now_ns()
        self._sights: dict[str, _Sight] = {}
        self._results = 0
        self._faults = 0
        self._had_model = False
        self._state: State | None = None
        self._last_tick_ns = 0
        self._blameless_until_ns = 0
        self._next_heartbeat_ns = 0
        self._next_health_ns = 0
        self._wall_minute = -1
        self._local_minute = 0
        """The minute of the day that `_wall_minute` was, here."""
        self._mattered: object = None
        self._changed = True
        """Something happened that `health` may have to say at once."""
        self.clients_health: Callable[[], list[wire.ClientHealth]] = list
        """Of the socket's clients, for `health`."""
        self.changed: Callable[[], None] = lambda: None
        """Told that answers built before may no longer be so."""
        self.model_taken: Callable[[ModelReady], None] = lambda ready: None
        """Told of each model that comes into service."""
        self.unsent: Callable[[], dict[str, int]] = dict
        """What could not be said to whom without waiting: messages by "journal" and "systemd"."""

    # ---- life

    def start(self) -> None:
        self.fleet.start()

    def stop(self) -> None:
        """Tell everything to end; processes that do not are killed."""
        self.happened(events.Stopping())
        self.fleet.stop()

    def finish(self, status: int, why: str = "") -> None:
        """Stop the daemon."""
        self._finish(status, why)

    def tick(self, now_ns: int) -> None:
        """Look after everything; `TICK_S` apart."""
        self._state = None
        late_s = (now_ns - self._last_tick_ns) / 1e9 - TICK_S if self._last_tick_ns else 0.0
        self._last_tick_ns = now_ns
        if late_s > HUB_STALL_S:
            _log.warning("the hub itself was stopped or starved for %.1f s", late_s)
            self._blameless_until_ns = now_ns + round(BLAMELESS_S * 1e9)
        if now_ns >= self._blameless_until_ns:
            self.fleet.check(now_ns)
        for name, sight in list(self._sights.items()):
            if len(sight.order):
                self._tell_results(name, sight.order.overdue(now_ns), now_ns)
        heartbeat = now_ns >= self._next_heartbeat_ns
        if heartbeat:
            self._next_heartbeat_ns = now_ns + round(HEARTBEAT_S * 1e9)
        self.keeper.tick(now_ns, self._minute_of_day(), self.config, self.budgets, self.readings)
        self._tell_statuses(now_ns, even_unchanged=heartbeat)
        self._tell_health(now_ns)

    def state(self) -> State:
        """Everything there is to say; the same value until the next tick or event of weight."""
        if self._state is None:
            self._state = state.take(
                self.fleet,
                self.config,
                {name: sight.recent[-1].detections for name, sight in self._sights.items() if sight.recent},
                self.readings,
                self.budgets,
                self.keeper.summary,
                now_ns=self._clock.now_ns(),
                wall_ns=self._clock.wall_ns(),
                started_ns=self._started_ns,
                results=self._results,
                faults=self._faults,
                unsent=self.unsent(),
            )
        return self._state

    # ---- what happens

    def happened(self, event: events.Event) -> None:
        """React to an event; called wherever one is made."""
        if isinstance(event, events.ResultArrived):
            self._result(event)
            return
        self._state, self._changed = None, True
        self.changed()
        for name, level, text in telling.log_lines(event):
            log.logger(name).log(level, "%s", text)
        now_ns = self._clock.now_ns()
        match event:
            case events.SlotFailed():
                self._detectors_changed(now_ns)
            case events.ModelTaken(ready=ready):
                self.keeper.model_taken(ready, self.config)
                self.model_taken(ready)
                self._change_chains()
                self._detectors_changed(now_ns)
            case events.CameraEnded(camera=camera, reason=reason, lost=lost):
                self.losses += [f"camera {camera}: {reason}"] if lost else []
                if camera in self._sights:
                    self._tell_results(camera, self._sights[camera].order.all(), now_ns)
            case events.CameraRemoved(camera=camera):
                self._sights.pop(camera, None)
            case events.SnapshotTaken(snapshot=snapshot, memfd=memfd):
                self.snapshots.arrived(snapshot, memfd)
            case events.FaultOfOurs():
                self._faults += 1
        for message in telling.wire_events(event, self._clock.wall_ns()):
            said = message.reason or (message.model.name if message.model else "")
            log.event(message.kind, said, camera=message.camera)
            self._publish(message)
        self._tell_statuses(now_ns)
        match event:
            case events.ModelTaken(ready=ready):
                self._check_labels(ready)
            case events.ModelUnusable():
                self.finish(1)
            case events.CameraEnded():
                self._end_when_all_ended()
            case events.CameraLost(camera=camera, reason=reason):
                self._give_up_if_it_cannot_come_back(camera, reason)

    def _check_labels(self, ready: ModelReady) -> None:
        """A label that no class has is never seen: refused at the start, and told when another model comes."""
        unknown = unknown_labels(self.config.model, ready.labels)
        first, self._had_model = not self._had_model, True
        for sentence in unknown:
            self.happened(events.Noticed(kind="unknown_label", reason=sentence))
        if unknown and first:
            self.finish(EXIT_CONFIG, "the configuration asks for what this model cannot see")

    def _give_up_if_it_cannot_come_back(self, camera: str, reason: str) -> None:
        """A file that fails is never waited for by a daemon that is to end when all are through."""
        lost = self.fleet.cameras[camera]
        if self._exit_at_end and parse_source(lost.config.source).kind in ("file", "images"):
            lost.ended = True
            self.losses.append(f"camera {camera}: {reason}")
            self._end_when_all_ended()

    def _end_when_all_ended(self) -> None:
        cameras = self.fleet.cameras.values()
        if self._exit_at_end and all(camera.ended for camera in cameras):
            self.ended = True
            self.finish(1 if self.losses else 0, "; ".join(self.losses))

    def _detectors_changed(self, now_ns: int) -> None:
        names = self._serving()
        for name, sight in list(self._sights.items()):
            self._tell_results(name, sight.order.changed(names), now_ns)

    def _serving(self) -> list[str]:
        return [slot.name for slot in self.fleet.detectors.slots if slot.ready is not None and not slot.down]

    # ---- results

    def _sight(self, camera: str) -> _Sight:
        sight = self._sights.get(camera)
        if sight is None:
            sight = self._sights[camera] = _Sight(Chain(self._steps()))
        return sight

    def _steps(self) -> list[Step]:
        model = self.fleet.detectors.model
        return [filter_of(self.config.model, model.min_scores if model is not None else {})]

    def _change_chains(self) -> None:
        for sight in self._sights.values():
            sight.chain.change(self._steps())

    def _result(self, event: events.ResultArrived) -> None:
        result = event.result
        if result.camera not in self.fleet.cameras:
            return
        sight = self._sight(result.camera)
        order = sight.order
        if len(self.fleet.detectors.slots) == 1 and not len(order):
            self._tell_result(result, sight, event.arrived_ns)
        else:
            ready = order.arrived(result, event.slot, self._serving(), event.arrived_ns)
            self._tell_results(result.camera, ready, event.arrived_ns)

    def _tell_results(self, camera: str, results: list[Result], now_ns: int) -> None:
        if camera in self.fleet.cameras:
            sight = self._sight(camera)
            for result in results:
                self._tell_result(result, sight, now_ns)

    def _tell_result(self, result: Result, sight: _Sight, now_ns: int) -> None:
        camera = self.fleet.cameras[result.camera]
        if result.fault:
            camera.inferred_in_vain(result)
            if not sight.faulty:
                sight.faulty = True
                self.happened(events.Noticed(kind="bad_output", camera=camera.name, reason=result.fault))
            return
        if not camera.result(result, now_ns):
            return
        if sight.faulty:
            sight.faulty, camera.reason = False, ""
        self._results += 1
        seen = sight.chain.observe(observed(result), now_ns)
        sight.recent.append(seen)
        status = camera.status(now_ns, self._at_full_strength)
        if status != sight.told:
            self._tell_status(camera, sight, status)
        model = self.fleet.detectors.model
        assert model is not None
        self._publish(
            wire.Detections(
                camera=result.camera,
                frame=result.frame,
                size=(result.width, result.height),
                time=wire.wall_time(result.wall_ns),
                captured_ns=result.captured_ns,
                age_ms=round((now_ns - result.captured_ns) / 1e6, 3),
                infer_ms=round(result.invoke_ns / 1e6, 3),
                model=model.name,
                variant=model.variant,
                status=status,
                detections=answers.detections(seen.detections),
                truncated=seen.truncated,
                file=result.file or camera.file or None,
            )
        )

    def seen(self, camera: str) -> list[Observation]:
        """What was reported of the last few frames, oldest first."""
        return list(self._sights[camera].recent) if camera in self._sights else []

    @property
    def _at_full_strength(self) -> bool:
        """The model that is wanted, as it is wanted."""
        return self.fleet.detectors.at_full_strength and not self.keeper.reduced

    # ---- what clients are told by and by

    def _tell_status(self, camera: Camera, sight: _Sight, status: wire.Status) -> None:
        if status != sight.told:
            self._state, self._changed = None, True
            sight.told = status
        self._publish(wire.Heartbeat(camera=camera.name, status=status, frame=camera.last_frame))

    def _tell_statuses(self, now_ns: int, even_unchanged: bool = False) -> None:
        full = self._at_full_strength
        for camera in list(self.fleet.cameras.values()):
            sight = self._sight(camera.name)
            status = camera.status(now_ns, full)
            if even_unchanged or status != sight.told:
                self._tell_status(camera, sight, status)

    def _tell_health(self, now_ns: int) -> None:
        due = now_ns >= self._next_health_ns
        if not due and not self._changed:
            return
        self._changed = False
        mattering = answers.what_matters(self.state())
        if due or mattering != self._mattered:
            self._mattered = mattering
            self._next_health_ns = now_ns + round(self.config.daemon.health_interval * 1e9)
            self._publish(answers.health(self.state(), self.clients_health()))

    # ---- the board

    def _minute_of_day(self) -> int:
        """Of the clock on the wall, for the schedule."""
        wall_minute = self._clock.wall_ns() // 60_000_000_000
        if wall_minute != self._wall_minute:
            time.tzset()  # else the time zone stays the one of the start, whatever timedatectl says since
            local = time.localtime(60 * wall_minute)
            self._wall_minute, self._local_minute = wall_minute, 60 * local.tm_hour + local.tm_min
        return self._local_minute

    def quiet(self) -> schedule.Quiet | None:
        """The quiet hours, while they last."""
        quiet = schedule.of(self.config.budget.quiet)
        return quiet if schedule.active(quiet, self._minute_of_day()) else None

    def in_force(self, budgets: Budgets) -> Budgets:
        """These, or what quiet hours make of them now."""
        return schedule.in_force(budgets, self.quiet())

    def read(self, readings: Readings, budgets: Budgets) -> None:
        """The board's sensors were read."""
        self._changed = self._changed or (readings.flags, readings.lost) != (self.readings.flags, self.readings.lost)
        self._changed = self._changed or budgets != self.budgets
        self.readings, self.budgets = readings, budgets
        self._state = None

    # ---- configuration

    def take_up(self, config: Config, changes: Changes) -> None:
        """Put a validated configuration in force; the model, if it changed, has been replaced already."""
        self.config = config
        self._state = None
        log.set_level(config.daemon.log_level)
        for name in changes.removed("camera"):
            self.fleet.remove_camera(name)
        for name in changes.changed("camera"):
            self.fleet.change_camera(name, config.camera[name])
        for name in changes.added("camera"):
            self.fleet.add_camera(name, config.camera[name])
        self.fleet.set_model(self.keeper.operating(config.model))
        self._change_chains()
