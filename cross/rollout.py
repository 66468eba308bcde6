"""In which order boards are deployed to, and when to stop. Pure.

rollout = Rollout(boards, canary=1, wave=5, max_failed=0)
while boards := rollout.next():           # these, side by side
    rollout.done({board: True, ...})
rollout.stopped                           # a sentence, when it ended early
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Rollout:
    """`canary`: so many go first, alone; any that fails ends it. `wave`: so many at a time after that.
    `max_failed`: with more than so many failures in all nothing further begins."""

    def __init__(self, boards: Sequence[str], *, canary: int = 1, wave: int = 5, max_failed: int = 0) -> None:
        if wave < 1 or canary < 0 or max_failed < 0:
            raise ValueError(f"wave is {wave}, canary {canary}, max_failed {max_failed}")
        self._left = list(boards)
        self._canary = canary if len(self._left) > 1 else 0
        self._wave = wave
        self._max_failed = max_failed
        self._running: list[str] = []
        self._first = True
        self.results: dict[str, bool] = {}
        self.stopped = ""

    def next(self) -> list[str]:
        """The boards to go on with, or none when it is over."""
        if self.stopped or not self._left or self._running:
            return []
        count = self._canary if self._first and self._canary else self._wave
        self._running, self._left = self._left[:count], self._left[count:]
        return list(self._running)

    def done(self, results: Mapping[str, bool]) -> None:
        """What became of the boards that `next` named."""
        if set(results) != set(self._running):
            raise ValueError(f"results of {sorted(results)}; {sorted(self._running)} were begun")
        canaries = self._first and self._canary > 0
        self._first = False
        self._running = []
        self.results.update(results)
        failed = [board for board, good in self.results.items() if not good]
        if canaries and failed:
            self.stopped = f"the canary {', '.join(failed)} failed"
        elif len(failed) > self._max_failed:
            self.stopped = f"{len(failed)} boards failed, and no more than {self._max_failed} may"

    @property
    def untouched(self) -> list[str]:
        """Boards that nothing was done to."""
        return list(self._left)
