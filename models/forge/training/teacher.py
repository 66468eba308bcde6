"""A COCO SSD-MobileNet v1 as a teacher: what its layers make of a picture, for a student to imitate.

    teacher = Teacher(make_teacher(Path("coco_float32.tflite"), pictures, Path("run/teacher.tflite")))
    lesson = teacher.look(image)      # uint8 [S, S, 3], RGB, any S

A few thousand pictures teach a network boxes, but hardly what the world looks like; a network that has seen
a hundred thousand has an opinion about every cell of every picture (Romero et al., "FitNets", 2015; Chen et
al., "Learning Efficient Object Detection Models with Knowledge Distillation", 2017). No weight of the
teacher's goes into the student: only its activations on the student's own training pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from forge.errors import ForgeError
from forge.tflite import flatbuffer
from forge.training.export import to_int8

Image = NDArray[np.uint8]

# Tensors of the COCO SSD-MobileNet v1 of 2018 that the boxes at strides 16 and 32 are read from, and the scores.
NEAR = "FeatureExtractor/MobilenetV1/MobilenetV1/Conv2d_11_pointwise/Relu6"
FAR = "FeatureExtractor/MobilenetV1/MobilenetV1/Conv2d_13_pointwise/Relu6"
SCORES = "convert_scores"
NEAR_CHANNELS, FAR_CHANNELS = 384, 768
NEAR_SIDE, FAR_SIDE = 19, 10
NEAR_ANCHORS, FAR_ANCHORS = 3, 6  # per cell
CLASSES = 90
SIZE_PX = 300
"""Side of its input."""


class Lesson(NamedTuple):
    """What the teacher makes of one picture; int8 as it comes out, to be read with `Teacher.scale`.

    near: int8 [19, 19, 384]. far: int8 [10, 10, 768]. near_scores, far_scores: float32 [side, side, 90],
    of each class the highest score of a cell's anchors, without the background.
    """

    near: NDArray[np.int8]
    far: NDArray[np.int8]
    near_scores: NDArray[np.float32]
    far_scores: NDArray[np.float32]


def make_teacher(source: Path, pictures: Iterable[Image], target: Path) -> Path:
    """The float32 COCO SSD-MobileNet v1 `source` as int8 with its inner tensors for outputs, written to `target`.

    int8, because it looks at every training picture and is 2.5 times faster so. pictures: uint8 RGB, any
    size, for its ranges.
    """
    model: Any = flatbuffer.load(source)
    graph = model.subgraphs[0]
    numbers = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors)}
    missing = [name for name in (NEAR, FAR, SCORES) if name not in numbers]
    if missing:
        raise ForgeError(f"{source} has no tensor {missing[0]}; the teacher is the COCO SSD-MobileNet v1 of 2018")
    graph.outputs = np.array([numbers[NEAR], numbers[FAR], numbers[SCORES]], np.int32)
    flatbuffer.keep_needed(model)
    flatbuffer.sign(model)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float32.tflite"
        flatbuffer.save(model, plain)
        to_int8(plain, target, (cv2.resize(picture, (SIZE_PX, SIZE_PX)) for picture in pictures))
    return target


class Teacher:
    """The file of `make_teacher`, on one thread."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        details = {tuple(detail["shape"][1:]): detail for detail in self._interpreter.get_output_details()}
        near = details[NEAR_SIDE, NEAR_SIDE, NEAR_CHANNELS]
        far = details[FAR_SIDE, FAR_SIDE, FAR_CHANNELS]
        (scores,) = (detail for shape, detail in details.items() if len(shape) == 2)
        self._outputs = [detail["index"] for detail in (near, far, scores)]
        self.scale = [tuple(detail["quantization"]) for detail in (near, far, scores)]
        """(scale, zero point) of near, far and the scores."""

    def look(self, image: Image) -> Lesson:
        """image: uint8 [H, W, 3], RGB; squashed to the teacher's 300 px."""
        picture = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR)
        self._interpreter.set_tensor(self._input, (picture.astype(np.int16) - 128).astype(np.int8)[None])
        self._interpreter.invoke()
        near, far, scores = (self._interpreter.get_tensor(index)[0] for index in self._outputs)
        scale, zero = self.scale[2]
        cells = NEAR_SIDE * NEAR_SIDE * NEAR_ANCHORS
        far_cells = FAR_SIDE * FAR_SIDE * FAR_ANCHORS
        close = scores[:cells, 1:].reshape(NEAR_SIDE, NEAR_SIDE, NEAR_ANCHORS, CLASSES).max(axis=2)
        wide = scores[cells : cells + far_cells, 1:].reshape(FAR_SIDE, FAR_SIDE, FAR_ANCHORS, CLASSES).max(axis=2)
        real = [(part.astype(np.float32) - zero) * scale for part in (close, wide)]
        return Lesson(near, far, real[0], real[1])
