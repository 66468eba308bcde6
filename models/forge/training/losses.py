"""Losses of one batch: quality focal loss on the classes, GIoU on the boxes.

Quality focal loss (Li et al., "Generalized Focal Loss", 2020): the target of the right class is the
IoU the predicted box reaches, so that a high score also means a good box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from forge.anchors import decode

BOX_WEIGHT = 2.0


class Targets(NamedTuple):
    """What a batch of N pictures with A anchors and C classes should come to.

    positive: bool [N, A]. classes: int64 [N, A], meaningful where positive. boxes: float32 [N, A, 4]
    (xmin, ymin, xmax, ymax, relative), likewise. weights: float32 [N, A, C], 0 where a class is not
    labelled in that picture or an anchor is to be ignored for it.
    """

    positive: torch.Tensor
    classes: torch.Tensor
    boxes: torch.Tensor
    weights: torch.Tensor


def giou_and_iou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised IoU (-1..1) and IoU of boxes [M, 4] pair by pair."""
    inter = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - inter
    iou = inter / union.clamp(min=1e-9)
    return iou - (hull - union) / hull.clamp(min=1e-9), iou


def detection_loss(
    codes: torch.Tensor, logits: torch.Tensor, anchors: torch.Tensor, targets: Targets
) -> tuple[torch.Tensor, torch.Tensor]:
    """(class loss, weighted box loss), both per positive anchor."""
    count = targets.positive.sum().clamp(min=1)
    wanted = torch.zeros_like(logits)
    box_loss = codes.sum() * 0.0
    if targets.positive.any():
        boxes = decode(codes, anchors)[targets.positive]
        giou, iou = giou_and_iou(boxes, targets.boxes[targets.positive])
        box_loss = (1.0 - giou).sum() / count
        picture, anchor = targets.positive.nonzero(as_tuple=True)
        wanted[picture, anchor, targets.classes[targets.positive]] = iou.detach().clamp(0, 1)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focus = (wanted - torch.sigmoid(logits)).abs().square()
    class_loss = (cross_entropy * focus * targets.weights).sum() / count
    return class_loss, BOX_WEIGHT * box_loss
