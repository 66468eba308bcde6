"""What people marked in pictures: a COCO annotations file.

    marked = read(Path("instances.json"))            # raises AnnotationsError
    marked.images, marked.categories

Only the keys that detection needs are read; segmentations are skipped without being kept.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from vigild import plain

MAX_BYTES = 1024 * 2**20
"""COCO's training set has 450 MB."""


class AnnotationsError(Exception):
    """The file cannot be used: a sentence without a full stop."""


class Image(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: int
    height: int


class Mark(msgspec.Struct, frozen=True):
    """One object."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels."""
    iscrowd: int = 0
    """1: a group of them; finding it, or a part of it, is neither right nor wrong."""


class Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class Annotations(msgspec.Struct, frozen=True):
    images: list[Image]
    annotations: list[Mark]
    categories: list[Category]


def read(path: Path) -> Annotations:
    """Raises AnnotationsError."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise AnnotationsError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; expected COCO annotations")
        marked = msgspec.json.decode(path.read_bytes(), type=Annotations)
    except OSError as error:
        raise AnnotationsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise AnnotationsError(
            f"{path} is not a COCO annotations file: {plain.sentence(str(error))}; "
            "expected a JSON object with images, annotations and categories"
        ) from None
    if not marked.images or not marked.annotations:
        raise AnnotationsError(f"{path} marks no object in any picture; expected COCO annotations with some")
    return marked
