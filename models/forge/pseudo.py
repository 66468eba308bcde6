"""What a COCO model sees in pictures nobody labelled for all classes: pseudo-labels and doubts.

python -m forge pseudo --model M.tflite --labels L.txt --images FOLDER --out seen.json
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from forge.evaluate import Runner

KEEP_SCORE = 0.15
"""Below, what a teacher sees is noise even as a doubt."""
_SUFFIXES = {".jpg", ".jpeg", ".png"}

Seen = dict[str, list[tuple[str, float, tuple[float, float, float, float]]]]
"""Path below the folder to (label, score 0..1, relative box xmin ymin xmax ymax)."""


def look(model: Path, labels: Path, folder: Path, classes: frozenset[str]) -> Seen:
    """Run the teacher over every picture below `folder`."""
    runner = Runner(model, labels.read_text().split("\n"))
    seen: Seen = {}
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    for index, path in enumerate(pictures):
        image = cv2.imread(str(path))
        if image is None:
            continue
        found = runner.detect(image, KEEP_SCORE)
        seen[str(path.relative_to(folder))] = [(d.label, round(d.score, 3), d.box) for d in found if d.label in classes]
        if index % 100 == 0:
            print(f"{index} of {len(pictures)} pictures", flush=True)
    return seen


def write(seen: Seen, path: Path) -> None:
    """As JSON."""
    path.write_text(json.dumps(seen))


def read(path: Path) -> Seen:
    """What `write` wrote."""
    return {
        name: [(label, score, (box[0], box[1], box[2], box[3])) for label, score, box in found]
        for name, found in json.loads(path.read_text()).items()
    }
