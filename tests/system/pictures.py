"""Pictures and videos whose frames say which they are.

paths = write_pictures(folder, 40)
level(detections_message)        # which of them this result is about
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FIRST_LEVEL = 60
LEVELS = 180
"""The top left quarter of picture n is green, FIRST_LEVEL + n % LEVELS of 255. The quadrant model says how green."""


def picture(number: int, size: tuple[int, int] = (640, 480)) -> NDArray[np.uint8]:
    """Picture `number`, BGR, of (width, height). Three quarters are noise, which takes a decoder some time."""
    width, height = size
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (0, FIRST_LEVEL + number % LEVELS, 0)
    return pixels


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (640, 480)) -> list[str]:
    """Pictures 1 to `count`; returns their names, in order."""
    folder.mkdir()
    names = [f"{number:05}.jpg" for number in range(1, count + 1)]
    for number, name in enumerate(names, 1):
        assert cv2.imwrite(str(folder / name), picture(number, size))
    return names


def write_video(path: Path, count: int, size: tuple[int, int] = (640, 480)) -> None:
    """Pictures 1 to `count` as the frames of an MJPEG file."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, size)
    assert writer.isOpened()
    for number in range(1, count + 1):
        writer.write(picture(number, size))
    writer.release()


def shows(message: dict[str, Any], number: int) -> bool:
    """Whether this result is about picture `number`, as far as its pixels say."""
    score = next(d["score"] for d in message["detections"] if d["box"] == [0.0, 0.0, 0.5, 0.5])
    # Quantisation and JPEG move it by a level at the most; a neighbour differs by one, a stale slot by more.
    return abs(float(score) * 255 - (FIRST_LEVEL + number % LEVELS)) <= 1.5
