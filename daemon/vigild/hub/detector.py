"""The detector in service, and the one that is to follow it.

    service = DetectorService(listener, ModelConfig(...))
    service.start()
    await service.replace(new_config)      # beside the running one; takes over on its first result

A detector is one worker process with one model on one rung of the delegate ladder. When the one in
service dies it is started again with back-off; when it keeps dying, or its delegate fails, the next
rung is tried. A replacement runs beside it and takes over with its first result, or, where no
camera delivers anything, once its model has passed the dry run; until then nothing changes.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Protocol

from vigild import log
from vigild.config.schema import ModelConfig
from vigild.hub import deadlines
from vigild.hub.ladder import rungs
from vigild.hub.process import WorkerProcess
from vigild.hub.restarts import Restarts
from vigild.ipc.messages import Exit, FromDetector, LoadModel, ModelReady, ModelRefused, Result, SetFilter
from vigild.ipc.progress import STAGE_TEXT, Stage

DEATHS_PER_RUNG = 5
"""Deaths in a row, with less than ten seconds of work between them, after which a delegate is not trusted."""

TAKEOVER_S = 3.0
"""How long a replacement that is ready may wait for a frame before it takes over without one."""

CLIMB_FIRST_S = 60.0
CLIMB_MAX_S = 1800.0
"""Between attempts to get back up the delegate ladder; doubled after each that fails."""

EXIT_GRACE_S = 1.0

# Refusals that another rung may get around; all others are about the model itself.
_RUNG_CODES = frozenset({"delegate"})

_log = log.logger("detector")


class Refused(Exception):
    """The model cannot be used: `code` for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Listener(Protocol):
    """Whom the service tells (the hub)."""

    def model_ready(self, detector: Detector) -> None:
        """Connect the cameras to it. Of a replacement: the live ones, so that it can prove itself."""

    def model_in_service(self, detector: Detector, previous: Detector | None) -> None:
        """`detector` serves from now on; `previous` (if any still runs) is about to be ended."""

    def result(self, detector: Detector, result: Result) -> None:
        """One inferred frame of the detector in service."""

    def detector_died(self, detector: Detector, reason: str) -> None:
        """The detector in service ended; it will be started again."""

    def detector_gone(self, detector: Detector) -> None:
        """Its process no longer exists: drop its links."""

    def model_unusable(self, message: str) -> None:
        """There is no detector and there will be none with this configuration."""


class Detector:
    """One detector worker process."""

    def __init__(self, service: DetectorService, config: ModelConfig, rung: str) -> None:
        self._service = service
        self.config = config
        self.rung = rung
        self.ready: ModelReady | None = None
        self.refused: ModelRefused | None = None
        self.results = 0
        self.started_s = time.monotonic()
        self.ready_s = 0.0
        self.process = WorkerProcess("detector", "vigild.detector", FromDetector, self._on_message, self._on_exit)
        self.process.send(LoadModel(config=config, delegate=rung, runtime=config.runtime))

    def _on_message(self, _: WorkerProcess, message: Any, fds: list[int]) -> None:
        if isinstance(message, Result):
            self.results += 1
            self._service._result(self, message)
        elif isinstance(message, ModelReady):
            self.ready = message
            self.ready_s = time.monotonic()
            self._service._ready(self)
        elif isinstance(message, ModelRefused):
            self.refused = message

    def _on_exit(self, _: WorkerProcess, reason: str) -> None:
        self._service._exited(self, reason)

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
        spent_s = deadlines.overdue(stage, since_ns, now_ns, limits)
        if spent_s is None:
            return False
        self.process.kill(f"hung for {spent_s:.1f} s {STAGE_TEXT[stage]}")
        return stage == Stage.INVOKE


class DetectorService:
    """Keeps one detector running."""

    def __init__(self, listener: Listener, config: ModelConfig) -> None:
        self._listener = listener
        self.config = config
        self.current: Detector | None = None
        self.candidate: Detector | None = None
        self._replaced: asyncio.Future[ModelReady] | None = None
        self.restarts = Restarts(random.random)
        self.invoke_limit = deadlines.InvokeDeadline()
        self._rungs = rungs(config.delegate)
        self._rung = 0
        self._climb_s = CLIMB_FIRST_S
        self._next_climb_s = 0.0
        self._served = False
        self.stopping = False
        self.last_reason = ""

    # ---- life

    @property
    def rung(self) -> str:
        return self._rungs[self._rung]

    @property
    def lowered(self) -> bool:
        """Running below the top of the ladder."""
        return self._rung > 0

    def start(self) -> None:
        self.current = Detector(self, self.config, self.rung)

    def stop(self) -> None:
        self.stopping = True
        for detector in (self.current, self.candidate):
            if detector is not None:
                detector.stop()

    def processes(self) -> list[WorkerProcess]:
        return [d.process for d in (self.current, self.candidate) if d is not None]

    def check(self, now_ns: int) -> None:
        """Watch for hangs; call often. A replacement that gets no frames takes over after a while."""
        for detector in (self.current, self.candidate):
            if detector is not None and detector.check(now_ns, self.invoke_limit.seconds):
                self.invoke_limit.killed()
        candidate = self.candidate
        if candidate is None and self.lowered and self.current is not None and time.monotonic() > self._next_climb_s:
            _log.info("trying delegate %s again", self._rungs[self._rung - 1])
            self.candidate = Detector(self, self.config, self._rungs[self._rung - 1])
        if candidate is not None and candidate.ready and time.monotonic() - candidate.ready_s > TAKEOVER_S:
            self._promote(candidate)

    def drain(self) -> None:
        """Take in what the detector has sent already."""
        if self.current is not None and self.current.process.exit_status is None:
            self.current.process._readable()

    # ---- replacing

    async def replace(self, config: ModelConfig) -> ModelReady:
        """Run `config` instead. Raises Refused, and leaves the running detector as it is, if that fails."""
        if self._replaced is not None and not self._replaced.done():
            raise Refused("busy", "another model is being loaded; wait until it has taken over or was refused")
        if self.candidate is not None:
            # An attempt to get back up the ladder: what was asked for comes first.
            self.candidate.stop()
        self._replaced = asyncio.get_running_loop().create_future()
        self.candidate = Detector(self, config, rungs(config.delegate)[0])
        return await self._replaced

    def _promote(self, detector: Detector) -> None:
        previous, self.current, self.candidate = self.current, detector, None
        self.config = detector.config
        self._rungs = rungs(detector.config.delegate)
        self._rung = self._rungs.index(detector.rung)
        self._climb_s = CLIMB_FIRST_S
        self.invoke_limit = deadlines.InvokeDeadline()
        self._listener.model_in_service(detector, previous)
        if previous is not None:
            previous.stop()
        if self._replaced is not None and not self._replaced.done():
            assert detector.ready is not None
            self._replaced.set_result(detector.ready)

    # ---- what the process says

    def _ready(self, detector: Detector) -> None:
        ready = detector.ready
        assert ready is not None
        self._served = True
        _log.info(
            "model %s (%s) on %s %s, delegate %s (%d of %d nodes), %d thread%s; loaded in %.0f ms",
            *(ready.name, ready.variant),
            *(ready.runtime, ready.runtime_version, ready.delegate, ready.delegate_nodes, ready.total_nodes),
            *(ready.threads, "" if ready.threads == 1 else "s", ready.load_ms),
        )
        for note in ready.notes:
            _log.debug("%s", note)
        for warning in ready.warnings:
            _log.warning("%s", warning)
        if detector is self.current:
            self._listener.model_in_service(detector, None)
        self._listener.model_ready(detector)

    def _result(self, detector: Detector, result: Result) -> None:
        if detector is self.candidate:
            self._promote(detector)
        if detector is self.current:
            self.invoke_limit.observe(result.invoke_ns / 1e9)
            self.restarts.works(time.monotonic())
            self._listener.result(detector, result)

    def _exited(self, detector: Detector, reason: str) -> None:
        self._listener.detector_gone(detector)
        if detector is self.candidate:
            self._candidate_failed(detector, reason)
        elif detector is self.current:
            self.current = None
            if not self.stopping:
                self._current_failed(detector, reason)

    def _candidate_failed(self, detector: Detector, reason: str) -> None:
        self.candidate = None
        refused = detector.refused
        if self._replaced is None or self._replaced.done():
            # Nobody asked for it: it was an attempt to get back up the ladder.
            self._climb_s = min(2 * self._climb_s, CLIMB_MAX_S)
            self._next_climb_s = time.monotonic() + self._climb_s
            _log.info("delegate %s still fails: %s", detector.rung, refused.message if refused else reason)
            return
        ladder = rungs(detector.config.delegate)
        next_rung = ladder.index(detector.rung) + 1
        if not self.stopping and _rung_failed(detector) and next_rung < len(ladder):
            self.candidate = Detector(self, detector.config, ladder[next_rung])
            return
        error = Refused(refused.code, refused.message) if refused else Refused("crashed", f"the new detector {reason}")
        self._replaced.set_exception(error)

    def _current_failed(self, detector: Detector, reason: str) -> None:
        now_s = time.monotonic()
        delay_s = self.restarts.died(now_s)
        if detector.refused is not None:
            reason = detector.refused.message
        # A model that was fine once may be again (a file being replaced, a disk coming back).
        hopeless = detector.refused is not None and not self._served
        if _rung_failed(detector) or self.restarts.in_a_row >= DEATHS_PER_RUNG:
            if self._rung + 1 < len(self._rungs):
                self._rung += 1
                delay_s = 0.0
                self._next_climb_s = now_s + self._climb_s
                reason = f"{reason}; delegate {self.rung} from now on"
            elif hopeless:
                self._listener.model_unusable(reason)
                return
        elif hopeless:
            self._listener.model_unusable(reason)
            return
        self.last_reason = f"detector {reason}; {self.restarts.in_words(now_s, delay_s)}"
        _log.error("%s", self.last_reason.removeprefix("detector "))
        self._listener.detector_died(detector, self.last_reason)
        asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _start_again(self) -> None:
        if not self.stopping and self.current is None:
            self.start()


def _rung_failed(detector: Detector) -> bool:
    """Whether it never worked on this rung: a lower one may."""
    if detector.refused is not None:
        return detector.refused.code in _RUNG_CODES
    return detector.ready is None
