"""A picture the daemon draws itself, with known ground truth: the source `testcard`.

    card = TestCard(640, 480, seed=0)
    frame, truths = card.render(17)      # frame: uint8 [480, 640, 3], BGR

Simple shapes travel over a still background: five on an orbit, one in the middle. A frame depends on
(size, seed, n) alone, so a client that knows them knows what must be detected (the lettering is
OpenCV's, so its pixels may differ between OpenCV releases; the truth does not). Frames always differ:
the shapes move and the counter counts. No two boxes ever touch, and none leaves the frame, so the
truth is never a matter of opinion.

Imports NumPy and OpenCV only, so that the training of the test card's own model can draw its scenes
with the very same strokes.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vigild.geometry import Box

Image = NDArray[np.uint8]
"""uint8 [height, width, 3], BGR."""
Color = tuple[int, int, int]
"""Blue, green, red, 0..255."""

LABELS = ("circle", "triangle", "square", "star")
MIN_SIDE_PX = 64

# Sub-pixel drawing: OpenCV takes fixed-point coordinates with this many fractional bits.
_SHIFT_BITS = 4
_STAR_INNER_RADIUS = 0.46  # of the outer one; a regular pentagram has 0.38, which is too thin at 20 px
_EDGE = 0.82  # the fill reaches this far out; the rest is the edge, so a shape stands off any background
_BARS_HEIGHT = 0.09  # of the frame: the colour bars along the bottom
_HEADER_HEIGHT = 0.075  # of the frame: the title and the counter along the top
_ORBIT_FRAMES = 720  # frames per revolution: 24 s at 30 frames/s
_ORBIT_SHAPES = 5
# Of the shorter side of the field; with more, neighbours' boxes meet at the ends of the orbit.
_LARGEST_RADIUS = 0.132

# EBU colour bars at 75 %, BGR.
_BARS: tuple[Color, ...] = (
    (191, 191, 191),
    (0, 191, 191),
    (191, 191, 0),
    (0, 191, 0),
    (191, 0, 191),
    (0, 0, 191),
    (191, 0, 0),
    (16, 16, 16),
)
# Fills that are bright against the muted background; any shape may have any of them.
FILLS: tuple[Color, ...] = (
    (60, 76, 231),
    (18, 156, 243),
    (90, 220, 250),
    (113, 204, 46),
    (219, 152, 52),
    (200, 110, 190),
    (241, 240, 236),
    (208, 224, 64),
)


class Truth(NamedTuple):
    """One shape as it was drawn: its label and its tight box, relative [xmin, ymin, xmax, ymax]."""

    label: str
    box: Box


def shape_outline(label: str, x: float, y: float, radius: float, angle: float) -> NDArray[np.floating]:
    """The corners, float64 [N, 2] in pixels (x, y), of a shape about (x, y).

    `radius` (px) is that of the circle around the shape, `angle` (radians) turns it clockwise.
    Raises ValueError for a label that is not in LABELS.
    """
    turns: NDArray[np.floating]
    radii: NDArray[np.floating]
    if label == "circle":
        turns = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
        radii = np.full(48, radius)
    elif label == "triangle":
        turns = np.arange(3) * (2 * np.pi / 3)
        radii = np.full(3, radius)
    elif label == "square":
        turns = np.arange(4) * (np.pi / 2) + np.pi / 4
        radii = np.full(4, radius)
    elif label == "star":
        turns = np.arange(10) * (np.pi / 5)
        radii = np.where(np.arange(10) % 2 == 0, radius, radius * _STAR_INNER_RADIUS)
    else:
        raise ValueError(f"there is no test-card shape {label!r}; the shapes are {', '.join(LABELS)}")
    directions = turns + (angle - np.pi / 2)
    return np.stack([x + radii * np.cos(directions), y + radii * np.sin(directions)], axis=1)


def draw_shape(
    image: Image, label: str, x: float, y: float, radius: float, angle: float, fill: Color, edge: Color
) -> tuple[float, float, float, float]:
    """Draw one anti-aliased shape into `image` (uint8 [H, W, 3], changed in place).

    Returns its tight box in pixels (xmin, ymin, xmax, ymax), not clipped to the image.
    """
    outer = shape_outline(label, x, y, radius, angle)
    centre = outer.mean(axis=0)
    inner = centre + (outer - centre) * _EDGE
    for points, color in ((outer, edge), (inner, fill)):
        # OpenCV puts integer coordinates on pixel centres; ours count from the pixel's edge.
        fixed = np.rint((points - 0.5) * (1 << _SHIFT_BITS)).astype(np.int32)
        cv2.fillPoly(image, [fixed], color, cv2.LINE_AA, _SHIFT_BITS)
    (xmin, ymin), (xmax, ymax) = outer.min(axis=0), outer.max(axis=0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def draw_background(width: int, height: int, rng: np.random.Generator) -> Image:
    """A muted cloud of colours under a grid, uint8 [height, width, 3], BGR."""
    clouds = rng.uniform(35.0, 125.0, (4, 5, 3)).astype(np.float32)
    image: Image = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    grain = rng.integers(0, 10, (height, width, 1), dtype=np.uint8)
    image = image + grain  # at most 9 above what the clip leaves: the clouds stay far below 246
    cell = max(min(width, height) // 12, 8)
    lines = image.copy()
    for x in range(width // 2 % cell, width, cell):
        cv2.line(lines, (x, 0), (x, height - 1), (150, 150, 150), 1)
    for y in range(height // 2 % cell, height, cell):
        cv2.line(lines, (0, y), (width - 1, y), (150, 150, 150), 1)
    return cv2.addWeighted(image, 0.7, lines, 0.3, 0.0).astype(np.uint8)


class _Shape(NamedTuple):
    """What stays the same of one shape while it travels."""

    label: str
    radius: float  # px
    phase: float  # radians along the orbit
    spin: float  # radians the shape turns about itself per revolution; whole turns, so that the orbit closes
    fill: Color
    edge: Color


class TestCard:
    """Test-card frames of one size and seed; see the module's first lines.

    width, height: frame size in pixels, at least 64 each. seed: background, colours, order, direction.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, width: int = 640, height: int = 480, seed: int = 0) -> None:
        if width < MIN_SIDE_PX or height < MIN_SIDE_PX:
            raise ValueError(
                f"a test card of {width}x{height} pixels is too small to tell its shapes apart;"
                f" each side must be at least {MIN_SIDE_PX}"
            )
        self.width = width
        self.height = height
        self.seed = seed
        rng = np.random.default_rng(seed)
        self._top = round(height * _HEADER_HEIGHT)
        self._bottom = height - round(height * _BARS_HEIGHT)
        self._background = draw_background(width, height, rng)
        self._draw_frame_furniture()
        self._shapes = self._choose_shapes(rng)
        self._direction = 1.0 if rng.random() < 0.5 else -1.0

    def render(self, n: int) -> tuple[Image, list[Truth]]:
        """Frame number `n` (0, 1, …): uint8 [height, width, 3] BGR, newly made, and what is on it."""
        image = self._background.copy()
        self._draw_counter(image, n)
        truths: list[Truth] = []
        turn = 2 * np.pi * (n % _ORBIT_FRAMES) / _ORBIT_FRAMES
        for index, shape in enumerate(self._shapes):
            x, y = self._place(index, shape, turn)
            angle = shape.phase + shape.spin * turn
            box = draw_shape(image, shape.label, x, y, shape.radius, angle, shape.fill, shape.edge)
            relative = (box[0] / self.width, box[1] / self.height, box[2] / self.width, box[3] / self.height)
            truths.append(Truth(shape.label, relative))
        return image, truths

    def _choose_shapes(self, rng: np.random.Generator) -> list[_Shape]:
        """Every label at least once, each shape in a fill of its own."""
        labels = [*LABELS, *rng.choice(LABELS, _ORBIT_SHAPES + 1 - len(LABELS), replace=False)]
        order = rng.permutation(len(labels))
        fills = rng.permutation(len(FILLS))
        largest = _LARGEST_RADIUS * min(self.width, self._bottom - self._top)
        shapes = []
        for index, which in enumerate(order):
            edge = (30, 30, 30) if rng.random() < 0.5 else (250, 250, 250)
            fill = FILLS[fills[index]]
            if min(fill) > 200:  # a white fill needs a dark edge to have an edge at all
                edge = (30, 30, 30)
            shapes.append(
                _Shape(
                    label=str(labels[which]),
                    radius=largest * rng.uniform(0.75, 1.0),
                    phase=2 * np.pi * index / _ORBIT_SHAPES,
                    spin=float(rng.integers(1, 4)) * rng.choice((-1.0, 1.0)),
                    fill=fill,
                    edge=edge,
                )
            )
        return shapes

    def _place(self, index: int, shape: _Shape, turn: float) -> tuple[float, float]:
        """Centre (px) of a shape when the orbit has gone `turn` radians."""
        width, height = float(self.width), float(self._bottom - self._top)
        largest = _LARGEST_RADIUS * min(width, height)
        x, y = width / 2, self._top + height / 2
        if index == _ORBIT_SHAPES:  # the one in the middle sways along the longer side
            sway = max(width, height) / 2 - 3.4 * largest
            along = max(sway, 0.0) * 0.5 * np.sin(2 * turn)
            return (x + along, y) if width >= height else (x, y + along)
        phase = shape.phase + self._direction * turn
        return (
            x + (width / 2 - 1.05 * largest) * np.cos(phase),
            y + (height / 2 - 1.05 * largest) * np.sin(phase),
        )

    def _draw_frame_furniture(self) -> None:
        """Title strip and colour bars, drawn once into the background."""
        image = self._background
        cv2.rectangle(image, (0, 0), (self.width - 1, max(self._top - 1, 0)), (24, 24, 24), -1)
        edges = np.linspace(0, self.width, len(_BARS) + 1).round().astype(int)
        for color, left, right in zip(_BARS, edges[:-1], edges[1:], strict=True):
            image[self._bottom :, left:right] = color
        self._put_text(image, "vigild", left=True)

    def _draw_counter(self, image: Image, n: int) -> None:
        self._put_text(image, f"{n:07d}", left=False)

    def _put_text(self, image: Image, text: str, *, left: bool) -> None:
        font = cv2.FONT_HERSHEY_SIMPLEX
        scale = max(self._top * 0.6 / 22.0, 0.2)  # this font's capitals are 22 px tall at scale 1
        thickness = max(round(self._top / 18), 1)
        (text_width, text_height), _ = cv2.getTextSize(text, font, scale, thickness)
        margin = round(self._top * 0.35)
        x = margin if left else self.width - margin - text_width
        y = (self._top + text_height) // 2
        cv2.putText(image, text, (x, y), font, scale, (235, 235, 235), thickness, cv2.LINE_AA)
