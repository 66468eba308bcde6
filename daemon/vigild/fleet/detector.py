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
from typing import Protocol

from vigild import log
from vigild.config.schema import ModelConfig
from vigild.delegates.ladder import RETRY_S, Ladder, is_edgetpu
from vigild.delegates.prospects import ladder_for, why
from vigild.fleet import deadlines
from vigild.fleet.detectorworker import Detector
from vigild.fleet.process import WorkerProcess
from vigild.fleet.restarts import Restarts
from vigild.ipc.messages import ModelReady, Result

TAKEOVER_S = 3.0
"""How long a replacement that is ready may wait for a frame before it takes over without one."""

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

    def detector_ready(self, detector: Detector) -> None:
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

    def detector_result(self, detector: Detector, result: Result) -> None:
        if detector is self.candidate:
            self._promote(detector)
        if detector is self.current:
            self.invoke_limit.observe(result.invoke_ns / 1e9)
            now_s = time.monotonic()
            self.restarts.works(now_s)
            self._ladder.works(now_s)
            self._listener.result(detector, result)

    def detector_exited(self, detector: Detector, reason: str) -> None:
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
        if detector.refused is not None and not detector.delegate_failed:
            return reason
        return why(detector.rung, reason, None if detector.refused else detector.process.exit_status, self._root)

    def _start_again(self) -> None:
        if not self.stopping and self.current is None:
            self.start()
