"""Which TFLite runtime a detector is started on, when `model.runtime = "auto"` and one of them is deadly.

    choice = RuntimeChoice()
    choice.name                                # "auto": the worker takes the first that imports
    choice.died(Stage.LITERT, reason)          # "tflite-runtime": the name from now on
    choice.refused()                           # it is not installed: "auto" again, and why not litert

A runtime that raises is passed over by the worker itself; one that segfaults, aborts or hangs while
it is started takes the worker with it. Which one it was stands on the worker's progress page, so
nothing has to be probed beforehand, and a start on a sound runtime costs nothing more. Where the
other runtime does not work either, the first may have died by chance: it gets its next turn with
the usual back-off.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from vigild.ipc.progress import RUNTIME_STAGES, Stage

_STARTED_IN = {stage: name for name, stage in RUNTIME_STAGES.items()}
_OTHER = {"litert": "tflite-runtime", "tflite-runtime": "litert"}


class RuntimeChoice:
    """Of one model configuration, as long as it is in force."""

    def __init__(self) -> None:
        self._instead = ""
        self._reason = ""

    @property
    def name(self) -> str:
        """What to start the next worker with."""
        return self._instead or "auto"

    def died(self, stage: Stage, reason: str) -> str:
        """The runtime to go on with, if the worker's end in `stage` was a runtime's doing; else empty."""
        started = _STARTED_IN.get(stage)
        if started is None:
            return ""
        if self._instead:
            self._instead = ""  # both are deadly: neither is to be preferred
            return ""
        self._instead, self._reason = _OTHER[started], reason
        return self._instead

    def refused(self) -> str:
        """The other runtime is refused too: why the first one was left, or empty if none was."""
        if not self._instead:
            return ""
        self._instead = ""
        return self._reason
