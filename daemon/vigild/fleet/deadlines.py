"""How long a worker may stay in one stage before it is taken for hung.

    deadline_s = InvokeDeadline()
    deadline_s.observe(invoke_s)
    late = overdue(stage, since_ns, now_ns, limits)

Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from vigild.ipc.progress import Stage

HEARTBEAT_S = 3.0
"""Workers re-enter WAIT at least every 0.5 s; six missed in a row is not a busy machine."""

START_S = 30.0
"""Starting Python and importing OpenCV or a runtime from a slow SD card."""

LOAD_S = 60.0
FIRST_INVOKE_S = 30.0
"""The first invoke packs weights, or uploads the model to an Edge TPU."""

STEP_S = 3.0
"""Any short step: copying, converting, decoding, handing over. They take milliseconds; what takes longer than the
worker's heartbeat may is no busy machine either."""

INVOKE_FLOOR_S = 1.0
INVOKE_P99_FACTOR = 8.0
FIRST_FACTOR = 2.0
"""Of the first invoke, which packs weights and takes longer than those that follow, until enough of these are known."""
_SAMPLES = 512
_REFRESH = 64


class InvokeDeadline:
    """max(1 s, 8 x p99 of invoke), doubled after each kill without a result in between.

    Doubling keeps a board that merely became slow from being killed for ever.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._p99_s = 0.0
        self._first_s = 0.0
        self._seen = 0
        self._kills = 0

    def observe(self, invoke_s: float) -> None:
        """An invoke that came back."""
        self._samples.append(invoke_s)
        self._kills = 0
        self._seen += 1
        if invoke_s > self._p99_s or self._seen % _REFRESH == 0:
            ordered = sorted(self._samples)
            self._p99_s = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        if self._seen % _REFRESH == 0:
            self._first_s = 0.0

    def expect(self, invoke_s: float) -> None:
        """How long the first one took, of a process that was just started."""
        self._first_s = invoke_s
        self._seen = 0

    def killed(self) -> None:
        """The worker was killed for missing it."""
        self._kills += 1

    @property
    def seconds(self) -> float:
        usual_s = max(INVOKE_FLOOR_S, INVOKE_P99_FACTOR * self._p99_s, FIRST_FACTOR * self._first_s)
        return float(usual_s * 2.0 ** min(self._kills, 6))


DETECTOR_LIMITS_S: dict[Stage, float] = {
    Stage.START: START_S,
    Stage.LITERT: LOAD_S,
    Stage.TFLITE_RUNTIME: LOAD_S,
    Stage.LOAD: LOAD_S,
    Stage.FIRST_INVOKE: FIRST_INVOKE_S,
    Stage.WAIT: HEARTBEAT_S,
    Stage.COPY: STEP_S,
    Stage.DECODE: STEP_S,
    Stage.PUBLISH: STEP_S,
}

CAMERA_MAIN_LIMITS_S: dict[Stage, float] = {
    Stage.START: START_S,
    Stage.WAIT: HEARTBEAT_S,
    Stage.ENCODE: STEP_S,
}

GRACE_S = 0.25
"""Beyond a camera's own time-out: its worker gets the chance to notice by itself."""


def camera_limits(open_timeout_s: float, read_timeout_s: float) -> dict[Stage, float]:
    """Limits of a camera's own lane. Waiting for a slot or for a retry has none."""
    return {
        Stage.START: START_S,
        Stage.OPEN: open_timeout_s + 1.0,
        Stage.GRAB: read_timeout_s + GRACE_S,
        Stage.RETRIEVE: STEP_S,
        Stage.CONVERT: STEP_S,
    }


def overdue(stage: Stage, since_ns: int, now_ns: int, limits_s: Mapping[Stage, float]) -> float | None:
    """Seconds spent in `stage` if that is more than it may take, else None."""
    limit_s = limits_s.get(stage)
    if limit_s is None or since_ns == 0:
        return None
    spent_s = (now_ns - since_ns) / 1e9
    return spent_s if spent_s > limit_s else None
