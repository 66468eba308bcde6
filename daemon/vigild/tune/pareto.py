"""Speed against accuracy as a picture: every setting a dot, the ones that nothing beats in both on a line.

    svg(rows, choice.row, "coco_ssd_mobilenet_v1 on a Raspberry Pi 4")

Drawn by hand, so that the board needs no plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from vigild.tune.profile import Row
from vigild.tune.table import figure

WIDTH_PX, HEIGHT_PX = 760, 440
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 70, 180, 50, 55
"""Margins; labels of the dots at the right edge reach into the right one."""
LABEL_PX = 14

_TICKS = (1, 2, 5)
_COLORS = ("#1b6ca8", "#c8553d", "#588b3b", "#8e5ea2", "#b8860b", "#3b8a8a", "#7a5c48", "#5b6770")


def quality(row: Row) -> float | None:
    """What stands on the upright axis: AP where there is one, else the agreement."""
    if row.accuracy is None:
        return None
    return row.accuracy.ap if row.accuracy.ap is not None else row.accuracy.agreement


def front(rows: Sequence[Row]) -> list[Row]:
    """Fastest first: the settings that no other one beats in speed without being worse."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.p50_ms, -(quality(row) or 0.0))):
        if not best or (quality(row) or 0.0) > (quality(best[-1]) or 0.0):
            best.append(row)
    return best


def svg(rows: Sequence[Row], chosen: Row | None, title: str) -> str:
    """An SVG document; settings without a known accuracy are left out."""
    shown = [row for row in rows if row.works and quality(row) is not None]
    by_ap = any(row.accuracy is not None and row.accuracy.ap is not None for row in shown)
    shown = [row for row in shown if not by_ap or (row.accuracy is not None and row.accuracy.ap is not None)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="#ffffff"/>',
        f'<text x="{LEFT_PX}" y="26" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    if not shown:
        parts.append(f'<text x="{LEFT_PX}" y="{HEIGHT_PX // 2}">no accuracy was measured</text>')
        return "\n".join([*parts, "</svg>\n"])
    axes = _Axes(shown)
    parts += axes.draw("COCO AP" if by_ap else "agreement with the reference")
    parts.append(_line([(axes.x(row.p50_ms), axes.y(quality(row) or 0.0)) for row in front(shown)]))
    parts += _dots(shown, chosen, axes)
    return "\n".join([*parts, "</svg>\n"])


class _Axes:
    """p50 on a logarithmic scale, quality on a linear one."""

    def __init__(self, rows: Sequence[Row]) -> None:
        times, values = [row.p50_ms for row in rows], [quality(row) or 0.0 for row in rows]
        self._low, self._high = math.log10(min(times) / 1.3), math.log10(max(times) * 1.3)
        slack = max(max(values) - min(values), 0.02) * 0.15
        self._bottom, self._top = min(values) - slack, max(values) + slack

    def x(self, p50_ms: float) -> float:
        share = (math.log10(p50_ms) - self._low) / (self._high - self._low)
        return LEFT_PX + share * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def y(self, value: float) -> float:
        share = (value - self._bottom) / (self._top - self._bottom)
        return HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX)

    def draw(self, upright: str) -> list[str]:
        right, bottom = WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX
        parts = [
            f'<path d="M{LEFT_PX} {TOP_PX}V{bottom}H{right}" fill="none" stroke="#888888"/>',
            f'<text x="{(LEFT_PX + right) / 2:.0f}" y="{HEIGHT_PX - 14}" text-anchor="middle">'
            "p50 of one inference, ms</text>",
            f'<text transform="translate(18 {(TOP_PX + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
            f"{upright}</text>",
        ]
        for exponent in range(math.floor(self._low), math.ceil(self._high)):
            for digit in _TICKS:
                value = digit * 10.0**exponent
                if self._low <= math.log10(value) <= self._high:
                    x = self.x(value)
                    parts.append(f'<path d="M{x:.1f} {TOP_PX}V{bottom}" stroke="#e6e6e6"/>')
                    parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
        step = _step(self._top - self._bottom)
        for count in range(math.ceil(self._bottom / step), math.floor(self._top / step) + 1):
            y = self.y(count * step)
            parts.append(f'<path d="M{LEFT_PX} {y:.1f}H{right}" stroke="#e6e6e6"/>')
            parts.append(f'<text x="{LEFT_PX - 8}" y="{y + 4:.1f}" text-anchor="end">{count * step:.4g}</text>')
        return parts


def _step(span: float) -> float:
    """Between grid lines: 1, 2 or 5 times a power of ten, for about five of them."""
    raw = span / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= raw)


def _line(points: list[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#444444" stroke-dasharray="5 4"/>'


def _dots(rows: Sequence[Row], chosen: Row | None, axes: _Axes) -> list[str]:
    """The chosen setting has a ring; labels that would lie on one another are moved down."""
    colors = {variant: _COLORS[at % len(_COLORS)] for at, variant in enumerate(dict.fromkeys(r.variant for r in rows))}
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row is not chosen, row.p50_ms)):
        x, y = axes.x(row.p50_ms), axes.y(quality(row) or 0.0)
        color = colors[row.variant]
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"/>')
        if row is chosen:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{color}" stroke-width="2"/>')
        at = y + 4
        while any(abs(at - other) < LABEL_PX and abs(x - where) < RIGHT_PX for where, other in taken):
            at += LABEL_PX
        taken.append((x, at))
        text = f"{row.variant}, {row.delegate}, {row.threads}: {figure(row.p50_ms)} ms"
        parts.append(f'<text x="{x + 13:.1f}" y="{at:.1f}" fill="{color}">{escape(text)}</text>')
    return parts
