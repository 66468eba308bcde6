"""Photographs to learn from: labelled pictures, and a teacher's opinion on the rest.

    training, held_out = load_photos(root, seen, labels)

Pictures stay decoded in memory (about 0.3 MB each): decoding JPEGs would cost as much as a step.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.anchors import box_iou
from forge.errors import ForgeError
from forge.training.pseudo import Seen

BELIEVED_SCORE = 0.5
"""A teacher's detection of a class that nobody labelled becomes a label from here on; below, a doubt."""
DOUBTED_SCORE = 0.5
"""On a class that was labelled, a detection without a box is a doubt (a forgotten box) from here on."""
_SAME_OBJECT_IOU = 0.45
_OTHER_SCORE = 0.3
"""What a teacher sees of a class that is not wanted (a cat, a chair, a cake) shows what is not to be found."""
_UNSEEN_SIDE = 0.15  # of the picture (root of the area): so large, a person is seen by the teacher, or is none
# Posters, statues and drawings are boxed as people here, in a tenth of the pictures.
_LOOSELY_LABELLED_SETS = frozenset({"people_openimages"})
# Sets of a few cameras each, held out whole, because their frames are alike; of the sets of
# independent photographs a part.
_HELD_OUT_SETS = frozenset({"indian_vehicles", "people_meeting", "openimages_mini"})
_HELD_OUT_PARTS = {"people_openimages": 0.16, "vehicles_openimages": 0.22}
NO_BOXES = np.zeros((0, 4), np.float32)


@dataclass
class Photo:
    """image: uint8 [H, W, 3], BGR. boxes, doubts: float32 [n, 4], relative, with their classes.
    others: float32 [n, 4], objects of classes that are not wanted."""

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: list[str]
    doubts: NDArray[np.float32]
    doubted: list[str]
    judged: frozenset[str] = field(default_factory=frozenset)
    """Classes labelled by people; the only ones that count in an evaluation."""
    others: NDArray[np.float32] = field(default_factory=lambda: NO_BOXES)

    def part(self, window: NDArray[np.float32]) -> NDArray[np.uint8]:
        """A window inside the picture, relative (xmin, ymin, xmax, ymax), as it is."""
        height, width = self.image.shape[:2]
        left, top, right, bottom = (window * [width, height, width, height]).astype(int).tolist()
        return self.image[top:bottom, left:right]


def _array(boxes: list[tuple[float, ...]]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 4)


def _held_out(name: str, group: str) -> bool:
    if group in _HELD_OUT_SETS:
        return True
    return zlib.crc32(name.encode()) / 2**32 < _HELD_OUT_PARTS.get(group, 0.0)


def _merge(
    name: str,
    image: NDArray[np.uint8],
    known: list[tuple[str, tuple[float, ...]]],
    labelled: frozenset[str],
    seen: list[tuple[str, float, tuple[float, float, float, float]]],
    labels: frozenset[str],
    loosely: bool = False,
) -> Photo:
    """loosely: a large box in which the teacher sees nothing of its class is a doubt."""
    boxes: list[tuple[str, tuple[float, ...]]] = []
    doubts: list[tuple[str, tuple[float, ...]]] = []
    others: list[tuple[float, ...]] = []
    for label, box in known:
        if label in labels:
            (doubts if loosely and _unseen(label, box, seen) else boxes).append((label, box))
    every = _array([box for _, box in known])
    for label, score, box in seen:
        if label not in labels:
            if score >= _OTHER_SCORE:
                others.append(box)
            continue
        overlap = box_iou(_array([box]), every)[0] if len(every) else np.zeros(0, np.float32)
        explained = any(o > _SAME_OBJECT_IOU and known[i][0] == label for i, o in enumerate(overlap))
        if explained:
            continue
        if label in labelled:
            if score >= DOUBTED_SCORE:
                doubts.append((label, box))
        elif score >= BELIEVED_SCORE and not (len(overlap) and overlap.max() > 0.7):
            boxes.append((label, box))
        else:
            doubts.append((label, box))
    return Photo(
        name,
        image,
        _array([box for _, box in boxes]),
        [label for label, _ in boxes],
        _array([box for _, box in doubts]),
        [label for label, _ in doubts],
        labelled & labels,
        _array(others),
    )


def _unseen(
    label: str, box: tuple[float, ...], seen: list[tuple[str, float, tuple[float, float, float, float]]]
) -> bool:
    if ((box[2] - box[0]) * (box[3] - box[1])) ** 0.5 < _UNSEEN_SIDE:
        return False
    same = _array([found for name, _, found in seen if name == label])
    return not len(same) or float(box_iou(_array([box]), same).max()) < _SAME_OBJECT_IOU


class _Record(NamedTuple):
    """A picture of the annotations. group: the set it is from. labelled: what is labelled exhaustively in it."""

    name: str
    group: str
    labelled: frozenset[str]


def _records(file: Path) -> list[tuple[_Record, list[tuple[str, tuple[float, ...]]]]]:
    """Each picture with its labels and relative boxes (xmin, ymin, xmax, ymax)."""
    try:
        data = json.loads(file.read_text())
        names = {category["id"]: category["name"] for category in data["categories"]}
        sizes = {record["id"]: (record["width"], record["height"]) for record in data["images"]}
        found: dict[int, list[tuple[str, tuple[float, ...]]]] = {number: [] for number in sizes}
        for annotation in data["annotations"]:
            number = annotation["image_id"]
            width, height = sizes[number]
            x, y, w, h = annotation["bbox"]
            box = (x / width, y / height, (x + w) / width, (y + h) / height)
            found[number].append((names[annotation["category_id"]], box))
        return [
            (_Record(r["file_name"], r["set"], frozenset(r["labelled_classes"])), found[r["id"]])
            for r in data["images"]
        ]
    except OSError as error:
        raise ForgeError(f"{file} cannot be read ({error.strerror}); --data names the folder it is in") from None
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ForgeError(
            f"{file} is not in COCO's form with `set` and `labelled_classes` for each image"
            f" ({type(error).__name__}: {error}); docs/training.md says what it needs"
        ) from None


def load_photos(root: Path, seen: Seen, labels: tuple[str, ...]) -> tuple[list[Photo], list[Photo]]:
    """(training, held out) photographs of `root` (images/ and annotations.json, COCO style with `set` and
    `labelled_classes`), with the teacher's opinion `seen`. Held-out ones carry people's labels alone.

    Raises ForgeError when the annotations are not such, or a picture cannot be read.
    """
    wanted = frozenset(labels)
    training: list[Photo] = []
    held_out: list[Photo] = []
    for record, known in _records(root / "annotations.json"):
        path = root / "images" / record.name
        image = cv2.imread(str(path)) if path.is_file() else None
        if image is None:
            raise ForgeError(f"{path} is listed in {root / 'annotations.json'}, but is no picture that can be read")
        out = _held_out(record.name, record.group)
        opinion = [] if out else seen.get(record.name, [])
        loosely = not out and record.name in seen and record.group in _LOOSELY_LABELLED_SETS
        photo = _merge(record.name, image, known, record.labelled, opinion, wanted, loosely)
        (held_out if out else training).append(photo)
    return training, held_out


def load_frames(folder: Path, seen: Seen, labels: tuple[str, ...]) -> list[Photo]:
    """Unlabelled pictures: the teacher's labels alone."""
    photos = []
    for name, found in seen.items():
        image = cv2.imread(str(folder / name))
        if image is not None:
            photos.append(_merge(name, image, [], frozenset(), found, frozenset(labels)))
    return photos
