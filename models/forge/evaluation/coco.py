"""Pictures with COCO annotations: which objects are where.

pictures = load_annotations(Path("coco_calib.json"))
pictures["000000000030.jpg"].truth                  # [("vase", (0.32, 0.07, 0.72, 0.83))]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from forge.errors import ForgeError

Box = tuple[float, float, float, float]


class Annotated(NamedTuple):
    """Of one picture: label and relative box (xmin, ymin, xmax, ymax)."""

    truth: list[tuple[str, Box]]
    ignored: list[tuple[str, Box]]
    """Crowds: finding them is no error."""


def annotated_pictures(
    folder: Path, annotations: Path, leave_out: frozenset[str] = frozenset()
) -> list[tuple[Path, Annotated]]:
    """The pictures of a folder that the annotation file knows, in order, but for some file names.

    Raises ForgeError when the file is none, or speaks of none of the pictures.
    """
    known = load_annotations(annotations)
    if not folder.is_dir():
        raise ForgeError(f"there is no folder {folder}; name the one with the annotated pictures")
    found = [(folder / name, known[name]) for name in sorted(known) if (folder / name).is_file()]
    if not found:
        raise ForgeError(f"{annotations} speaks of {len(known)} pictures, but {folder} has none of them")
    left = [(path, objects) for path, objects in found if path.name not in leave_out]
    if not left:
        raise ForgeError(f"all annotated pictures in {folder} calibrate the model; take fewer with --pictures")
    return left


def annotated_sets(
    folders: Sequence[Path], annotations: Sequence[Path], used: Mapping[Path, frozenset[str]] = MappingProxyType({})
) -> list[tuple[Path, Annotated]]:
    """`annotated_pictures` of several folders, each with its own file. used: by resolved folder, what to leave out."""
    if len(folders) != len(annotations):
        raise ForgeError(
            f"there are {len(folders)} folders of pictures to judge on and {len(annotations)} files of annotations;"
            " give --annotations once for each"
        )
    found = []
    for folder, file in zip(folders, annotations, strict=True):
        found += annotated_pictures(folder, file, used.get(folder.resolve(), frozenset()))
    return found


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
