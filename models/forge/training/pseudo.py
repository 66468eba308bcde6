"""What a COCO model sees in pictures nobody labelled for all classes: pseudo-labels and doubts.

python -m forge pseudo --model M.tflite --labels L.txt --images FOLDER --out seen.json
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from forge.anchors import box_iou
from forge.errors import ForgeError
from forge.evaluation.evaluate import Detection, Image, Runner
from forge.progress import ProgressLine

KEEP_SCORE = 0.15
"""Below, what a teacher sees is noise even as a doubt."""
_SUFFIXES = {".jpg", ".jpeg", ".png"}
# The whole picture, and its corners enlarged: a teacher of 300 px misses the small people of a street,
# and its op gives ten detections at most.
_WINDOWS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.0, 0.0, 0.6, 0.6),
    (0.4, 0.0, 1.0, 0.6),
    (0.0, 0.4, 0.6, 1.0),
    (0.4, 0.4, 1.0, 1.0),
)
_CUT_MARGIN = 0.02  # of a window: a box that ends so near an edge inside the picture is only a part of something
_SAME_IOU = 0.5
_NAMELESS = frozenset({"", "???"})  # gaps in COCO's numbering

Seen = dict[str, list[tuple[str, float, tuple[float, float, float, float]]]]
"""Path below the folder to (label, score 0..1, relative box xmin ymin xmax ymax)."""


def look(model: Path, labels: Path, folder: Path, classes: frozenset[str] | None) -> Seen:
    """Run the teacher over every picture below `folder`. classes: those to write down; None: all that have a name.

    Raises ForgeError for a class that the teacher does not know, and a folder without pictures.
    """
    names = labels.read_text().split("\n")
    unknown = sorted((classes or frozenset()) - set(names))
    if unknown:
        raise ForgeError(f"{labels} has no class {', '.join(unknown)}; name some of its lines, or none for all")
    runner = Runner(model, names)
    seen: Seen = {}
    progress = ProgressLine()
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not pictures:
        raise ForgeError(f"{folder} has no picture ({', '.join(sorted(_SUFFIXES))}) to look at")
    for index, path in enumerate(pictures):
        image = cv2.imread(str(path))
        if image is None:
            continue
        found = [d for d in _in_windows(runner, image) if (d.label in classes if classes else d.label not in _NAMELESS)]
        seen[str(path.relative_to(folder))] = [(d.label, round(d.score, 3), d.box) for d in found]
        progress(f"pictures of {folder.name}", index + 1, len(pictures))
    return seen


def _in_windows(runner: Runner, image: Image) -> list[Detection]:
    """What the teacher sees in the picture and in its enlarged corners, each object once."""
    height, width = image.shape[:2]
    found: list[Detection] = []
    for x0, y0, x1, y1 in _WINDOWS:
        part = image[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
        for label, score, box in runner.detect(part, KEEP_SCORE):
            cut = (
                (x0 > 0 and box[0] < _CUT_MARGIN)
                or (y0 > 0 and box[1] < _CUT_MARGIN)
                or (x1 < 1 and box[2] > 1 - _CUT_MARGIN)
                or (y1 < 1 and box[3] > 1 - _CUT_MARGIN)
            )
            if not cut:
                w, h = x1 - x0, y1 - y0
                found.append(
                    Detection(label, score, (x0 + box[0] * w, y0 + box[1] * h, x0 + box[2] * w, y0 + box[3] * h))
                )
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.score):
        same = np.array([d.box for d in kept if d.label == detection.label], np.float32).reshape(-1, 4)
        if not len(same) or box_iou(np.array([detection.box], np.float32), same).max() < _SAME_IOU:
            kept.append(detection)
    return kept


def write(seen: Seen, path: Path) -> None:
    """As JSON."""
    path.write_text(json.dumps(seen))


def read(path: Path) -> Seen:
    """What `write` wrote."""
    return {
        name: [(label, score, (box[0], box[1], box[2], box[3])) for label, score, box in found]
        for name, found in json.loads(path.read_text()).items()
    }
