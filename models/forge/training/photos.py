"""Photographs to learn from: labelled pictures, a teacher's opinion on the rest, and augmentation.

    training, held_out = load_photos(root, seen, labels)
    make = PhotoSampler(training, labels).sample        # a forge.training.batches.MakeSample

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
from forge.training.scenes import Sample, degrade, paste_shapes, render_scene
from forge.training.teacher import SIZE_PX as TEACHER_SIZE_PX

BELIEVED_SCORE = 0.5
"""A teacher's detection of a class that nobody labelled becomes a label from here on; below, a doubt."""
DOUBTED_SCORE = 0.5
"""On a class that was labelled, a detection without a box is a doubt (a forgotten box) from here on."""
_SAME_OBJECT_IOU = 0.45
_KEPT_AREA = 0.35  # of a box must remain in a crop for it to stay a label
_DOUBTED_AREA = 0.08  # below, what remains is background
_EMPTY_TRIES = 8
_SMALLEST_SIDE_PX = 5.0  # in the network's input: smaller objects are doubts
# Sets of a few cameras each, held out whole, because their frames are alike; of the sets of
# independent photographs a part.
_HELD_OUT_SETS = frozenset({"indian_vehicles", "people_meeting", "openimages_mini"})
_HELD_OUT_PARTS = {"people_openimages": 0.16, "vehicles_openimages": 0.22}


@dataclass
class Photo:
    """image: uint8 [H, W, 3], BGR. boxes, doubts: float32 [n, 4], relative, with their classes."""

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: list[str]
    doubts: NDArray[np.float32]
    doubted: list[str]
    judged: frozenset[str] = field(default_factory=frozenset)
    """Classes labelled by people; the only ones that count in an evaluation."""


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
) -> Photo:
    boxes = [(label, box) for label, box in known if label in labels]
    doubts: list[tuple[str, tuple[float, ...]]] = []
    every = _array([box for _, box in known])
    for label, score, box in seen:
        if label not in labels:
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
    )


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
        photo = _merge(record.name, image, known, record.labelled, opinion, wanted)
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


class PhotoSampler:
    """Draws augmented samples: crops, mosaics of four, mirrored, recoloured, with shapes pasted in.

    scenes: share of rendered scenes. Of the rest, mosaics: share of mosaics; empties: share of parts of pictures
    that show nothing wanted, because people photograph people, and a network must see rooms without any too.

    Pictures with a rare class are drawn more often: their weight is the largest 1 / (share of pictures with
    the class) among theirs, relative to the commonest class, to the power of `balance`.
    """

    def __init__(
        self,
        photos: list[Photo],
        labels: tuple[str, ...],
        *,
        scenes: float = 0.12,
        mosaics: float = 0.3,
        empties: float = 0.08,
        balance: float = 0.5,
    ) -> None:
        self.photos = photos
        self.labels = frozenset(labels)
        self.scenes = scenes
        self.mosaics = mosaics
        self.empties = empties
        share = {label: max(sum(label in p.classes for p in photos), 1) / len(photos) for label in labels}
        top = max(share.values())
        weights = np.array([max((top / share[c] for c in p.classes), default=1.0) ** balance for p in photos])
        self._odds = weights / weights.sum()

    def sample(self, rng: np.random.Generator, size: int) -> Sample:
        """One sample for an input of `size` px."""
        if rng.random() < self.scenes:
            return render_scene(rng, size)
        largest = 2.2
        if rng.random() < self.mosaics:
            largest = 1.0  # its objects are small enough
            image, boxes, classes, doubts, doubted = self._mosaic(rng, max(size, TEACHER_SIZE_PX))
        else:
            photo = self.photos[int(rng.choice(len(self.photos), p=self._odds))]
            image, boxes, doubts = photo.image, photo.boxes, photo.doubts
            classes, doubted = list(photo.classes), list(photo.doubted)
        window = _window(rng, image.shape[1], image.shape[0], largest)
        if rng.random() < self.empties:
            empty = empty_window(rng, np.concatenate([boxes, doubts]))
            window = window if empty is None else empty
        image = _cut(image, window, max(size, TEACHER_SIZE_PX), rng)
        boxes, classes, more, more_classes = _clip(boxes, classes, window, size)
        doubts, doubted, rest, rest_classes = _clip(doubts, doubted, window, size)
        doubts, doubted = np.concatenate([doubts, rest, more]), [*doubted, *rest_classes, *more_classes]
        if rng.random() < 0.1:
            shapes, labels = paste_shapes(image, rng, int(rng.integers(1, 4)))
            boxes, classes = _hide(boxes, classes, shapes)
            boxes, classes = np.concatenate([boxes, shapes]), [*classes, *labels]
        clean = image
        if image.shape[0] != size:
            image = cv2.resize(
                image, (size, size), interpolation=cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
            )
        image = degrade(image, rng)
        if rng.random() < 0.5:
            clean, image = clean[:, ::-1], image[:, ::-1]
            mirror, offset = np.array([-1, 1, -1, 1], np.float32), np.array([1, 0, 1, 0], np.float32)
            boxes, doubts = boxes[:, [2, 1, 0, 3]] * mirror + offset, doubts[:, [2, 1, 0, 3]] * mirror + offset
        return Sample(
            np.ascontiguousarray(image[..., ::-1]),
            boxes,
            classes,
            ignore_boxes=doubts.astype(np.float32),
            ignore_classes=doubted,
            clean=np.ascontiguousarray(clean[..., ::-1]),
        )

    def _mosaic(
        self, rng: np.random.Generator, size: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[str], NDArray[np.float32], list[str]]:
        """Four pictures in a square of 2 x size px: smaller objects, and more of them."""
        canvas = np.empty((2 * size, 2 * size, 3), np.uint8)
        boxes, classes, doubts, doubted = [], [], [], []
        for corner, index in enumerate(rng.choice(len(self.photos), 4, p=self._odds)):
            photo = self.photos[int(index)]
            row, column = divmod(corner, 2)
            tile = cv2.resize(photo.image, (size, size), interpolation=cv2.INTER_LINEAR)
            canvas[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
            shift = np.array([column, row, column, row], np.float32)
            boxes.append((photo.boxes + shift) / 2)
            doubts.append((photo.doubts + shift) / 2)
            classes += photo.classes
            doubted += photo.doubted
        return canvas, np.concatenate(boxes), classes, np.concatenate(doubts), doubted


def _window(rng: np.random.Generator, width: int, height: int, largest: float) -> NDArray[np.float32]:
    """The part of a picture to show, relative (xmin, ymin, xmax, ymax); beyond 0..1 it is padded.

    largest: of its area, in pictures."""
    if rng.random() < 0.2:
        return np.array([0, 0, 1, 1], np.float32)
    area = float(np.exp(rng.uniform(np.log(0.2), np.log(largest))))
    aspect = float(np.exp(rng.uniform(np.log(0.65), np.log(1.55)))) * (1.0 if rng.random() < 0.5 else height / width)
    w, h = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    x = rng.uniform(min(0, 1 - w), max(0, 1 - w))
    y = rng.uniform(min(0, 1 - h), max(0, 1 - h))
    return np.array([x, y, x + w, y + h], np.float32)


def empty_window(rng: np.random.Generator, boxes: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """A part of a picture, relative (xmin, ymin, xmax, ymax), that touches none of `boxes`; None: none was found."""
    for _ in range(_EMPTY_TRIES):
        area = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4))))
        aspect = float(np.exp(rng.uniform(np.log(0.65), np.log(1.55))))
        w, h = min((area * aspect) ** 0.5, 1.0), min((area / aspect) ** 0.5, 1.0)
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        if not ((boxes[:, 0] < x + w) & (boxes[:, 2] > x) & (boxes[:, 1] < y + h) & (boxes[:, 3] > y)).any():
            return np.array([x, y, x + w, y + h], np.float32)
    return None


def _cut(
    image: NDArray[np.uint8], window: NDArray[np.float32], size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The window, squashed to size x size; outside the picture one random grey-ish colour."""
    height, width = image.shape[:2]
    scale_x = size / ((window[2] - window[0]) * width)
    scale_y = size / ((window[3] - window[1]) * height)
    matrix = np.array(
        [[scale_x, 0, -window[0] * width * scale_x], [0, scale_y, -window[1] * height * scale_y]], np.float64
    )
    if min(scale_x, scale_y) < 0.6:  # far down: average first, or the result is aliased
        image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= 2.0
    padding = rng.uniform(60, 180, 3).tolist()
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=padding
    )


def _clip(
    boxes: NDArray[np.float32], classes: list[str], window: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], list[str], NDArray[np.float32], list[str]]:
    """Boxes as seen in the window: (kept, their classes, cut off too far to tell or too small, theirs)."""
    if len(boxes) == 0:
        return boxes, [], boxes, []
    span = np.tile(window[2:] - window[:2], 2)
    moved = (boxes - np.tile(window[:2], 2)) / span
    clipped = moved.clip(0, 1)
    visible = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) / (moved[:, 2:] - moved[:, :2]).prod(axis=1).clip(1e-9)
    big = (clipped[:, 2:] - clipped[:, :2]).min(axis=1) * size >= _SMALLEST_SIDE_PX
    kept = (visible >= _KEPT_AREA) & big
    doubted = (visible >= _DOUBTED_AREA) & ~kept
    return (
        clipped[kept],
        [c for c, k in zip(classes, kept, strict=True) if k],
        clipped[doubted],
        [c for c, d in zip(classes, doubted, strict=True) if d],
    )


def _hide(
    boxes: NDArray[np.float32], classes: list[str], shapes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], list[str]]:
    """Without the boxes that a pasted shape covers for the larger part."""
    if len(boxes) == 0 or len(shapes) == 0:
        return boxes, classes
    low, high = np.maximum(boxes[:, None, :2], shapes[None, :, :2]), np.minimum(boxes[:, None, 2:], shapes[None, :, 2:])
    covered = (high - low).clip(0).prod(axis=2).sum(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(1e-9)
    kept = covered < 0.5
    return boxes[kept], [c for c, k in zip(classes, kept, strict=True) if k]
