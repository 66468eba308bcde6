"""From samples to batches: pictures as tensors, and for each anchor what it should say."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from forge.anchors import assign, box_iou, grid_sides, make_anchors
from forge.training.imitation import Lessons, collate
from forge.training.losses import Targets
from forge.training.scenes import Sample
from forge.training.teacher import Teacher

MakeSample = Callable[[np.random.Generator, int], Sample]
"""Draws one sample for an input of S px from a random generator."""


class Batch(NamedTuple):
    """inputs: float32 [N, 3, S, S] (channels last in memory, RGB, -1..1). lessons: with a teacher."""

    inputs: torch.Tensor
    targets: Targets
    lessons: Lessons | None


_MEAN = 127.5
_STD = 127.5
_IGNORE_IOU = 0.4  # anchors that overlap an ignored box this much say nothing about its class


class TargetMaker:
    """Samples to `Targets` for one input size."""

    def __init__(self, labels: tuple[str, ...], size: int, levels: int) -> None:
        self.labels = {label: index for index, label in enumerate(labels)}
        self.size = size
        self.anchors = make_anchors(size, levels)
        self.level_sizes = [side * side for side in grid_sides(size, levels)]
        centres, extents = self.anchors[:, [1, 0]], self.anchors[:, 2:]
        self._corners = np.concatenate([centres - extents / 2, centres + extents / 2], axis=1)

    def batch(self, samples: list[Sample]) -> tuple[torch.Tensor, Targets]:
        """float32 [N, 3, S, S] (channels last in memory, RGB, -1..1) and the targets."""
        count, anchors = len(samples), len(self.anchors)
        positive = np.zeros((count, anchors), bool)
        classes = np.zeros((count, anchors), np.int64)
        boxes = np.zeros((count, anchors, 4), np.float32)
        weights = np.ones((count, anchors, len(self.labels)), np.float32)
        for index, sample in enumerate(samples):
            for label in sample.unlabelled:
                if label in self.labels:
                    weights[index, :, self.labels[label]] = 0.0
            if len(sample.ignore_boxes):
                near = box_iou(sample.ignore_boxes, self._corners) > _IGNORE_IOU
                for row, label in zip(near, sample.ignore_classes, strict=True):
                    weights[index, row, self.labels[label]] = 0.0
            owner = assign(self.anchors, self.level_sizes, sample.boxes)
            owned = owner >= 0
            numbers = np.array([self.labels[label] for label in sample.classes], np.int64)
            positive[index] = owned
            if owned.any():
                classes[index, owned] = numbers[owner[owned]]
                boxes[index, owned] = sample.boxes[owner[owned]]
                weights[index, owned, classes[index, owned]] = 1.0
        pictures = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        inputs = (pictures.float() - _MEAN) / _STD
        parts = (torch.from_numpy(part) for part in (positive, classes, boxes, weights))
        return inputs.contiguous(memory_format=torch.channels_last), Targets(*parts)


def lessons_of(samples: list[Sample], teacher: Teacher) -> Lessons:
    """What the teacher makes of the samples' clean pictures."""
    return collate([teacher.look(s.image if s.clean is None else s.clean) for s in samples], teacher)


def prefetch(
    make: MakeSample,
    targets: TargetMaker,
    batch_size: int,
    seed: int,
    first_step: int,
    teacher: Teacher | None = None,
    imitated: int | None = None,
) -> Iterator[Batch]:
    """Batches for ever, made two ahead by a thread. Batch number k depends on (seed, k) alone, so that
    a resumed run goes on where it was. The teacher looks at the first `imitated` samples of each; None: all."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(2)
    stop = threading.Event()

    def produce() -> None:
        step = first_step
        try:
            while not stop.is_set():
                rng = np.random.default_rng([seed, step])
                samples = [make(rng, targets.size) for _ in range(batch_size)]
                item = Batch(*targets.batch(samples), lessons_of(samples[:imitated], teacher) if teacher else None)
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.5)
                        break
                    except queue.Full:
                        continue
                step += 1
        except BaseException as error:  # raised again where it is seen, in the consumer
            ready.put(error)

    threading.Thread(target=produce, name="batches", daemon=True).start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
