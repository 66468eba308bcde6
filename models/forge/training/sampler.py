"""Training samples of photographs: crops, mosaics, parts without anything wanted, and augmentation.

make = PhotoSampler(photos, labels).sample        # a forge.training.batches.MakeSample
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.training.photos import NO_BOXES, Photo
from forge.training.scenes import Sample, degrade, paste_shapes, render_scene
from forge.training.teacher import SIZE_PX as TEACHER_SIZE_PX

_KEPT_AREA = 0.35  # of a box must remain in a crop for it to stay a label
_DOUBTED_AREA = 0.08  # below, what remains is background
_EMPTY_TRIES = 8
_EMPTY_AROUND_OTHERS = 0.8  # of the parts that show nothing wanted; the rest are mostly walls and sky
_SMALLEST_PART = 0.12  # of a side of the picture: less is only a blur when it is enlarged
_SMALLEST_SIDE_PX = 5.0  # in the network's input: smaller objects are doubts


class PhotoSampler:
    """Draws augmented samples: crops, mosaics of four, mirrored, recoloured, with shapes pasted in.

    scenes: share of rendered scenes. Of the rest, mosaics: share of mosaics. empties: share of parts of pictures
    that show nothing wanted, because people photograph people, and a network must see rooms, animals and cakes
    without any too; empty_tiles: their share of a mosaic's tiles, where they are small and so as sharp as the rest.

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
        empties: float = 0.1,
        empty_tiles: float = 0.35,
        balance: float = 0.5,
    ) -> None:
        self.photos = photos
        self.labels = frozenset(labels)
        self.scenes = scenes
        self.mosaics = mosaics
        self.empties = empties
        self.empty_tiles = empty_tiles
        share = {label: max(sum(label in p.classes for p in photos), 1) / len(photos) for label in labels}
        top = max(share.values())
        weights = np.array([max((top / share[c] for c in p.classes), default=1.0) ** balance for p in photos])
        self._odds = weights / weights.sum()
        self._showing_others = [photo for photo in photos if _apart(photo).any()]

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
            empty = self._empty(rng)
            if empty is not None:
                image, boxes, classes, doubts, doubted = empty, NO_BOXES, [], NO_BOXES, []
                window = np.array([0, 0, 1, 1], np.float32)
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
            empty = self._empty(rng) if rng.random() < self.empty_tiles else None
            tile = cv2.resize(photo.image if empty is None else empty, (size, size), interpolation=cv2.INTER_LINEAR)
            canvas[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
            if empty is not None:
                continue
            shift = np.array([column, row, column, row], np.float32)
            boxes.append((photo.boxes + shift) / 2)
            doubts.append((photo.doubts + shift) / 2)
            classes += photo.classes
            doubted += photo.doubted
        boxes, doubts = [NO_BOXES, *boxes], [NO_BOXES, *doubts]
        return canvas, np.concatenate(boxes), classes, np.concatenate(doubts), doubted

    def _empty(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """A part of some picture that shows nothing wanted; mostly one with something else in its middle, because
        what is in the middle of a picture is otherwise always something wanted."""
        photos = self.photos
        if self._showing_others and rng.random() < _EMPTY_AROUND_OTHERS:
            photos = self._showing_others
        photo = photos[int(rng.integers(len(photos)))]
        window = empty_window(rng, photo, around_others=photos is not self.photos)
        return None if window is None else photo.part(window)


def _window(rng: np.random.Generator, width: int, height: int, largest: float) -> NDArray[np.float32]:
    """The part of a picture to show, relative (xmin, ymin, xmax, ymax); beyond 0..1 it is padded.

    largest: of its area, in pictures."""
    if rng.random() < 0.2:
        return np.array([0, 0, 1, 1], np.float32)
    area = float(np.exp(rng.uniform(np.log(0.12), np.log(largest))))
    aspect = float(np.exp(rng.uniform(np.log(0.65), np.log(1.55)))) * (1.0 if rng.random() < 0.5 else height / width)
    w, h = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    x = rng.uniform(min(0, 1 - w), max(0, 1 - w))
    y = rng.uniform(min(0, 1 - h), max(0, 1 - h))
    return np.array([x, y, x + w, y + h], np.float32)


def _apart(photo: Photo) -> NDArray[np.bool_]:
    """Of a picture's other objects, those large enough and apart from all that is wanted."""
    boxes, others = np.concatenate([photo.boxes, photo.doubts]), photo.others
    touching = (boxes[None, :, :2] < others[:, None, 2:]) & (boxes[None, :, 2:] > others[:, None, :2])
    large = (others[:, 2:] - others[:, :2]).min(axis=1) >= _SMALLEST_PART
    apart: NDArray[np.bool_] = large & ~touching.all(axis=2).any(axis=1)
    return apart


def empty_window(rng: np.random.Generator, photo: Photo, *, around_others: bool = False) -> NDArray[np.float32] | None:
    """A part of a picture, relative (xmin, ymin, xmax, ymax), that touches nothing wanted nor doubted; None: none was
    found. around_others: one that shows one of the other objects."""
    boxes = np.concatenate([photo.boxes, photo.doubts])
    others = photo.others[_apart(photo)] if around_others else photo.others[:0]
    for _ in range(_EMPTY_TRIES):
        if len(others):
            window = _around(rng, others[int(rng.integers(len(others)))])
        else:
            area = float(np.exp(rng.uniform(np.log(0.06), np.log(0.5))))
            aspect = float(np.exp(rng.uniform(np.log(0.65), np.log(1.55))))
            w, h = min((area * aspect) ** 0.5, 1.0), min((area / aspect) ** 0.5, 1.0)
            x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
            window = np.array([x, y, x + w, y + h], np.float32)
        touched = (boxes[:, :2] < window[2:]).all(axis=1) & (boxes[:, 2:] > window[:2]).all(axis=1)
        if not touched.any() and (window[2:] - window[:2]).min() >= _SMALLEST_PART:
            return window
    return None


def _around(rng: np.random.Generator, box: NDArray[np.float32]) -> NDArray[np.float32]:
    """A window that shows an object whole or nearly so."""
    middle, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    span = side * np.exp(rng.uniform(np.log(0.9), np.log(2.5), 2))
    middle = middle + (span - side) * rng.uniform(-0.4, 0.4, 2)
    window = np.concatenate([middle - span / 2, middle + span / 2])
    return window.clip(0, 1).astype(np.float32)


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
