"""A student that imitates a teacher: heads that say what the teacher sees, and how far they are off.

    imitation = Imitation(detector, lessons)           # lessons: some, for the statistics of each channel
    loss = imitation(taps, pyramid, collate(lessons_of_the_batch))

Used in training only; nothing of it is exported.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from forge.training import teacher
from forge.training.net import Detector
from forge.training.teacher import Lesson, Teacher

_HIDDEN = 192
_LEAST_DEVIATION = 0.05  # a channel that hardly moves would otherwise count for more than the others


class Lessons(NamedTuple):
    """A batch of N lessons, channels first.

    near: float32 [N, 384, 19, 19]. far: float32 [N, 768, 10, 10]. near_scores, far_scores: float32
    [N, 90, side, side].
    """

    near: torch.Tensor
    far: torch.Tensor
    near_scores: torch.Tensor
    far_scores: torch.Tensor


def collate(lessons: list[Lesson], looked: Teacher) -> Lessons:
    """Lessons as tensors; `looked`: the teacher they are of, which knows their scales."""
    real = []
    for part, (scale, zero) in zip(("near", "far"), looked.scale, strict=False):
        stacked = torch.from_numpy(np.stack([getattr(lesson, part) for lesson in lessons]))
        real.append((stacked.permute(0, 3, 1, 2).float() - zero) * scale)
    scores = [
        torch.from_numpy(np.stack([getattr(lesson, part) for lesson in lessons])).permute(0, 3, 1, 2)
        for part in ("near_scores", "far_scores")
    ]
    return Lessons(*real, *scores)


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, _HIDDEN, 1, bias=False), nn.BatchNorm2d(_HIDDEN), nn.ReLU(), nn.Conv2d(_HIDDEN, outputs, 1)
    )


def _resized(wanted: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return functional.interpolate(wanted, size=size, mode="bilinear", align_corners=False, antialias=True)


class Imitation(nn.Module):
    """Heads on the student's maps of strides 16 and 32, of its backbone and of its pyramid."""

    def __init__(self, student: Detector, some: Lessons):
        super().__init__()
        _, middle, last = student.tap_channels
        wide = student.config.pyramid_channels
        self.near = _head(middle, teacher.NEAR_CHANNELS)
        self.far = _head(last, teacher.FAR_CHANNELS)
        self.middle = nn.Conv2d(wide, teacher.NEAR_CHANNELS, 1)
        self.near_scores = nn.Conv2d(wide, teacher.CLASSES, 1)
        self.far_scores = nn.Conv2d(wide, teacher.CLASSES, 1)
        for scores in (self.near_scores, self.far_scores):
            nn.init.normal_(scores.weight, std=0.01)
            nn.init.constant_(scores.bias, -4.0)  # most classes are in no cell
        for name, maps in (("near", some.near), ("far", some.far)):
            self.register_buffer(f"{name}_mean", maps.mean(dim=(0, 2, 3), keepdim=True))
            self.register_buffer(f"{name}_deviation", maps.std(dim=(0, 2, 3), keepdim=True).clamp(min=_LEAST_DEVIATION))

    def forward(self, taps: list[torch.Tensor], pyramid: list[torch.Tensor], lessons: Lessons) -> torch.Tensor:
        """How far the student is from the teacher: 0 when it sees just the same.

        taps: the backbone's maps at strides 8, 16, 32. pyramid: the pyramid's, from stride 8.
        """
        near = (lessons.near - self.get_buffer("near_mean")) / self.get_buffer("near_deviation")
        far = (lessons.far - self.get_buffer("far_mean")) / self.get_buffer("far_deviation")
        loss = torch.zeros(())
        for head, map_, wanted, weight in (
            (self.near, taps[1], near, 1.0),
            (self.far, taps[2], far, 1.0),
            (self.middle, pyramid[1], near, 0.5),
        ):
            said = head(map_).float()
            loss = loss + weight * functional.mse_loss(said, _resized(wanted, said.shape[2:]))
        for head, map_, scores in (
            (self.near_scores, pyramid[1], lessons.near_scores),
            (self.far_scores, pyramid[2], lessons.far_scores),
        ):
            said = head(map_).float()
            wanted = _resized(scores, said.shape[2:]).clamp(0, 1)
            crossed = functional.binary_cross_entropy_with_logits(said, wanted, reduction="none")
            certain = functional.binary_cross_entropy_with_logits(torch.logit(wanted, 1e-6), wanted, reduction="none")
            loss = loss + (crossed - certain).sum(dim=1).mean()
        return loss
