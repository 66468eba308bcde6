"""One detector worker process: one model on one rung of the delegate ladder.

    detector = Detector(owner, config, ladder)
    detector.check(now_ns, invoke_limit_s)         # often: kills it if it hangs
    detector.stop()

Which detector runs, and what follows one that ended, is its owner's business (`detector`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from vigild.config.schema import ModelConfig
from vigild.delegates.ladder import Ladder, is_edgetpu
from vigild.delegates.prospects import died_of_delegate
from vigild.fleet import deadlines
from vigild.fleet.process import WorkerProcess
from vigild.ipc.messages import Exit, FromDetector, LoadModel, ModelReady, ModelRefused, Result, SetFilter
from vigild.ipc.progress import STAGE_TEXT, Stage

EDGETPU_LOAD_S = 20.0
EDGETPU_FIRST_INVOKE_S = 10.0
"""What an Edge TPU gets while nothing else runs and the CPU could: a model of 6 MB takes 5 s over USB 2. When it is
tried again, beside the CPU, it may take as long as anything else."""

EXIT_GRACE_S = 1.0

# Refusals that another rung may get around; all others are about the model itself.
_RUNG_CODES = frozenset({"delegate"})


class Owner(Protocol):
    """Whom a detector tells."""

    def detector_ready(self, detector: Detector) -> None:
        """Its model passed the dry run; `detector.ready` says what it is."""

    def detector_result(self, detector: Detector, result: Result) -> None:
        """One inferred frame."""

    def detector_exited(self, detector: Detector, reason: str) -> None:
        """Its process ended; told once, and last."""


class Detector:
    """One detector worker process."""

    def __init__(self, owner: Owner, config: ModelConfig, ladder: Ladder, rung: str = "", lowered: str = "") -> None:
        """`rung`: what to run on, if not the one that `ladder` is on. `lowered`: why it is not the top one."""
        self._owner = owner
        self.config = config
        self.ladder = ladder
        self.lowered = lowered
        self.rung = rung = rung or ladder.rung
        self.ready: ModelReady | None = None
        self.refused: ModelRefused | None = None
        self.results = 0
        self.started_s = time.monotonic()
        self.ready_s = 0.0
        self.process = WorkerProcess("detector", "vigild.detector", FromDetector, self._on_message, self._on_exit)
        runtime = ladder.runtimes.name if config.runtime == "auto" else config.runtime
        self.process.send(LoadModel(config=config, delegate=rung, runtime=runtime))

    def _on_message(self, _: WorkerProcess, message: Any, fds: list[int]) -> None:
        if isinstance(message, Result):
            self.results += 1
            self._owner.detector_result(self, message)
        elif isinstance(message, ModelReady):
            self.ready = message
            self.ready_s = time.monotonic()
            self._owner.detector_ready(self)
        elif isinstance(message, ModelRefused):
            self.refused = message

    def _on_exit(self, process: WorkerProcess, reason: str) -> None:
        if self.refused is not None:
            reason = self.refused.message
        self._owner.detector_exited(self, reason)

    @property
    def rung_failed(self) -> bool:
        """Whether it never worked on this rung: a lower one may."""
        if self.refused is not None:
            return self.refused.code in _RUNG_CODES
        return self.ready is None

    @property
    def delegate_failed(self) -> bool:
        """Whether it is, as far as one can tell, its delegate that does not work, and not the model."""
        if self.refused is not None:
            return self.refused.code in _RUNG_CODES
        return self.ready is None and died_of_delegate(self.rung, self.process.exit_status)

    def other_runtime(self, reason: str) -> str:
        """The TFLite runtime to go on with when the start of one was what ended it; else empty."""
        if self.config.runtime != "auto" or self.refused is not None or self.process.killed_from_outside:
            return ""
        return self.ladder.runtimes.died(self.process.ended_in, reason)

    def no_other_runtime(self) -> str:
        """How the runtime before ended, when this one was started for that and is refused; else empty."""
        refused = self.refused is not None and self.refused.code == "runtime"
        return self.ladder.runtimes.refused() if refused else ""

    def set_filter(self, config: ModelConfig) -> None:
        """Take up the keys that need no new detector."""
        self.process.send(
            SetFilter(
                min_score=config.min_score,
                max_results=config.max_results,
                labels_allowed=config.labels_allowed,
                labels_denied=config.labels_denied,
            )
        )

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        self.process.send(Exit())
        asyncio.get_running_loop().call_later(EXIT_GRACE_S, self.process.kill, "did not stop when asked")

    def check(self, now_ns: int, invoke_limit_s: float) -> bool:
        """Kill it if it hangs; returns whether it was inside invoke()."""
        stage, since_ns = self.process.stage()
        limits = {**deadlines.DETECTOR_LIMITS_S, Stage.INVOKE: invoke_limit_s}
        if is_edgetpu(self.rung) and not self.ladder.last and self.ladder.rung == self.rung:
            limits |= {Stage.LOAD: EDGETPU_LOAD_S, Stage.FIRST_INVOKE: EDGETPU_FIRST_INVOKE_S}
        spent_s = deadlines.overdue(stage, since_ns, now_ns, limits)
        if spent_s is None:
            return False
        self.process.kill(f"hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
        return stage == Stage.INVOKE
