"""Who of those that want something is served next, and how much of the hub's time that may take. No I/O.

    turns = Turns(clock, due=...)   # `due(wait_s)` is called when there is something to do: call slice() then
    turns.add(client)               # it has something to be done; `client.serve(until_s)` does some of it
    turns.slice()                   # a few milliseconds of it; what else waits in the event loop goes in between
    turns.tick(now_s)               # ten times a second: those who have had what is theirs get more

Detections come first, so all that clients ask for gets a share of the hub's time and no more, in slices short enough
that a frame never waits long for one, and with rests between them: on a board with one core the camera and the
detector want it, too. Inside the share they take turns, those that have had nothing in this tick before the others:
one that asks now and then is not kept waiting by those that ask all the time.

Time is what is counted, not requests: one may cost a thousand times what another does, and on one board ten times what
it does on another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

SHARE = 0.2
"""Of one core, for all that clients ask for together."""

ONE_SHARE = 0.05
"""Of one core, for each of them. The listening socket counts as one: making connections is work, too."""

TICK_S = 0.1
"""Between ticks."""

MOST_DEBT_S = 1.0
"""What took longer than there was is paid back by waiting, but for no longer than this: the clock does not know
whether the hub worked all the while, or was itself stopped in the middle of it."""

SLICE_S = 0.002
"""Of work between two looks at the event loop: what a frame may have to wait, plus the one request under way."""

BURST_S = SLICE_S / SHARE
"""What all of them may be ahead of their share: one slice is served at once."""

QUANTUM_S = 0.00025
"""Of work before the next has its turn; at least one request."""


class Turn(Protocol):
    """Somebody who wants something done."""

    def serve(self, until_s: float) -> bool:
        """Do some of it, at least a little, until the clock says `until_s`; whether more is left."""
        ...


class Turns:
    """The order of those who wait, and the time that is left for them."""

    def __init__(
        self,
        clock: Callable[[], float],
        due: Callable[[float], None],
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """`failed`: told what a turn raised, which is a fault of the hub's own."""
        self._clock = clock
        self._due = due
        self._failed = failed
        self._paid_s = 0.0
        """When what was spent so far is paid for by the share (the generic cell rate algorithm, ITU-T I.371)."""
        self._spent_s: dict[Turn, float] = {}
        """In this tick, and what is still to be paid back from earlier ones."""
        self._first: deque[Turn] = deque()
        """Those that have had nothing in this tick,"""
        self._then: deque[Turn] = deque()
        """and the others."""
        self._resting: list[Turn] = []
        """They have had all that is theirs in this tick."""
        self._waiting: set[Turn] = set()
        self._ticked_s: float | None = None
        self._ended = False

    def add(self, one: Turn) -> None:
        """It has something to be done (again)."""
        if one not in self._waiting:
            self._waiting.add(one)
            self._queue(one)
            self._tell()

    def remove(self, one: Turn) -> None:
        """It is gone: what it had coming is forgotten, what it spent stays spent."""
        self._spent_s.pop(one, None)
        if one in self._waiting:
            self._waiting.discard(one)
            for queue in (self._first, self._then, self._resting):
                if one in queue:
                    queue.remove(one)

    def tick(self, now_s: float) -> None:
        """Each gets new time of its own, for what has passed since the last tick."""
        passed_s = TICK_S if self._ticked_s is None else min(max(now_s - self._ticked_s, 0.0), TICK_S)
        self._ticked_s = now_s
        own_s = ONE_SHARE * passed_s
        self._spent_s = {one: spent_s - own_s for one, spent_s in self._spent_s.items() if spent_s > own_s}
        resting, self._resting = self._resting, []
        for one in resting:
            self._queue(one)
        self._tell()

    def spend(self, one: Turn, seconds: float) -> None:
        """Time that was spent for somebody outside of its turn."""
        now_s = self._clock()
        self._paid_s = min(max(self._paid_s, now_s - seconds) + seconds / SHARE, now_s + MOST_DEBT_S)
        self._spent_s[one] = min(self._spent_s.get(one, 0.0) + seconds, ONE_SHARE * (TICK_S + MOST_DEBT_S))

    def end_slice(self) -> None:
        """What was begun in this turn goes on outside of it: let it, before anything else is begun."""
        self._ended = True

    def slice(self) -> None:
        """Serve those that wait, in turn, for a few milliseconds; not if it is too early for it."""
        now_s = self._clock()
        end_s = now_s + SLICE_S
        self._ended = now_s < self._paid_s - BURST_S
        while not self._ended and now_s < end_s and (self._first or self._then):
            one = (self._first or self._then).popleft()
            self._waiting.discard(one)
            failed = more = False
            try:
                more = one.serve(min(now_s + QUANTUM_S, end_s))
            except Exception as error:
                # Not forgotten for that, or nobody could come in any more: it has another turn in the next tick.
                failed = True
                self._failed(error)
            before_s, now_s = now_s, self._clock()
            self.spend(one, now_s - before_s)
            if failed and one not in self._waiting:
                self._waiting.add(one)
                self._resting.append(one)
            elif more and one not in self._waiting:
                self._waiting.add(one)
                self._queue(one)
        self._tell()

    def _tell(self) -> None:
        if self._first or self._then:
            self._due(max(0.0, self._paid_s - BURST_S - self._clock()))

    def _queue(self, one: Turn) -> None:
        spent_s = self._spent_s.get(one, 0.0)
        if spent_s >= ONE_SHARE * TICK_S:
            self._resting.append(one)
        elif spent_s:
            self._then.append(one)
        else:
            self._first.append(one)
