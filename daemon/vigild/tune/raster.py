"""A drawing of `pareto` as pixels, in NumPy and OpenCV: for the process that may die.

paint(shapes)         # uint8 [880, 1520, 3], BGR
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vigild.tune.pareto import HEIGHT_PX, WIDTH_PX, AnyShape, Dot, Line

SCALE = 2
"""Pixels of the picture for one of the drawing's."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 30.0
"""The size of type that this font has at scale 1, as CSS counts it."""
_SHIFT_BITS = 4
_DASH_PX = 6.0


def paint(shapes: Sequence[AnyShape]) -> NDArray[np.uint8]:
    """Every shape in its turn on white; letters that OpenCV does not have become question marks."""
    image = np.full((HEIGHT_PX * SCALE, WIDTH_PX * SCALE, 3), 255, np.uint8)
    for shape in shapes:
        color = tuple(int(shape.color[at : at + 2], 16) for at in (5, 3, 1))
        if isinstance(shape, Line):
            for start, end in zip(shape.points, shape.points[1:], strict=False):
                for piece in _dashes(start, end) if shape.dashed else [(start, end)]:
                    cv2.line(image, _fixed(piece[0]), _fixed(piece[1]), color, 2, cv2.LINE_AA, _SHIFT_BITS)
        elif isinstance(shape, Dot):
            radius = round(shape.radius * SCALE * (1 << _SHIFT_BITS))
            thickness = -1 if shape.filled else 3
            cv2.circle(image, _fixed((shape.x, shape.y)), radius, color, thickness, cv2.LINE_AA, _SHIFT_BITS)
        else:
            scale = shape.size * SCALE / _FONT_PX
            text = shape.text.encode("ascii", "replace").decode()
            (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
            left = shape.x * SCALE - {"start": 0.0, "middle": width / 2, "end": width}[shape.anchor]
            cv2.putText(image, text, (round(left), round(shape.y * SCALE)), _FONT, scale, color, 1, cv2.LINE_AA)
    return image


def _fixed(point: tuple[float, float]) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates."""
    return round(point[0] * SCALE * (1 << _SHIFT_BITS)), round(point[1] * SCALE * (1 << _SHIFT_BITS))


def _dashes(
    start: tuple[float, float], end: tuple[float, float]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    begin, way = np.array(start), np.array(end) - np.array(start)
    count = max(1, int(np.hypot(*way) / _DASH_PX))
    ends = [begin + way * step / count for step in range(count + 1)]
    return [
        ((float(ends[at][0]), float(ends[at][1])), (float(ends[at + 1][0]), float(ends[at + 1][1])))
        for at in range(0, count, 2)
    ]
