"""Temperature, rate and operating point over time, of several controllers, as shapes of `vigild.tune.pareto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simboard.drive import Trace
from vigild.tune.pareto import AXIS, GRID, INK, AnyShape, Line, Text

LEFT, RIGHT = 60, 610
TEMPERATURE, RATE, RUNG = (40, 215), (245, 350), (375, 410)
"""Upper and lower edge of each panel."""
POINTS = 300
COLORS = {"governor": "#1b6ca8", "no control": "#b8860b", "firmware alone": "#8e5ea2", "on/off switch": "#c8553d"}
BUDGET = "#222222"


def draw(title: str, traces: Mapping[str, Trace]) -> list[AnyShape]:
    """The governor is drawn last, above the others."""
    first = traces["governor"]
    seconds = len(first.seconds)
    step = max(1, seconds // POINTS)
    top = max(max(trace.die) for trace in traces.values())
    low = min(min(trace.die) for trace in traces.values())
    celsius = (5 * (low // 5), 5 * (top // 5 + 1))
    most = max(max(trace.rate) for trace in traces.values()) * 1.08
    rungs = len(first.ladder.rungs)
    shapes: list[AnyShape] = [Text(LEFT, 22, title, size=15)]
    shapes += _panel(TEMPERATURE, celsius, "°C", [celsius[0], first.physics.budget, celsius[1]])
    shapes += _panel(RATE, (0, most), "frames/s", [0, round(most / 1.08)])
    shapes += _panel(RUNG, (rungs - 1, 0), "rung", [0, rungs - 1])
    for minute in range(0, seconds // 60 + 1, 15 if seconds <= 5400 else 30):
        x = LEFT + (RIGHT - LEFT) * minute * 60 / seconds
        shapes.append(Text(x, RUNG[1] + 18, f"{minute} min", anchor="middle"))
    budget = _y(first.physics.budget, TEMPERATURE, celsius)
    shapes.append(Line([(LEFT, budget), (RIGHT, budget)], BUDGET, dashed=True))
    for name, color in reversed(COLORS.items()):
        trace = traces.get(name)
        if trace is None:
            continue
        shapes.append(Line(_curve(trace.die, step, TEMPERATURE, celsius), color))
        shapes.append(Line(_curve(trace.rate, step, RATE, (0, most), mean=name != "on/off switch"), color))
    at = {(rung.point, bool(rung.cameras)): index for index, rung in reversed(list(enumerate(first.ladder.rungs)))}
    steps = [float(at.get((order.point, order.rate > 0), rungs - 1)) for order in first.orders]
    shapes.append(Line(_curve(steps, step, RUNG, (rungs - 1, 0), mean=False), COLORS["governor"]))
    y = TEMPERATURE[0] + 10
    for name, color in [("budget", BUDGET), *COLORS.items()]:
        shapes.append(Line([(RIGHT + 14, y - 4), (RIGHT + 34, y - 4)], color, dashed=name == "budget"))
        shapes.append(Text(RIGHT + 40, y, name))
        y += 18
    return shapes


def _y(value: float, edges: tuple[int, int], scale: tuple[float, float]) -> float:
    return edges[1] - (edges[1] - edges[0]) * (value - scale[0]) / ((scale[1] - scale[0]) or 1.0)


def _panel(edges: tuple[int, int], scale: tuple[float, float], unit: str, ticks: Sequence[float]) -> list[AnyShape]:
    shapes: list[AnyShape] = [
        Line([(LEFT, edges[0]), (LEFT, edges[1]), (RIGHT, edges[1])], AXIS),
        Text(LEFT, edges[0] - 5, unit, color=AXIS),
    ]
    for tick in ticks:
        y = _y(tick, edges, scale)
        shapes += [Line([(LEFT, y), (RIGHT, y)], GRID), Text(LEFT - 6, y + 4, f"{tick:g}", color=INK, anchor="end")]
    return shapes


def _curve(
    values: Sequence[float], step: int, edges: tuple[int, int], scale: tuple[float, float], *, mean: bool = True
) -> list[tuple[float, float]]:
    width = (RIGHT - LEFT) / len(values)
    points = []
    for at in range(0, len(values), step):
        part = values[at : at + step]
        value = sum(part) / len(part) if mean else part[0]
        points.append((LEFT + at * width, _y(value, edges, scale)))
    return points
