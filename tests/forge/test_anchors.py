"""Anchors, their coding, and which of them answers for which box."""

from __future__ import annotations

import math

import numpy as np
import torch

from forge.anchors import CODING_SCALES, assign, box_iou, decode, grid_sides, make_anchors


def test_grids_are_those_of_same_padding() -> None:
    assert grid_sides(256, 4) == [32, 16, 8, 4]
    assert grid_sides(300, 3) == [38, 19, 10]


def test_decoding_undoes_the_op_s_coding() -> None:
    anchors = make_anchors(192, 3)
    yc, xc, h, w = 0.4, 0.6, 0.2, 0.3
    codes = np.stack(
        [
            (yc - anchors[:, 0]) / anchors[:, 2] * CODING_SCALES[0],
            (xc - anchors[:, 1]) / anchors[:, 3] * CODING_SCALES[1],
            np.log(h / anchors[:, 2]) * CODING_SCALES[2],
            np.log(w / anchors[:, 3]) * CODING_SCALES[3],
        ],
        axis=1,
    )
    boxes = decode(torch.from_numpy(codes), torch.from_numpy(anchors)).numpy()
    expected = (xc - w / 2, yc - h / 2, xc + w / 2, yc + h / 2)
    np.testing.assert_allclose(boxes, np.tile(expected, (len(anchors), 1)), atol=1e-4)


def test_every_box_has_an_anchor_however_small() -> None:
    anchors = make_anchors(256, 4)
    levels = [side * side for side in grid_sides(256, 4)]
    rng = np.random.default_rng(0)
    for _ in range(50):
        side = math.exp(rng.uniform(math.log(0.01), math.log(0.95)))
        low = rng.uniform(0, 1 - side, 2)
        box = np.array([[*low, *(low + side)]], np.float32)
        assert (assign(anchors, levels, box) == 0).any(), box


def test_anchors_wanted_twice_go_to_the_better_overlap() -> None:
    anchors = make_anchors(256, 4)
    levels = [side * side for side in grid_sides(256, 4)]
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6]], np.float32)
    corners = np.concatenate([anchors[:, [1, 0]] - anchors[:, 2:] / 2, anchors[:, [1, 0]] + anchors[:, 2:] / 2], axis=1)
    overlap = box_iou(boxes, corners)
    alone = [assign(anchors, levels, boxes[[i]]) == 0 for i in range(2)]
    both = assign(anchors, levels, boxes)
    contested = alone[0] & alone[1]
    assert contested.any()
    assert (both[contested] == overlap[:, contested].argmax(axis=0)).all()


def test_no_boxes_own_nothing() -> None:
    assert (assign(make_anchors(192, 3), [576, 144, 36], np.zeros((0, 4), np.float32)) == -1).all()
