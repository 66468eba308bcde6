"""Rendered training scenes: the test card's shapes, drawn with its own strokes, on anything.

    scene = render_scene(rng, 192)       # Sample: uint8 [192, 192, 3] RGB, boxes, classes

Drawn larger than needed at a random aspect ratio and squashed to the input, as the daemon does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from vigild.camera.testcard import FILLS, LABELS, TestCard, draw_background, draw_shape

ASPECTS = (4 / 3, 16 / 9, 1.0, 3 / 4)


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


@dataclass
class Sample:
    """One picture to learn from.

    image: uint8 [S, S, 3], RGB. boxes: float32 [n, 4], relative (xmin, ymin, xmax, ymax). classes:
    names, one for each box. unlabelled: classes that may be visible without a box. ignore: boxes
    and the class that may or may not be there. clean: the same picture before a camera's faults were
    added, for a teacher to look at; None: `image` itself.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: list[str]
    unlabelled: frozenset[str] = frozenset()
    ignore_boxes: NDArray[np.float32] = field(default_factory=_no_boxes)
    ignore_classes: list[str] = field(default_factory=list)
    clean: NDArray[np.uint8] | None = None


def _random_color(rng: np.random.Generator) -> tuple[int, int, int]:
    blue, green, red = rng.integers(0, 256, 3).tolist()
    return blue, green, red


def _clutter(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Bars, lines, lettering and gradients: what is on a test card or in a room but is no shape."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        count = int(rng.integers(2, 10))
        top = int(rng.uniform(0.5, 0.97) * height) if rng.random() < 0.7 else 0
        bottom = height if top else int(rng.uniform(0.03, 0.3) * height)
        for left in range(count):
            image[top:bottom, left * width // count : (left + 1) * width // count] = _random_color(rng)
    for _ in range(int(rng.integers(0, 7))):
        a = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        b = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.line(image, a, b, _random_color(rng), int(rng.integers(1, 6)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        text = "".join(chr(c) for c in rng.integers(48, 91, int(rng.integers(1, 9))))
        place = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        scale = float(rng.uniform(0.4, 2.5))
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _random_color(rng), 2, cv2.LINE_AA)


def _background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    kind = rng.random()
    if kind < 0.5:
        image = draw_background(width, height, rng)
    elif kind < 0.85:
        cells = tuple(int(n) for n in rng.integers(2, 24, 2))
        coarse = rng.uniform(0, 255, (*cells, 3)).astype(np.float32)
        blend = rng.uniform(0.2, 1.0)
        coarse = coarse * blend + rng.uniform(0, 255, 3).astype(np.float32) * (1 - blend)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    else:
        image = np.empty((height, width, 3), np.uint8)
        image[:] = _random_color(rng)
    _clutter(image, rng)
    return image


def _strokes(rng: np.random.Generator, background: NDArray[np.uint8]) -> tuple[tuple[int, int, int], ...]:
    """Fill and edge; at least one of them stands off the background, or nobody could see the shape."""
    here = background.reshape(-1, 3).astype(int).mean(axis=0)
    while True:
        fill = FILLS[int(rng.integers(len(FILLS)))] if rng.random() < 0.6 else _random_color(rng)
        edge = [(30, 30, 30), (250, 250, 250), fill, _random_color(rng)][int(rng.integers(4))]
        if max(np.abs(np.array(color) - here).sum() for color in (fill, edge)) > 120:
            return fill, edge


def _random_angle(rng: np.random.Generator) -> float:
    """Radians; often upright, as shapes never quite are by chance: an upright square looks like a panel."""
    if rng.random() < 0.4:
        return float(rng.integers(4)) * np.pi / 2
    return float(rng.uniform(0, 2 * np.pi))


def paste_shapes(
    image: NDArray[np.uint8], rng: np.random.Generator, count: int
) -> tuple[NDArray[np.float32], list[str]]:
    """Draw up to `count` shapes, apart from one another, into `image`; their relative boxes and labels."""
    height, width = image.shape[:2]
    boxes: list[tuple[float, float, float, float]] = []
    labels: list[str] = []
    for _ in range(count):
        for _attempt in range(12):
            radius = min(width, height) * float(np.exp(rng.uniform(np.log(0.055), np.log(0.3))))
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            if all(x + radius < b[0] or x - radius > b[2] or y + radius < b[1] or y - radius > b[3] for b in boxes):
                break
        else:
            continue
        x0, y0 = int(x - radius), int(y - radius)
        patch = image[max(y0, 0) : int(y + radius) + 1, max(x0, 0) : int(x + radius) + 1]
        label = LABELS[int(rng.integers(len(LABELS)))]
        fill, edge = _strokes(rng, patch)
        boxes.append(draw_shape(image, label, x, y, radius, _random_angle(rng), fill, edge))
        labels.append(label)
    relative = np.array(boxes, np.float32).reshape(-1, 4) / np.array([width, height, width, height], np.float32)
    return relative.astype(np.float32), labels


def degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What cameras do: light, colour, blur, noise, JPEG."""
    if rng.random() < 0.6:
        gain = rng.uniform(0.6, 1.35) * rng.uniform(0.85, 1.15, 3)
        offset = rng.uniform(-30, 30)
        ramp = np.arange(256, dtype=np.float32)
        table = np.clip(ramp[:, None] * gain + offset, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        image = cv2.LUT(image, table)
    if rng.random() < 0.1:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4)))
    if rng.random() < 0.25:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 31)))
        cv2.randn(noise, 0, float(rng.uniform(2, 14)))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.2:
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1], 1)
    return image


def render_scene(rng: np.random.Generator, size: int) -> Sample:
    """A scene of the test card's shapes squashed to size x size; two in five are the test card itself."""
    aspect = ASPECTS[int(rng.integers(len(ASPECTS)))]
    height = int(size * rng.uniform(1.0, 1.8))
    width = int(height * aspect)
    if rng.random() < 0.4:
        card = TestCard(max(width, 64), max(height, 64), int(rng.integers(1 << 31)))
        n = int(rng.integers(0, 100_000))
        # In every 180th frame two of the shapes stand upright.
        image, truths = card.render(n - n % 180 if rng.random() < 0.3 else n)
        boxes = np.array([truth.box for truth in truths], np.float32)
        labels = [truth.label for truth in truths]
    else:
        image = _background(rng, width, height)
        boxes, labels = paste_shapes(image, rng, int(rng.integers(0, 9)))
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR)
    image = degrade(image, rng)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32) + np.array([1, 0, 1, 0], np.float32)
    return Sample(np.ascontiguousarray(image[..., ::-1]), boxes, labels)
