"""The delegate ladder: which rung runs, when to go down, when to try the one above again.

    ladder = Ladder(rungs("auto", edgetpu=True, cpu=True))     # edgetpu, xnnpack, none
    ladder.lost(now_s)                        # "xnnpack" from now on
    ladder.due(now_s)                         # "edgetpu", once it is time to try it again

Pure: time comes from the caller, and what is worth trying from `prospects`.

A rung is tried by the detector worker itself: it is a process of its own that loads the model, runs
it once and may die of it, and an attempt to climb runs beside the detector in service, which is not
touched before the attempt has given a result. A separate probe would load everything twice, could
pass where the worker then fails, and would have to let go of the Edge TPU, which one process at a
time can hold, just when the worker needs it.
"""

from __future__ import annotations

from vigild.delegates.runtime_choice import RuntimeChoice

DEATHS_PER_RUNG = 5
"""Deaths in a row, with less than ten seconds of work between them, after which a CPU rung is not trusted."""

RETRY_S = 3.0
"""Before an Edge TPU is tried once more. On its first use it is given its firmware and comes back as another USB
device; a process that looks for it in that moment finds none. The rung below works meanwhile."""

CLIMB_FIRST_S = 60.0
CLIMB_MAX_S = 1800.0
"""Between attempts to get back up; doubled after each that did not last."""

SETTLED_S = 600.0
"""A rung that worked for this long before it failed starts over with short waits."""


def is_edgetpu(rung: str) -> bool:
    """Whether the rung is an Edge TPU ("edgetpu", "edgetpu:usb:0")."""
    return rung.partition(":")[0] == "edgetpu"


def is_external(rung: str) -> bool:
    """Whether a library from outside the runtime executes the graph there."""
    return rung not in ("xnnpack", "none")


def rungs(delegate: str, *, edgetpu: bool, cpu: bool) -> list[str]:
    """The rungs for a `model.delegate` value, best first; never empty.

    `edgetpu`: an Edge TPU is worth trying with this model; `cpu`: the model, or its twin, runs
    without one. What is demanded explicitly stands alone, so that it fails loudly.
    """
    if delegate != "auto":
        return [delegate]
    if edgetpu:
        return ["edgetpu", "xnnpack", "none"] if cpu else ["edgetpu"]
    return ["xnnpack", "none"]


class Ladder:
    """Where on its rungs a detector is."""

    def __init__(self, rungs: list[str]) -> None:
        """Starts on the first of `rungs`, the best."""
        self._rungs = rungs
        self.runtimes = RuntimeChoice()
        """What the detectors on it run on, where the configuration leaves that open."""
        self._at = 0
        self._retried = False
        self._climb_s = CLIMB_FIRST_S
        self._due_s = 0.0
        self._works_since_s: float | None = None

    @property
    def rung(self) -> str:
        return self._rungs[self._at]

    @property
    def lowered(self) -> bool:
        """Below the top."""
        return self._at > 0

    @property
    def last(self) -> bool:
        """There is no rung below."""
        return self._at == len(self._rungs) - 1

    def trusts(self, *, ready: bool, deaths: int) -> bool:
        """Whether to start again on this rung, after its `deaths`-th death in a row; `ready`: it had loaded the model.

        An Edge TPU that hangs or aborts is not waited for: the CPU goes on at once, and the Edge TPU
        gets its next chance beside it.
        """
        return self.last or (ready and not is_edgetpu(self.rung) and deaths < DEATHS_PER_RUNG)

    def works(self, now_s: float) -> None:
        """The rung gave a result."""
        if self._works_since_s is None:
            self._works_since_s = now_s

    def lost(self, now_s: float) -> str:
        """The rung is given up: returns the next one."""
        if self._works_since_s is not None and now_s - self._works_since_s >= SETTLED_S:
            self._retried, self._climb_s = False, CLIMB_FIRST_S
        self._works_since_s = None
        soon = self.once_more()
        self._at += 1
        if soon:
            self._due_s = now_s + RETRY_S
        else:
            self._wait(now_s)
        return self.rung

    def due(self, now_s: float) -> str | None:
        """The rung to try again now, if it is time to."""
        return self._rungs[self._at - 1] if self.lowered and now_s >= self._due_s else None

    def climbed(self, rung: str, now_s: float) -> None:
        """The attempt works and has taken over."""
        self._at = self._rungs.index(rung)
        self._works_since_s = None
        self._due_s = now_s + self._climb_s

    def refused(self, now_s: float) -> None:
        """The attempt failed."""
        self._wait(now_s)

    def once_more(self) -> bool:
        """Whether the rung, which has just failed, is to be tried once more soon: an Edge TPU is, one time."""
        again = is_edgetpu(self.rung) and not self._retried
        self._retried = self._retried or again
        return again

    def _wait(self, now_s: float) -> None:
        self._due_s = now_s + self._climb_s
        self._climb_s = min(2 * self._climb_s, CLIMB_MAX_S)
