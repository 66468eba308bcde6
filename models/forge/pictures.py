"""Pictures in a folder, some of them, and as a network takes them.

files = spread(picture_files(Path("calib")), 16)
images = read_for(network, files)                # uint8 [H, W, 3], RGB, of the input's size
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from forge.errors import ForgeError
from vigild.tensor import TensorSpec

Item = TypeVar("Item")

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}


class TakesImages(Protocol):
    """What has an image input: a `Network`, or the `Source` of one."""

    @property
    def spec(self) -> TensorSpec: ...


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, by name. Raises ForgeError when there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        raise ForgeError(f"there are no pictures (.jpg, .png, .bmp) in {folder}")
    return found


def spread(files: Sequence[Item], count: int) -> list[Item]:
    """`count` of the files (or pictures), evenly spread over them; all when there are no more."""
    if len(files) <= count:
        return list(files)
    return [files[int(i)] for i in np.linspace(0, len(files) - 1, count).round()]


def read_for(taker: TakesImages, files: list[Path]) -> list[NDArray[Any]]:
    """Pictures squashed to the network's input: uint8 [H, W, 3], RGB."""
    spec = taker.spec
    images = []
    for path in files:
        image = cv2.imread(str(path))
        if image is None:
            raise ForgeError(f"{path} cannot be read as a picture")
        images.append(cv2.cvtColor(cv2.resize(image, (spec.width, spec.height)), cv2.COLOR_BGR2RGB))
    return images
