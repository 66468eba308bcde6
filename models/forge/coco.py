"""Pictures with COCO annotations: which objects are where.

pictures = load_annotations(Path("coco_calib.json"))
pictures["000000000030.jpg"].truth                  # [("vase", (0.32, 0.07, 0.72, 0.83))]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from forge.errors import ForgeError

Box = tuple[float, float, float, float]


class Annotated(NamedTuple):
    """Of one picture: label and relative box (xmin, ymin, xmax, ymax)."""

    truth: list[tuple[str, Box]]
    ignored: list[tuple[str, Box]]
    """Crowds: finding them is no error."""


def load_annotations(path: Path) -> dict[str, Annotated]:
    """File name to its objects. Raises ForgeError when the file is not in COCO's format."""
    try:
        data = json.loads(path.read_bytes())
        names = {category["id"]: str(category["name"]) for category in data["categories"]}
        images = {image["id"]: image for image in data["images"]}
        found = {str(image["file_name"]): Annotated([], []) for image in images.values()}
        for annotation in data["annotations"]:
            image = images[annotation["image_id"]]
            x, y, w, h = annotation["bbox"]
            width, height = image["width"], image["height"]
            box = (x / width, y / height, (x + w) / width, (y + h) / height)
            picture = found[image["file_name"]]
            (picture.ignored if annotation.get("iscrowd") else picture.truth).append(
                (names[annotation["category_id"]], box)
            )
    except OSError as error:
        raise ForgeError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ForgeError(f"{path} is no COCO annotation file (images, annotations, categories): {error!r}") from None
    return found
