"""Where each class's score separates best, moved to 0.5.

Focal losses leave scores low (0.3 may mean "surely"), while a user of the daemon expects that 0.5
is a sensible threshold for any model. Adding a constant to a class's logits moves its best threshold
there and changes neither the order of its detections nor its AP.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from forge.anchors import box_iou, decode, make_anchors
from forge.training.net import Detector
from forge.training.photos import Photo

_CANDIDATES = np.arange(0.05, 0.95, 0.01)
_NMS_IOU = 0.5
_HIT_IOU = 0.5
_FEWEST_OBJECTS = 15


def _separate(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression; indices kept, best first."""
    order = list(np.argsort(-scores))
    kept: list[int] = []
    while order:
        best = order.pop(0)
        kept.append(int(best))
        if order:
            overlap = box_iou(boxes[[best]], boxes[order])[0]
            order = [index for index, o in zip(order, overlap, strict=True) if o < _NMS_IOU]
    return kept


def best_thresholds(detector: Detector, photos: list[Photo]) -> dict[str, float]:
    """label to the score (0..1) with the best F0.5 over `photos`, on pictures judged for that label.

    F0.5 and not F1: an object that is found in the next frame costs less than one that was never there.
    Labels with fewer than 15 objects get the mean of the others.
    """
    config = detector.config
    anchors = torch.from_numpy(make_anchors(config.size, config.levels))
    outcomes: dict[str, list[tuple[float, bool]]] = {label: [] for label in config.labels}
    objects = dict.fromkeys(config.labels, 0)
    for photo in photos:
        picture = cv2.cvtColor(cv2.resize(photo.image, (config.size, config.size)), cv2.COLOR_BGR2RGB)
        tensor = torch.from_numpy((picture.astype(np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]
        with torch.no_grad():
            codes, logits = detector(tensor)
        boxes = decode(codes, anchors)[0].numpy()
        scores = torch.sigmoid(logits)[0].numpy()
        for index, label in enumerate(config.labels):
            if label not in photo.judged:
                continue
            truth = photo.boxes[[name == label for name in photo.classes]]
            objects[label] += len(truth)
            high = scores[:, index] >= _CANDIDATES[0]
            mine, marks = boxes[high], scores[high, index]
            free = np.ones(len(truth), bool)
            for k in _separate(mine, marks):
                overlap = box_iou(mine[[k]], truth)[0] * free if len(truth) else np.zeros(0)
                hit = bool(len(overlap) and overlap.max() >= _HIT_IOU)
                if hit:
                    free[int(overlap.argmax())] = False
                outcomes[label].append((float(marks[k]), hit))
    best: dict[str, float] = {}
    for label, pairs in outcomes.items():
        if objects[label] < _FEWEST_OBJECTS or not pairs:
            continue
        scores_, hits = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        f_half = [1.25 * hits[scores_ >= t].sum() / ((scores_ >= t).sum() + 0.25 * objects[label]) for t in _CANDIDATES]
        # The middle of where it is best: what lies a little beside the threshold then stays on its side.
        best[label] = float(np.mean(_CANDIDATES[np.isclose(f_half, max(f_half))]))
    mean = float(np.mean(list(best.values()))) if best else 0.5
    return {label: best.get(label, mean) for label in config.labels}


def logit_shift(labels: tuple[str, ...], thresholds: dict[str, float]) -> list[float]:
    """For each label what to add to its logit, so that its threshold becomes 0.5."""
    return [-math.log(thresholds[label] / (1 - thresholds[label])) for label in labels]
