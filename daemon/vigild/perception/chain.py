"""The steps of one camera, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from vigild.perception.observation import Observation


class Step(Protocol):
    """One step. What it has to remember it gets and gives back; it keeps nothing itself."""

    name: str

    def begin(self) -> Any:
        """The state before the first observation."""
        ...

    def __call__(self, state: Any, observation: Observation, now_ns: int) -> tuple[Any, Observation]: ...


class Chain:
    """Steps with their states; everything else about it is pure."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._states: dict[str, Any] = {step.name: step.begin() for step in self._steps}

    def observe(self, observation: Observation, now_ns: int) -> Observation:
        """Pass one observation through all steps. Observations of a camera come in the order of their frames."""
        for step in self._steps:
            self._states[step.name], observation = step(self._states[step.name], observation, now_ns)
        return observation

    def change(self, steps: Sequence[Step]) -> None:
        """Use other steps from now on; one of the same name goes on with what its predecessor remembered."""
        self._steps = list(steps)
        self._states = {step.name: self._states.get(step.name, step.begin()) for step in self._steps}
