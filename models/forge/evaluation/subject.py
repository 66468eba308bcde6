"""A model file run as the daemon runs it, and looked into: its detections, and what each anchor said.

subject = Subject(Path("model.tflite"))
look = subject.look(image)
look.detections, look.codes, look.scores
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forge.errors import ForgeError
from forge.evaluation.evaluate import Detection, Image, Runner
from vigild.detector import facts as model_facts
from vigild.detector.facts import POSTPROCESS

MIN_SCORE = 0.01
"""COCO's evaluation ranks detections, so it wants nearly all; below this they change AP by less than 0.001."""


class Look(NamedTuple):
    """What the model makes of one picture."""

    detections: list[Detection]
    """Best first, down to a score of 0.01."""
    codes: NDArray[np.float32]
    """[A, 4], as in the graph."""
    scores: NDArray[np.float32]
    """[A, C], 0..1, without background."""


class Subject(Runner):
    """One model file, with the post-process op or without. Raises ForgeError for what the daemon refuses."""

    def __init__(self, path: Path, labels: Path | None = None) -> None:
        super().__init__(path, labels)
        self.path = path
        self._facts = model_facts.read(memoryview(path.read_bytes()))
        op = next((op for op in self._facts.operators if op.custom == POSTPROCESS), None)
        pair = op.inputs[:2] if op is not None else self._facts.outputs
        if len(pair) != 2:
            raise ForgeError(
                f"{path} ends in {len(pair)} outputs; expected box codes and scores, or the post-process op"
            )
        self._codes, self._scores = sorted(pair, key=lambda index: self._facts.tensors[index].shape[-1] != 4)

    def look(self, image: Image) -> Look:
        """image: uint8 [H, W, 3], BGR, any size."""
        found = self.detect(image, MIN_SCORE)
        scores = self._real(self._scores)
        return Look(found, self._real(self._codes), scores[:, scores.shape[1] - len(self.labels) :])

    def _real(self, index: int) -> NDArray[np.float32]:
        """A tensor that the op takes, after invoke(): nothing runs behind it that could reuse its memory."""
        facts = self._facts.tensors[index]
        values: Any = self._model.interpreter.view(index)()
        values = values.reshape(-1, values.shape[-1]).astype(np.float32)
        if facts.dtype != "float32":
            values = (values - facts.zero_point[0]) * np.float32(facts.scale[0])
        return np.asarray(values, np.float32)
