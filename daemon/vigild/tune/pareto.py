"""Speed against accuracy as a picture: every setting a dot, those that nothing beats in both on a line.

    shapes = draw(rows, choice.row, "coco_ssd_mobilenet_v1 on a Raspberry Pi 4")
    path.write_text(svg(shapes))

Drawn by hand, so that the board needs no plotting library: a drawing is a list of shapes, which `svg` writes
and `raster` paints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec

from vigild.catalogue.profile import Row
from vigild.tune.table import figure

WIDTH_PX, HEIGHT_PX = 760, 440
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 60, 190, 70, 50
"""Margins; the legend stands in the right one."""
LINE_PX = 16
"""Between two lines of text."""
LABEL_PX = 150
"""How long a dot's label is, about."""
SMALL_PX, LARGE_PX = 12, 15

INK, GRID, AXIS = "#222222", "#e6e6e6", "#888888"
COLORS = ("#1b6ca8", "#c8553d", "#588b3b", "#8e5ea2", "#b8860b", "#3b8a8a", "#7a5c48", "#5b6770")
"""One for each variant."""

_TICKS = (1, 2, 5)


class Shape(msgspec.Struct, frozen=True, tag=True):
    """Coordinates are pixels from the upper left; a colour is #rrggbb."""


class Line(Shape, frozen=True):
    points: list[tuple[float, float]]
    color: str
    dashed: bool = False


class Dot(Shape, frozen=True):
    x: float
    y: float
    radius: float
    color: str
    filled: bool = True


class Text(Shape, frozen=True):
    x: float
    y: float
    """Of the base line."""
    text: str
    color: str = INK
    anchor: str = "start"
    """ "start", "middle" or "end": what of the text is at x."""
    size: int = SMALL_PX


AnyShape = Line | Dot | Text


def quality(row: Row) -> float | None:
    """What stands on the upright axis: AP where there is one, else the agreement."""
    if row.accuracy is None:
        return None
    return row.accuracy.ap if row.accuracy.ap is not None else row.accuracy.agreement


def front(rows: Sequence[Row]) -> list[Row]:
    """Fastest first: the settings that no other one beats in speed without being worse."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.p50_ms, -_quality(row))):
        if not best or _quality(row) > _quality(best[-1]):
            best.append(row)
    return best


def draw(rows: Sequence[Row], chosen: Row | None, title: str) -> list[AnyShape]:
    """Settings without a known accuracy, or given up, are left out."""
    shown = [row for row in rows if row.works and not row.dropped and quality(row) is not None]
    by_ap = any(row.accuracy is not None and row.accuracy.ap is not None for row in shown)
    shown = [row for row in shown if not by_ap or (row.accuracy is not None and row.accuracy.ap is not None)]
    shapes: list[AnyShape] = [Text(LEFT_PX, 28, title, size=LARGE_PX)]
    if not shown:
        return [*shapes, Text(LEFT_PX, HEIGHT_PX / 2, "no accuracy was measured")]
    axes = _Axes(shown)
    shapes += axes.draw("COCO AP" if by_ap else "agreement with the reference")
    best = front(shown)
    shapes.append(Line([axes.place(row) for row in best], AXIS, dashed=True))
    colors = {name: COLORS[at % len(COLORS)] for at, name in enumerate(dict.fromkeys(row.variant for row in shown))}
    for row in shown:
        shapes.append(Dot(*axes.place(row), 5, colors[row.variant], filled=row.delegate != "none"))
    named = [row for row in best if row is not chosen]
    if chosen is not None and chosen in shown:
        shapes.append(Dot(*axes.place(chosen), 9, colors[chosen.variant], filled=False))
        named.insert(0, chosen)
    shapes += _labels(named, axes, colors)
    return shapes + _legend(colors, chosen is not None, any(row.delegate == "none" for row in shown))


def _quality(row: Row) -> float:
    return quality(row) or 0.0


class _Axes:
    """p50 on a logarithmic scale, quality on a linear one."""

    def __init__(self, rows: Sequence[Row]) -> None:
        times, values = [row.p50_ms for row in rows], [_quality(row) for row in rows]
        self._low, self._high = math.log10(min(times) / 1.3), math.log10(max(times) * 1.3)
        slack = max(max(values) - min(values), 0.02) * 0.15
        self._bottom, self._top = min(values) - slack, max(values) + slack

    def place(self, row: Row) -> tuple[float, float]:
        return self._x(row.p50_ms), self._y(_quality(row))

    def _x(self, p50_ms: float) -> float:
        share = (math.log10(p50_ms) - self._low) / (self._high - self._low)
        return LEFT_PX + share * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def _y(self, value: float) -> float:
        share = (value - self._bottom) / (self._top - self._bottom)
        return HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX)

    def draw(self, upright: str) -> list[AnyShape]:
        right, bottom = WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX
        shapes: list[AnyShape] = [
            Text(LEFT_PX, TOP_PX - 14, upright, AXIS),
            Text(right, bottom + 38, "p50 of one inference, ms", AXIS, "end"),
        ]
        for exponent in range(math.floor(self._low), math.ceil(self._high)):
            for value in (digit * 10.0**exponent for digit in _TICKS):
                if self._low <= math.log10(value) <= self._high:
                    x = self._x(value)
                    shapes.append(Line([(x, TOP_PX), (x, bottom)], GRID))
                    shapes.append(Text(x, bottom + 18, f"{value:g}", anchor="middle"))
        step = _step(self._top - self._bottom)
        for count in range(math.ceil(self._bottom / step), math.floor(self._top / step) + 1):
            y = self._y(count * step)
            shapes.append(Line([(LEFT_PX, y), (right, y)], GRID))
            shapes.append(Text(LEFT_PX - 8, y + 4, f"{count * step:.4g}", anchor="end"))
        return [*shapes, Line([(LEFT_PX, TOP_PX), (LEFT_PX, bottom), (right, bottom)], AXIS)]


def _step(span: float) -> float:
    """Between grid lines: 1, 2 or 5 times a power of ten, for about five of them."""
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= raw)


def _labels(rows: Sequence[Row], axes: _Axes, colors: dict[str, str]) -> list[AnyShape]:
    """Above their dots, as those of the same accuracy stand beside them; what would lie on another one is moved up."""
    shapes: list[AnyShape] = []
    taken: list[tuple[float, float]] = []
    for row in rows:
        x, y = axes.place(row)
        y -= 14
        while any(abs(y - other) < LINE_PX and abs(x - where) < LABEL_PX for where, other in taken):
            y -= LINE_PX
        taken.append((x, y))
        threads = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
        shapes.append(Text(x - 5, y, f"{row.variant}, {threads}: {figure(row.p50_ms)} ms", colors[row.variant]))
    return shapes


def _legend(colors: dict[str, str], has_choice: bool, has_plain: bool) -> list[AnyShape]:
    x, y = WIDTH_PX - RIGHT_PX + 22, TOP_PX + 6
    shapes: list[AnyShape] = []
    for variant, color in colors.items():
        shapes += [Dot(x, y, 5, color), Text(x + 13, y + 4, variant, color)]
        y += LINE_PX
    y += LINE_PX
    if has_choice:
        shapes += [Dot(x, y, 5, AXIS), Dot(x, y, 9, AXIS, filled=False), Text(x + 13, y + 4, "recommended")]
        y += LINE_PX + 4
    if has_plain:
        shapes += [Dot(x, y, 5, AXIS, filled=False), Text(x + 13, y + 4, "plain kernels")]
    return shapes


def svg(shapes: Sequence[AnyShape]) -> str:
    """An SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" font-family="sans-serif">',
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="#ffffff"/>',
    ]
    for shape in shapes:
        if isinstance(shape, Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            dashes = ' stroke-dasharray="5 4"' if shape.dashed else ""
            parts.append(f'<polyline points="{points}" fill="none" stroke="{shape.color}"{dashes}/>')
        elif isinstance(shape, Dot):
            paint = f'fill="{shape.color}"' if shape.filled else f'fill="none" stroke="{shape.color}" stroke-width="2"'
            parts.append(f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}" {paint}/>')
        else:
            parts.append(
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size}" fill="{shape.color}" '
                f'text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])
