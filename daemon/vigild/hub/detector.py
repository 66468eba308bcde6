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
from pathlib import Path
from typing import Any, Protocol

from vigild import log
from vigild.config.schema import ModelConfig
from vigild.hub import deadlines
from vigild.hub.ladder import RETRY_S, Ladder, is_edgetpu
from vigild.hub.process import WorkerProcess
from vigild.hub.prospects import died_of_delegate, ladder_for, why
from vigild.hub.restarts import Restarts
from vigild.ipc.messages import Exit, FromDetector, LoadModel, ModelReady, ModelRefused, Result, SetFilter
from vigild.ipc.progress import STAGE_TEXT, Stage

TAKEOVER_S = 3.0
"""How long a replacement that is ready may wait for a frame before it takes over without one."""

EDGETPU_LOAD_S = 20.0
EDGETPU_FIRST_INVOKE_S = 10.0
"""What an Edge TPU gets while nothing else runs and the CPU could: a model of 6 MB takes 5 s over USB 2. When it is
tried again, beside the CPU, it may take as long as anything else."""

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

    def model_ready(self, detector: Detector) -> bool:
        """Connect the cameras to it. Of a replacement: the live ones, so that it can prove itself.

        Returns whether there is any.
        """

    def model_in_service(self, detector: Detector, previous: Detector | None) -> None:
        """`detector` serves from now on; `previous` (if any still runs) is about to be ended."""

    def result(self, detector: Detector, result: Result) -> None:
        """One inferred frame of the detector in service."""

    def detector_died(self, detector: Detector, reason: str) -> None:
        """The detector in service ended; it will be started again."""

    def delegate_changed(self, reason: str) -> None:
        """Another rung of the delegate ladder from now on."""

    def detector_gone(self, detector: Detector) -> None:
        """Its process no longer exists: drop its links."""

    def model_unusable(self, message: str) -> None:
        """There is no detector and there will be none with this configuration."""


class Detector:
    """One detector worker process."""

    def __init__(
        self, service: DetectorService, config: ModelConfig, ladder: Ladder, rung: str = "", lowered: str = ""
    ) -> None:
        """`rung`: what to run on, if not the one that `ladder` is on. `lowered`: why it is not the top one."""
        self._service = service
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
            self._service._result(self, message)
        elif isinstance(message, ModelReady):
            self.ready = message
            self.ready_s = time.monotonic()
            self._service._ready(self)
        elif isinstance(message, ModelRefused):
            self.refused = message

    def _on_exit(self, process: WorkerProcess, reason: str) -> None:
        if self.refused is not None:
            reason = self.refused.message
        self._service._exited(self, reason)

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


class DetectorService:
    """Keeps one detector running."""

    def __init__(self, listener: Listener, config: ModelConfig, root: Path = Path("/")) -> None:
        """`root`: what /sys and /dev are below; Edge TPUs are looked for there."""
        self._listener = listener
        self._root = root
        self.config = config
        self.current: Detector | None = None
        self.candidate: Detector | None = None
        self._replaced: asyncio.Future[ModelReady] | None = None
        self._successor: tuple[ModelConfig, Ladder] | None = None
        self.restarts = Restarts(random.random)
        self.invoke_limit = deadlines.InvokeDeadline()
        self._ladder = ladder_for(config, root)
        self._served = False
        self.stopping = False
        self.last_reason = ""

    # ---- life

    @property
    def rung(self) -> str:
        return self._ladder.rung

    @property
    def lowered(self) -> bool:
        """Running below the top of the ladder."""
        return self._ladder.lowered

    def start(self) -> None:
        self.current = Detector(self, self.config, self._ladder)

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
            if detector is not None and detector.check(now_ns, self.invoke_limit.seconds) and detector is self.current:
                self.invoke_limit.killed()
        candidate = self.candidate
        if candidate is None and not self._replacing and self.current is not None and self.current.ready:
            above = self._ladder.due(time.monotonic())
            if above is not None:
                _log.info("trying delegate %s again", above)
                self.candidate = Detector(self, self.config, self._ladder, above)
        if candidate is not None and candidate.ready and time.monotonic() - candidate.ready_s > TAKEOVER_S:
            self._promote(candidate)

    def drain(self) -> None:
        """Take in what the detector has sent already."""
        if self.current is not None and self.current.process.exit_status is None:
            self.current.process.drain()

    def set_filter(self, config: ModelConfig) -> None:
        """Take up the keys of [model] that need no new detector: now, and whenever one is started."""
        self.config = config
        for detector in (self.current, self.candidate):
            if detector is not None:
                detector.config = config
                detector.set_filter(config)

    # ---- replacing

    async def replace(self, config: ModelConfig) -> ModelReady:
        """Run `config` instead. Raises Refused, and goes on with what ran before, if that fails.

        The running detector is left alone until the new one has given a result. The exception is an
        Edge TPU, which one process at a time can hold: of `auto`, the new model runs on the CPU
        until the old one has let go; where it is demanded, the old one has to go first.
        """
        if self._replacing:
            raise Refused("busy", "another model is being loaded; wait until it has taken over or was refused")
        if self.candidate is not None:
            # An attempt to get back up the ladder: what was asked for comes first.
            self.candidate.stop()
        self._replaced = asyncio.get_running_loop().create_future()
        ladder, lowered = ladder_for(config, self._root), ""
        held = self.current is not None and is_edgetpu(ladder.rung) and is_edgetpu(self.current.rung)
        if held and ladder.last:
            assert self.current is not None
            self._successor = config, ladder
            self.current.stop()
            return await self._replaced
        if held:
            lowered = f"the model before holds the Edge TPU; {ladder.lost(time.monotonic())} until it is free"
        self.candidate = Detector(self, config, ladder, lowered=lowered)
        return await self._replaced

    @property
    def _replacing(self) -> bool:
        return self._replaced is not None and not self._replaced.done()

    def _promote(self, detector: Detector) -> None:
        previous, self.current, self.candidate = self.current, detector, None
        self.config = detector.config
        self.invoke_limit = deadlines.InvokeDeadline()
        self.restarts.in_a_row = 0
        change = detector.lowered
        if detector.ladder is self._ladder:
            change = f"{detector.rung} works again, and takes over from {self._ladder.rung}"
            self._ladder.climbed(detector.rung, time.monotonic())
        self._ladder = detector.ladder
        self._listener.model_in_service(detector, previous)
        if previous is None:
            # Nobody served: cameras that feed only the one in service are not connected yet.
            self._listener.model_ready(detector)
        if change:
            _log.info("delegate: %s", change)
            self._listener.delegate_changed(change)
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
        if not self._listener.model_ready(detector) and detector is self.candidate:
            # No frame can come to prove it.
            self._promote(detector)

    def _result(self, detector: Detector, result: Result) -> None:
        if detector is self.candidate:
            self._promote(detector)
        if detector is self.current:
            self.invoke_limit.observe(result.invoke_ns / 1e9)
            now_s = time.monotonic()
            self.restarts.works(now_s)
            self._ladder.works(now_s)
            self._listener.result(detector, result)

    def _exited(self, detector: Detector, reason: str) -> None:
        self._listener.detector_gone(detector)
        if detector is self.candidate:
            self._candidate_failed(detector, reason)
        elif detector is self.current:
            self.current = None
            if self._successor is not None:
                successor, self._successor = self._successor, None
                self._replace_by(*successor)
            elif not self.stopping:
                self._current_failed(detector, reason)

    def _candidate_failed(self, detector: Detector, reason: str) -> None:
        self.candidate = None
        ladder, now_s = detector.ladder, time.monotonic()
        reason = self._in_words(detector, reason)
        if ladder is self._ladder:
            ladder.refused(now_s)
            _log.info("delegate %s still fails: %s", detector.rung, reason)
            return
        assert self._replaced is not None
        if detector.other_runtime(reason) and not self.stopping:
            self.candidate = Detector(self, detector.config, ladder, lowered=detector.lowered)
            return
        if detector.rung_failed and not self.stopping:
            if not ladder.last:
                lowered = f"{detector.rung} failed: {reason.rstrip('.')}; {ladder.lost(now_s)} from now on"
                self.candidate = Detector(self, detector.config, ladder, lowered=lowered)
                return
            if detector.delegate_failed and ladder.once_more():
                asyncio.get_running_loop().call_later(RETRY_S, self._replace_by, detector.config, ladder)
                return
        if before := detector.no_other_runtime():
            code, reason = "crashed", f"the new detector was {before}; and otherwise: {reason}"
        elif detector.refused is not None:
            code = detector.refused.code
        else:
            code = "delegate" if detector.delegate_failed else "crashed"
            reason = f"the new detector {reason}"
        self._replaced.set_exception(Refused(code, reason))
        if self.current is None:
            self._start_again()

    def _replace_by(self, config: ModelConfig, ladder: Ladder) -> None:
        if self.stopping:
            assert self._replaced is not None
            self._replaced.set_exception(Refused("stopping", "the daemon stops"))
        else:
            self.candidate = Detector(self, config, ladder)

    def _current_failed(self, detector: Detector, reason: str) -> None:
        now_s = time.monotonic()
        delay_s = self.restarts.died(now_s)
        reason = self._in_words(detector, reason)
        ladder, change = self._ladder, ""
        if other := detector.other_runtime(reason):
            reason, delay_s = f"{reason}; {other} from now on", 0.0
        elif before := detector.no_other_runtime():
            reason = f"was {before}; {reason.rstrip('.')}"
        elif not ladder.trusts(ready=not detector.rung_failed, deaths=self.restarts.in_a_row):
            change = f"{detector.rung} failed: {reason.rstrip('.')}; {ladder.lost(now_s)} from now on"
            reason = f"{reason.rstrip('.')}; delegate {ladder.rung} from now on"
            delay_s = 0.0
            self.restarts.in_a_row = 0
            self.invoke_limit = deadlines.InvokeDeadline()
        elif not self._served and (detector.refused is not None or detector.delegate_failed):
            # A model that was fine once may be again (a file being replaced, a disk coming back);
            # one that never was is not.
            if not (detector.delegate_failed and ladder.once_more()):
                self._listener.model_unusable(reason if detector.refused else f"The detector was {reason}.")
                return
            delay_s = RETRY_S
        self.last_reason = f"detector {reason}; {self.restarts.in_words(now_s, delay_s)}"
        _log.error("%s", self.last_reason.removeprefix("detector "))
        self._listener.detector_died(detector, self.last_reason)
        if change:
            self._listener.delegate_changed(change)
        asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _in_words(self, detector: Detector, reason: str) -> str:
        """Why it ended, with what is to be done where that is known of its delegate."""
        if detector.refused is not None and detector.refused.code not in _RUNG_CODES:
            return reason
        return why(detector.rung, reason, None if detector.refused else detector.process.exit_status, self._root)

    def _start_again(self) -> None:
        if not self.stopping and self.current is None:
            self.start()
