"""The detectors in service, and those that are to follow them.

    detectors = Detectors(config, clock, starter, emit, wiring, root, random)
    detectors.start()
    detectors.replace(new_config, done)     # beside what runs; takes over on its first result
    detectors.check(now_ns)                 # often

`count` slots run the same model. When one dies it is started again with back-off; when it keeps dying, or
its delegate fails, the next rung of its ladder is tried. How another model or rung takes over: `takeover`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vigild.config.schema import ModelConfig
from vigild.delegates.ladder import RETRY_S, Ladder, is_edgetpu
from vigild.delegates.prospects import ladder_for, why
from vigild.fleet import deadlines, events
from vigild.fleet.clock import Clock
from vigild.fleet.process import Starter
from vigild.fleet.restarts import Restarts
from vigild.fleet.slot import Slot, SlotState
from vigild.fleet.takeover import Climb, Done, HandOver, NotReplaced, Replacement, Takeover, lowered_for
from vigild.ipc.messages import ModelReady, Result


class Wiring(Protocol):
    """Who connects slots with cameras (the fleet)."""

    def connect(self, slot: Slot, *, serves: bool) -> bool:
        """Give it frames. Of a candidate: of live cameras only, which can feed several. Whether any can come."""
        ...

    def disconnect(self, slot: Slot) -> None: ...


class Detectors:
    """Keeps `config.detectors` of them running. Implements `slot.Owner`."""

    def __init__(
        self,
        config: ModelConfig,
        clock: Clock,
        starter: Starter,
        emit: events.Emit,
        wiring: Wiring,
        root: Path,
        random: Callable[[], float],
    ) -> None:
        """`root`: what /sys and /dev are below; Edge TPUs are looked for there. `random`: 0 to 1, for jitter."""
        self.config = config
        self.slots: list[Slot] = []
        """In service, or on their way (back) to it; the first is named "detector", then "detector.2", ..."""
        self.takeovers: list[Takeover] = []
        self.model: ModelReady | None = None
        """What was in service last, from the first that got ready on."""
        self._clock = clock
        self._starter = starter
        self._emit = emit
        self._wiring = wiring
        self._root = root
        self._random = random
        self._leaving: list[Slot] = []
        """Told to end, and not ended yet."""
        self._proven = False
        """Whether the configuration in force had a detector ready once."""
        self._groups = itertools.count(1)
        self._group = next(self._groups)
        """Of the rings of all slots in service."""
        self._stopping = False

    # ---- life

    def start(self) -> None:
        self.set_count(self.config.detectors)

    def set_count(self, count: int) -> None:
        """Run so many detectors from now on; those that stay are not touched."""
        while len(self.slots) > count:
            self._dismiss(self.slots.pop())
        for index in range(len(self.slots), count):
            slot = self._slot(self.config, ladder_for(self.config, self._root), self._group)
            slot.name = _name(index)
            self.slots.append(slot)
            slot.start()

    def stop(self) -> None:
        """End them all."""
        self._stopping = True
        for takeover in self.takeovers:
            takeover.withdraw("stopping", "the daemon stops")
        for slot in self.slots:
            slot.stop()

    def _slot(self, config: ModelConfig, ladder: Ladder, group: int) -> Slot:
        return Slot("detector", self, config, ladder, self._clock, self._starter, Restarts(self._random), group)

    def set_config(self, config: ModelConfig) -> None:
        """Take up the keys of [model] that need no new detector: now, and whenever one is started."""
        self.config = config
        for slot in [*self.slots, *(takeover.candidate for takeover in self.takeovers)]:
            slot.set_config(config)
        if not self._replacing:  # else `check` does when that is over
            self.set_count(config.detectors)

    def check(self, now_ns: int) -> None:
        """Restart what is due, kill what hangs, let candidates take over; call often."""
        for slot in [*self.slots, *self._leaving]:
            slot.check(now_ns)
        self._pick_up_stranded()
        for takeover in list(self.takeovers):
            takeover.candidate.check(now_ns)
            if takeover in self.takeovers and takeover.waited_enough(now_ns):
                self._promote(takeover)
        if not self._stopping and not self._replacing:
            self.set_count(self.config.detectors)
            for slot in self.slots:
                self._climb_when_due(slot, now_ns)

    def _pick_up_stranded(self) -> None:
        """Whatever failed while an end was taken in: nobody stays down without a start that is due."""
        if self._stopping:
            return
        for takeover in list(self.takeovers):
            waiting = isinstance(takeover, HandOver) and takeover.waiting
            if takeover.candidate.stranded and not waiting:
                self._candidate_ended(takeover, "ended, and that was not taken in")
        if any(isinstance(takeover, HandOver) for takeover in self.takeovers):
            return  # those in service have gone first, for that one
        for slot in self.slots:
            if slot.stranded:
                self._failed(slot, "ended, and that was not taken in")

    def _climb_when_due(self, slot: Slot, now_ns: int) -> None:
        rung = slot.ladder.due(now_ns / 1e9) if slot.ready is not None else None
        if rung is None or any(takeover.place is slot for takeover in self.takeovers):
            return
        self._emit(events.SlotStarted(slot=slot.name, rung=rung))
        self._begin(Climb(self._slot(slot.config, slot.ladder, next(self._groups)), slot, rung))

    # ---- what they are together

    @property
    def at_full_strength(self) -> bool:
        """All of them run, on the best rung of their ladders."""
        for slot in self.slots:  # asked for each result: a loop is half the price of all()
            if slot.process is None or slot.ready is None or slot.down or slot.ladder.lowered:
                return False
        return bool(self.slots)

    @property
    def expected_to_work(self) -> bool:
        """Whether results ought to come: at least one has its model and is not just being started again.

        One that still loads has limits of its own (`deadlines`), longer than the watchdog's.
        """
        return any(slot.process is not None and slot.ready is not None and not slot.down for slot in self.slots)

    # ---- replacing

    @property
    def _replacing(self) -> bool:
        return any(isinstance(takeover, Replacement) for takeover in self.takeovers)

    def replace(self, config: ModelConfig, done: Done, *, beside: bool = True) -> None:
        """Run `config` instead; `done` is told the new model, or why it was refused and what ran before goes on.

        The running detectors are left alone until the new one has given a result. The exceptions: without room for
        both (`beside` False) the old one goes first. An Edge TPU one process at a time can hold: of `auto`, the new
        model runs on the CPU until the old one has let go; where it is demanded, the old one has to go first.
        """
        if self._replacing:
            done(NotReplaced("busy", "another model is being loaded; wait until it has taken over or was refused"))
            return
        for takeover in list(self.takeovers):
            # An attempt to get back up the ladder: what was asked for comes first.
            self._drop(takeover)
            takeover.withdraw("busy", "another model is being loaded")
        ladder = ladder_for(config, self._root)
        candidate = self._slot(config, ladder, next(self._groups))
        holders = [slot for slot in self.slots if slot.process is not None and is_edgetpu(slot.rung)]
        in_its_way = holders if is_edgetpu(ladder.rung) and ladder.last else []
        if not beside:
            in_its_way = list(self.slots)  # one that is due to be started again, too
        if in_its_way:
            hand_over = HandOver(candidate, done, in_its_way)
            self.takeovers.append(hand_over)
            for slot in in_its_way:
                slot.stop()
            if all(slot.process is None for slot in in_its_way):
                hand_over.let_go()
            return
        lowered = ""
        if holders and is_edgetpu(ladder.rung):
            lowered = lowered_for(ladder, self._clock.now_ns() / 1e9)
        self._begin(Replacement(candidate, done, lowered))

    def _begin(self, takeover: Takeover) -> None:
        self.takeovers.append(takeover)
        takeover.start()

    def _drop(self, takeover: Takeover) -> None:
        """The takeover is over; its candidate may still have to end."""
        self.takeovers.remove(takeover)
        if takeover.candidate.process is not None and takeover.candidate not in self.slots:
            self._leaving.append(takeover.candidate)

    def _dismiss(self, slot: Slot) -> None:
        self._wiring.disconnect(slot)
        if slot.process is not None:
            self._leaving.append(slot)
        slot.stop()

    def _promote(self, takeover: Takeover) -> None:
        slot, place = takeover.candidate, takeover.place
        assert slot.ready is not None
        change = takeover.change()
        if place is not None:
            place.ladder.climbed(slot.rung, self._clock.now_ns() / 1e9)
            slot.restarts = place.restarts
            slot.name = place.name
            leaving = [place]
            self.slots[self.slots.index(place)] = slot
            if len(self.slots) > 1:
                slot.group = self._group
            else:
                self._group = slot.group
        else:
            slot.name = _name(0)
            leaving, self.slots = self.slots, [slot]
            self.config, self._group = slot.config, slot.group
        slot.restarts.start_over()
        self._proven = True
        self._drop(takeover)
        for old in leaving:
            self._wiring.disconnect(old)
        if place is not None and len(self.slots) > 1:
            self._wiring.disconnect(slot)  # it was fed beside the others: from now on it shares their frames
        self._takes(slot.ready, always=True)
        self._wiring.connect(slot, serves=True)
        if change:
            self._emit(events.DelegateChanged(slot=slot.name, reason=change))
        for old in leaving:
            self._dismiss(old)
        self.set_count(self.config.detectors)
        takeover.succeeded()

    def _takes(self, ready: ModelReady, *, always: bool = False) -> None:
        changed = self.model is None or self.model.sha256 != ready.sha256
        self.model = ready
        if changed or always:
            self._emit(events.ModelTaken(ready=ready))

    # ---- what slots say

    def _takeover_of(self, slot: Slot) -> Takeover | None:
        return next((takeover for takeover in self.takeovers if takeover.candidate is slot), None)

    def slot_ready(self, slot: Slot) -> None:
        assert slot.ready is not None
        takeover = self._takeover_of(slot)
        if takeover is None and slot not in self.slots:
            return
        self._emit(events.SlotReady(slot=slot.name, ready=slot.ready, serves=takeover is None))
        if takeover is None:
            self._proven = True
            self._takes(slot.ready)
            self._wiring.connect(slot, serves=True)
        elif not self._wiring.connect(slot, serves=False):
            # No frame can come to prove it.
            self._promote(takeover)

    def slot_result(self, slot: Slot, result: Result) -> None:
        if self.takeovers and (takeover := self._takeover_of(slot)) is not None:
            self._promote(takeover)
        if slot not in self.slots:
            return
        now_ns = self._clock.now_ns()
        slot.restarts.works(now_ns / 1e9)
        slot.ladder.works(now_ns / 1e9)
        if slot.down:
            slot.down = ""
            self._emit(events.SlotBack(slot=slot.name))
        self._emit(events.ResultArrived(slot=slot.name, result=result, arrived_ns=now_ns))

    def slot_ended(self, slot: Slot, reason: str) -> None:
        self._wiring.disconnect(slot)
        if slot in self._leaving:
            self._leaving.remove(slot)
            return
        takeover = self._takeover_of(slot)
        if takeover is not None:
            self._candidate_ended(takeover, reason)
        elif slot in self.slots and not self._stopping:
            self._let_go_or_restart(slot, reason)

    def _candidate_ended(self, takeover: Takeover, reason: str) -> None:
        if self._stopping:
            return
        slot = takeover.candidate
        given_up = takeover.failed(self._in_words(slot, reason), self._clock.now_ns())
        if not given_up:
            return
        self._drop(takeover)
        if takeover.place is not None:
            self._emit(events.TrialFailed(slot=takeover.place.name, rung=slot.rung, reason=given_up))
        for idle in self.slots:
            if idle.state is SlotState.IDLE and idle.process is None:
                idle.start()  # it had gone first, for this one

    def _let_go_or_restart(self, slot: Slot, reason: str) -> None:
        hand_over = next((t for t in self.takeovers if isinstance(t, HandOver) and t.waiting), None)
        if hand_over is None:
            self._failed(slot, reason)
        elif all(other.process is None for other in hand_over.in_its_way):
            hand_over.let_go()

    def _failed(self, slot: Slot, reason: str) -> None:
        """One in service ended: what now?"""
        now_s = self._clock.now_ns() / 1e9
        outside = slot.killed_from_outside
        delay_s = slot.restarts.died(now_s, outside=outside, started=slot.started)
        reason = self._in_words(slot, reason)
        ladder, change = slot.ladder, ""
        blamed = slot.started and not outside
        if other := slot.other_runtime(reason):
            reason, delay_s = f"{reason}; {other} from now on", 0.0
        elif before := slot.no_other_runtime():
            reason = f"was {before}; {reason.rstrip('.')}"
        elif blamed and not ladder.trusts(ready=not slot.rung_failed, deaths=slot.restarts.unsettled):
            change = f"{slot.rung} failed: {reason.rstrip('.')}; {ladder.lost(now_s)} from now on"
            reason, delay_s = f"{reason.rstrip('.')}; delegate {ladder.rung} from now on", 0.0
            slot.restarts.start_over()
            slot.invoke_limit = deadlines.InvokeDeadline()
        elif not self._proven and (slot.refused is not None or slot.delegate_failed):
            # A model that was fine once may be again (a file being replaced, a disk coming back);
            # one that never was is not.
            if not (slot.delegate_failed and ladder.once_more()):
                slot.fail()
                text = reason if slot.refused is not None else f"The detector was {reason}."
                self._emit(events.ModelUnusable(reason=text))
                return
            delay_s = RETRY_S
        slot.last_reason = slot.down = f"{slot.name} {reason}; {slot.restarts.in_words(now_s, delay_s)}"
        slot.start_later(delay_s)
        # `check` comes by often; after a short delay it need not be waited for.
        self._clock.call_later(delay_s, lambda: slot.check(self._clock.now_ns()))
        self._emit(events.SlotFailed(slot=slot.name, reason=slot.last_reason, delay_s=delay_s))
        if change:
            self._emit(events.DelegateChanged(slot=slot.name, reason=change))

    def _in_words(self, slot: Slot, reason: str) -> str:
        """Why it ended, with what is to be done where that is known of its delegate."""
        if slot.refused is not None and not slot.delegate_failed:
            return reason
        return why(slot.rung, reason, slot.exit_status, self._root)


def _name(index: int) -> str:
    return "detector" if index == 0 else f"detector.{index + 1}"
