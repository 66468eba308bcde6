"""One supervised place for a detector: at most one worker process, with one model on one rung of a delegate ladder.

    slot = Slot("detector", owner, config, ladder, clock, starter, restarts, group)
    slot.start()
    slot.check(now_ns)               # often: kills it when it hangs
    slot.stop()

A slot knows how to start, watch and end its process, and how often that failed. What follows an end is its
owner's business (`fleet` for those in service, `takeover` for those that are to follow them).

    idle ──► starting ──► ready ──► serving
     ▲          │           │          │
     │          ▼           ▼          ▼
     └────── backing off ◄──┴──────────┘         failed: it will not be started again
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol

from vigild.config.schema import ModelConfig
from vigild.delegates.ladder import Ladder, is_edgetpu
from vigild.delegates.prospects import died_of_delegate
from vigild.fleet import deadlines
from vigild.fleet.clock import Clock, Timer
from vigild.fleet.metrics import StageTimes
from vigild.fleet.process import Starter, Worker, why_not_started
from vigild.fleet.restarts import Restarts
from vigild.ipc.messages import Exit, FromDetector, LoadModel, ModelReady, ModelRefused, Result, SetBounds
from vigild.ipc.progress import STAGE_TEXT, Stage

EDGETPU_LIMITS_S = {Stage.LOAD: 20.0, Stage.FIRST_INVOKE: 10.0}
"""What an Edge TPU gets while nothing else runs and the CPU could: a model of 6 MB takes 5 s over USB 2. When it is
tried again, beside the CPU, it may take as long as anything else."""

EXIT_GRACE_S = 1.0

# Refusals that another rung may get around; all others are about the model itself.
_RUNG_CODES = frozenset({"delegate"})


class SlotState(enum.Enum):
    """Where a slot is; the values are the words that clients see."""

    IDLE = "idle"
    STARTING = "loading"
    READY = "ready"
    SERVING = "running"
    BACKING_OFF = "restarting"
    FAILED = "failed"


_MAY_FOLLOW: dict[SlotState, frozenset[SlotState]] = {
    SlotState.IDLE: frozenset({SlotState.STARTING, SlotState.BACKING_OFF, SlotState.FAILED}),
    SlotState.STARTING: frozenset({SlotState.READY, SlotState.BACKING_OFF, SlotState.FAILED, SlotState.IDLE}),
    SlotState.READY: frozenset({SlotState.SERVING, SlotState.BACKING_OFF, SlotState.FAILED, SlotState.IDLE}),
    SlotState.SERVING: frozenset({SlotState.BACKING_OFF, SlotState.FAILED, SlotState.IDLE}),
    SlotState.BACKING_OFF: frozenset({SlotState.STARTING, SlotState.BACKING_OFF, SlotState.FAILED, SlotState.IDLE}),
    SlotState.FAILED: frozenset({SlotState.IDLE}),
}


class Owner(Protocol):
    """Whom a slot tells. Nothing of it raises."""

    def slot_ready(self, slot: Slot) -> None:
        """Its model passed the dry run; `slot.ready` says what it is."""

    def slot_result(self, slot: Slot, result: Result) -> None:
        """One inferred frame."""

    def slot_ended(self, slot: Slot, reason: str) -> None:
        """Its process ended, or could not be started; told once for each start. `slot` is idle."""


class Slot:
    """One place. To be used from one thread; `owner` is called in the course of its methods and its process's words."""

    def __init__(
        self,
        name: str,
        owner: Owner,
        config: ModelConfig,
        ladder: Ladder,
        clock: Clock,
        starter: Starter,
        restarts: Restarts,
        group: int,
    ) -> None:
        """`group`: of its rings (see `rings`)."""
        self.name = name
        self.config = config
        self.ladder = ladder
        self.restarts = restarts
        self.group = group
        self.state = SlotState.IDLE
        self.lowered = ""
        """Why it runs below the top of its ladder, where somebody should be told."""
        self.rung = ladder.rung
        self.process: Worker | None = None
        self.ready: ModelReady | None = None
        self.refused: ModelRefused | None = None
        self.ready_ns = 0
        self.start_due_ns: int | None = None
        """When it is to be started (again); None: not by itself."""
        self.down = ""
        """Why it does not serve, from a failure to the first result after it."""
        self.last_reason = ""
        self.results = 0
        self.times = StageTimes()
        self.invoke_limit = deadlines.InvokeDeadline()
        self._owner = owner
        self._clock = clock
        self._starter = starter
        self._stop_timer: Timer | None = None
        self._ended_in = Stage.START
        self._exit_status: int | None = None
        self._killed_from_outside = False

    # ---- life

    def start(self, rung: str = "", lowered: str = "") -> None:
        """Start its process. `rung`: what to run on, if not the one that its ladder is on."""
        self.rung = rung or self.ladder.rung
        self.lowered = lowered
        self.ready, self.refused = None, None
        self.start_due_ns = None
        self._exit_status, self._killed_from_outside, self._ended_in = None, False, Stage.START
        try:
            process = self._starter.start("detector", "vigild.detector", FromDetector, self._heard, self._exited)
        except Exception as error:
            # No process, descriptor or memory is left (OSError, MemoryError); and whatever else it may be, it is told
            # and tried again like these.
            self._owner.slot_ended(self, why_not_started(error))
            return
        self.process = process
        self._becomes(SlotState.STARTING)
        runtime = self.ladder.runtimes.name if self.config.runtime == "auto" else self.config.runtime
        process.send(LoadModel(config=self.config, delegate=self.rung, runtime=runtime))

    def start_later(self, delay_s: float) -> None:
        """Wait with the next start; `check` carries it out."""
        self._becomes(SlotState.BACKING_OFF)
        self.start_due_ns = self._clock.now_ns() + round(delay_s * 1e9)

    def fail(self) -> None:
        """It will not be started again."""
        self.start_due_ns = None
        self._becomes(SlotState.FAILED)

    def stop(self) -> None:
        """Ask the process to end, and end it when it does not. No start is due any more."""
        self.start_due_ns = None
        process = self.process
        if process is None:
            self.state = SlotState.IDLE
            return
        process.send(Exit())
        self._stop_timer = self._clock.call_later(EXIT_GRACE_S, lambda: process.kill("did not stop when asked"))

    def set_config(self, config: ModelConfig) -> None:
        """Take up keys that need no new detector: now, and whenever it is started."""
        self.config = config
        if self.process is not None:
            self.process.send(SetBounds(min_score=config.min_score, max_results=config.max_results))

    def check(self, now_ns: int) -> None:
        """Start it when that is due; kill it when it hangs; notice an end that was not told."""
        process = self.process
        if process is None:
            if self.start_due_ns is not None and now_ns >= self.start_due_ns:
                self.start(lowered=self.lowered)
            return
        if process.exit_status is not None:
            self._exited("ended")
            return
        stage, since_ns = process.stage()
        spent_s = deadlines.overdue(stage, since_ns, now_ns, self._limits_s(stage))
        if spent_s is not None:
            process.kill(f"hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
            if stage == Stage.INVOKE:
                self.invoke_limit.killed()

    def _limits_s(self, stage: Stage) -> Mapping[Stage, float]:
        """Among them that of `stage`."""
        if stage is Stage.INVOKE:
            return {stage: self.invoke_limit.seconds}
        hurried = is_edgetpu(self.rung) and not self.ladder.last and self.ladder.rung == self.rung
        return EDGETPU_LIMITS_S if hurried and stage in EDGETPU_LIMITS_S else deadlines.DETECTOR_LIMITS_S

    @property
    def stranded(self) -> bool:
        """Nothing runs, nothing is due, and nobody gave it up. In service that is so only within a call: when it
        lasts, an end of its process was told and not taken in."""
        return self.process is None and self.start_due_ns is None and self.state is SlotState.IDLE

    def _becomes(self, state: SlotState) -> None:
        if state not in _MAY_FOLLOW[self.state]:
            raise ValueError(f"slot {self.name}: {state.name} cannot follow {self.state.name}")
        self.state = state

    # ---- what its process says

    def _heard(self, message: Any, _fds: list[int]) -> None:
        if isinstance(message, Result):
            self._measure(message)
            if self.state is SlotState.READY:
                self._becomes(SlotState.SERVING)
            self._owner.slot_result(self, message)
        elif isinstance(message, ModelReady):
            self.ready = message
            self.ready_ns = self._clock.now_ns()
            self.invoke_limit.expect(message.first_invoke_ms / 1e3)
            self._becomes(SlotState.READY)
            self._owner.slot_ready(self)
        elif isinstance(message, ModelRefused):
            self.refused = message

    def _measure(self, result: Result) -> None:
        self.results += 1
        self.invoke_limit.observe(result.invoke_ns / 1e9)
        total_ns = self._clock.now_ns() - result.captured_ns
        self.times.add(
            (
                result.decode_ns,
                result.convert_ns,
                result.wait_ns,
                result.copy_ns,
                result.invoke_ns,
                result.post_ns,
                total_ns,
            )
        )

    def _exited(self, reason: str) -> None:
        process = self.process
        if process is None:
            return
        self._exit_status, self._ended_in = process.exit_status, process.ended_in
        self._killed_from_outside = process.killed_from_outside
        self.process = None
        self.state = SlotState.IDLE
        if self._stop_timer is not None:
            self._stop_timer.cancel()
            self._stop_timer = None
        self._owner.slot_ended(self, self.refused.message if self.refused is not None else reason)

    # ---- how it ended

    @property
    def started(self) -> bool:
        """Whether there was a process to end."""
        return self._exit_status is not None

    @property
    def exit_status(self) -> int | None:
        """As subprocess gives it; None where the model was refused in words, or nothing ran."""
        return None if self.refused is not None else self._exit_status

    @property
    def killed_from_outside(self) -> bool:
        """By neither the daemon nor itself: somebody's kill, or the kernel for lack of memory."""
        return self._killed_from_outside

    @property
    def rung_failed(self) -> bool:
        """Whether it never worked on this rung: a lower one may."""
        if self.refused is not None:
            return self.refused.code in _RUNG_CODES
        return self.started and self.ready is None and not self._killed_from_outside

    @property
    def delegate_failed(self) -> bool:
        """Whether it is, as far as one can tell, its delegate that does not work, and not the model."""
        if self.refused is not None:
            return self.refused.code in _RUNG_CODES
        return self.ready is None and died_of_delegate(self.rung, self._exit_status)

    def other_runtime(self, reason: str) -> str:
        """The TFLite runtime to go on with when the start of one was what ended it; else empty."""
        if self.config.runtime != "auto" or self.refused is not None or self._killed_from_outside or not self.started:
            return ""
        return self.ladder.runtimes.died(self._ended_in, reason)

    def no_other_runtime(self) -> str:
        """How the runtime before ended, when this one was started for that and is refused; else empty."""
        refused = self.refused is not None and self.refused.code == "runtime"
        return self.ladder.runtimes.refused() if refused else ""
