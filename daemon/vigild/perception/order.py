"""Results of several detectors, back in the order in which the frames were taken.

    order = Order()
    for result in order.arrived(result, slot, others, now_ns): ...
    for result in order.overdue(now_ns): ...

Two detectors share a camera's frames, and a later frame may be done first. Each frame names the one handed
out before it (`after`); a result waits until that one is here, or will not come any more: every other detector
has given a later one, or is gone, or WAIT_S is over. With one detector nothing ever waits. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from vigild.ipc.messages import Result

WAIT_S = 1.0
"""Longer than an inference that is still of use: then the later result is told, and the earlier one, should it
come, is dropped as superseded."""


class _Held(NamedTuple):
    result: Result
    slot: str
    arrived_ns: int


class Order:
    """Of one camera."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._told = 0
        """Number of the newest frame that was let through."""
        self._newest: dict[str, int] = {}
        """Number of the newest frame that each detector gave."""
        self.late = 0
        """Results that came after a later one had been told."""

    def __len__(self) -> int:
        return len(self._held)

    def arrived(self, result: Result, slot: str, slots: Collection[str], now_ns: int) -> list[Result]:
        """A result of `slot`; `slots` are all detectors of the camera. Returns what can be told now, in order."""
        self._newest[slot] = max(result.frame, self._newest.get(slot, 0))
        if len(slots) < 2 and not self._held:
            return self._tell([result])
        self._held.append(_Held(result, slot, now_ns))
        self._held.sort(key=lambda held: held.result.frame)
        return self._ready(slots)

    def changed(self, slots: Collection[str]) -> list[Result]:
        """Other detectors serve the camera from now on."""
        self._newest = {slot: frame for slot, frame in self._newest.items() if slot in slots}
        return self._ready(slots) if self._held else []

    def overdue(self, now_ns: int) -> list[Result]:
        """What has waited for too long, and all before it."""
        last = max((at for at, held in enumerate(self._held) if now_ns - held.arrived_ns > WAIT_S * 1e9), default=-1)
        ready, self._held = self._held[: last + 1], self._held[last + 1 :]
        return self._tell([held.result for held in ready])

    def all(self) -> list[Result]:
        """Everything that waits: nothing more will come."""
        ready, self._held = self._held, []
        return self._tell([held.result for held in ready])

    def _ready(self, slots: Collection[str]) -> list[Result]:
        ready: list[Result] = []
        while self._held and self._is_next(self._held[0], slots, ready):
            ready.append(self._held.pop(0).result)
        return self._tell(ready)

    def _is_next(self, held: _Held, slots: Collection[str], ready: list[Result]) -> bool:
        told = ready[-1].frame if ready else self._told
        if held.result.after <= told:
            return True
        # The one before is still on its way, unless every other detector is past it.
        frame = held.result.frame
        return all(self._newest.get(slot, 0) > frame for slot in slots if slot != held.slot)

    def _tell(self, results: list[Result]) -> list[Result]:
        told: list[Result] = []
        for result in results:
            if result.frame <= self._told and len(self._newest) > 1:
                self.late += 1
                continue
            self._told = max(self._told, result.frame)
            told.append(result)
        return told
