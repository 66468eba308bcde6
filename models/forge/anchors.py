"""Anchors, the box coding of TFLite_Detection_PostProcess, and which anchor answers for which box.

One square anchor per grid cell: with adaptive assignment (ATSS) more per cell bring nothing
(Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection", CVPR 2020), and
every anchor saved is time saved in the post-process op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

ANCHOR_SIDE_CELLS = 3.0
"""Side of an anchor in cells of its grid: levels an octave apart then reach from 12 px to the whole picture."""
CANDIDATES_PER_LEVEL = 9
# y, x, h, w: the factors of the TensorFlow object detection API, which the op divides by.
CODING_SCALES = (10.0, 10.0, 5.0, 5.0)
MAX_LOG_SIZE = 4.0


def grid_sides(size: int, levels: int, first_stride: int = 8) -> list[int]:
    """Cells along one side of each level's grid, for square inputs of `size` px (SAME padding)."""
    return [-(-size // (first_stride << level)) for level in range(levels)]


def make_anchors(size: int, levels: int, first_stride: int = 8) -> NDArray[np.float32]:
    """float32 [A, 4]: centre y, centre x, height, width, relative to the input; level by level, row by row."""
    rows = []
    for side in grid_sides(size, levels, first_stride):
        centres = (np.arange(side) + 0.5) / side
        y, x = np.meshgrid(centres, centres, indexing="ij")
        extent = np.full(side * side, ANCHOR_SIDE_CELLS / side)
        rows.append(np.stack([y.ravel(), x.ravel(), extent, extent], axis=1))
    return np.concatenate(rows).astype(np.float32)


def decode(codes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Codes [..., A, 4] (ty, tx, th, tw) on anchors [A, 4] to boxes [..., A, 4] (xmin, ymin, xmax, ymax), relative."""
    import torch  # here: whoever only needs the anchors may have no PyTorch

    y = codes[..., 0] / CODING_SCALES[0] * anchors[:, 2] + anchors[:, 0]
    x = codes[..., 1] / CODING_SCALES[1] * anchors[:, 3] + anchors[:, 1]
    h = torch.exp((codes[..., 2] / CODING_SCALES[2]).clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE)) * anchors[:, 2]
    w = torch.exp((codes[..., 3] / CODING_SCALES[3]).clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE)) * anchors[:, 3]
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union, float32 [len(a), len(b)], of boxes (xmin, ymin, xmax, ymax)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    return (inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9)).astype(np.float32)


def assign(anchors: NDArray[np.float32], level_sizes: list[int], boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """ATSS: for each anchor the index of the box it answers for, or -1. int64 [A].

    Of each level the nearest anchors are candidates; a box's candidates above mean + one standard
    deviation of their IoU, with their centre inside it, are its own. A box too small to hold a
    centre gets its best candidate, so no box is without an anchor.
    """
    owner = np.full(len(anchors), -1, np.int64)
    if len(boxes) == 0:
        return owner
    centres = anchors[:, [1, 0]]
    corners = np.concatenate([centres - anchors[:, 2:] / 2, centres + anchors[:, 2:] / 2], axis=1)
    overlap = box_iou(boxes, corners)
    distance = np.square(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None] - centres[None]).sum(axis=2)
    start_of_level = np.cumsum([0, *level_sizes])
    picks = []
    for start, count in zip(start_of_level[:-1], level_sizes, strict=True):
        k = min(CANDIDATES_PER_LEVEL, count)
        picks.append(start + np.argpartition(distance[:, start : start + count], k - 1, axis=1)[:, :k])
    picked = np.concatenate(picks, axis=1)
    iou = np.take_along_axis(overlap, picked, axis=1)
    near = centres[picked]
    inside = ((near > boxes[:, None, :2]) & (near < boxes[:, None, 2:])).all(axis=2)
    positive = (iou >= iou.mean(axis=1, keepdims=True) + iou.std(axis=1, keepdims=True)) & inside
    none = ~positive.any(axis=1)
    positive[none, iou[none].argmax(axis=1)] = True
    # In the order of IoU: the last to write, so the best overlap, owns an anchor that several boxes want.
    which, column = positive.nonzero()
    order = np.argsort(iou[which, column], kind="stable")
    owner[picked[which, column][order]] = which[order]
    return owner
