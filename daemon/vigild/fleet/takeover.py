"""How one detector follows another: a second slot beside the first, and a rule for when it takes its place.

Three rules:

`Replacement`   another model or other settings: takes over with its first result, or without one where no
                camera delivers anything; when it cannot, the one in service stays and the asker is told why
`HandOver`      the same where there is no room for both (both demand the Edge TPU, which one process at a time
                can hold; memory is short): the old one goes first, and comes back when the new one cannot
`Climb`         the rung above, tried beside the one in service: takes over with its first result, or is
                forgotten until the ladder says it is time again

Each owns its candidate's failures; what serves is untouched until `works`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vigild.config.schema import ModelConfig
from vigild.delegates.ladder import RETRY_S, Ladder
from vigild.fleet.slot import Slot
from vigild.ipc.messages import ModelReady

WITHOUT_A_FRAME_S = 3.0
"""How long a candidate that is ready may wait for a frame before it takes over without one."""


class NotReplaced(Exception):
    """The model cannot be used: `code` for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Done = Callable[[ModelReady | NotReplaced], None]
"""Told once, how it came out."""


def _nobody(_: ModelReady | NotReplaced) -> None:
    """Asked for it: an attempt of the daemon's own."""


class Takeover:
    """One candidate and the rule it follows."""

    def __init__(self, candidate: Slot, place: Slot | None, done: Done = _nobody) -> None:
        """`place`: the slot whose place it takes; None: of all that serve."""
        self.candidate = candidate
        self.place = place
        self._done = done
        self._over = False

    def start(self) -> None:
        self.candidate.start()

    def waited_enough(self, now_ns: int) -> bool:
        """Ready, and nothing comes to prove it."""
        ready = self.candidate.ready is not None
        return ready and now_ns - self.candidate.ready_ns > WITHOUT_A_FRAME_S * 1e9

    def change(self) -> str:
        """What to tell of the delegate when it takes over; empty if that is as it was."""
        return self.candidate.lowered

    def succeeded(self) -> None:
        """It has taken over."""
        ready = self.candidate.ready
        assert ready is not None
        self._finish(ready)

    def failed(self, reason: str, now_ns: int) -> str:
        """The candidate ended: "" if it is tried again, else why it is given up (and the asker was told)."""
        raise NotImplementedError

    def withdraw(self, code: str, why: str) -> None:
        """Something else comes first."""
        self.candidate.stop()
        self._finish(NotReplaced(code, why))

    def _finish(self, outcome: ModelReady | NotReplaced) -> None:
        if not self._over:
            self._over = True
            self._done(outcome)


class Climb(Takeover):
    """The rung above the one that `place` is on."""

    place: Slot

    def __init__(self, candidate: Slot, place: Slot, rung: str) -> None:
        super().__init__(candidate, place)
        self._rung = rung

    def start(self) -> None:
        self.candidate.start(self._rung)

    def change(self) -> str:
        return f"{self._rung} works again, and takes over from {self.place.ladder.rung}"

    def failed(self, reason: str, now_ns: int) -> str:
        self.place.ladder.refused(now_ns / 1e9)
        return reason


class Replacement(Takeover):
    """Another configuration of [model], beside the one that serves."""

    def __init__(self, candidate: Slot, done: Done, lowered: str = "") -> None:
        """`lowered`: why it does not start at the top of its ladder."""
        super().__init__(candidate, None, done)
        self._lowered = lowered

    @property
    def config(self) -> ModelConfig:
        return self.candidate.config

    def start(self) -> None:
        self.candidate.start(lowered=self._lowered)

    def failed(self, reason: str, now_ns: int) -> str:
        slot, ladder = self.candidate, self.candidate.ladder
        now_s = now_ns / 1e9
        if slot.other_runtime(reason):
            slot.start(lowered=slot.lowered)
            return ""
        if slot.rung_failed:
            if not ladder.last:
                slot.start(lowered=f"{slot.rung} failed: {reason.rstrip('.')}; {ladder.lost(now_s)} from now on")
                return ""
            if slot.delegate_failed and ladder.once_more():
                slot.start_later(RETRY_S)
                return ""
        if before := slot.no_other_runtime():
            code, reason = "crashed", f"the new detector was {before}; and otherwise: {reason}"
        elif slot.refused is not None:
            code = slot.refused.code
        elif not slot.started:
            code, reason = "no_process", f"the new detector {reason}"
        else:
            code = "delegate" if slot.delegate_failed else "crashed"
            reason = f"the new detector {reason}"
        self._finish(NotReplaced(code, reason))
        return reason


class HandOver(Replacement):
    """A replacement that has to wait until those that are in its way have ended."""

    def __init__(self, candidate: Slot, done: Done, in_its_way: Sequence[Slot]) -> None:
        super().__init__(candidate, done)
        self.in_its_way = in_its_way
        self.waiting = True

    def start(self) -> None:
        """Nothing yet: `let_go` does."""

    def let_go(self) -> None:
        """They have."""
        self.waiting = False
        super().start()


def lowered_for(ladder: Ladder, now_s: float) -> str:
    """Step down from an Edge TPU that another detector holds; returns why, for people."""
    return f"the model before holds the Edge TPU; {ladder.lost(now_s)} until it is free"
