"""What came out, for people: a Markdown table and a picture of what is worth having.

write_report(Path("out"), "coco_v1", made, plan, "forge variants ...")
"""

from __future__ import annotations

import math
from pathlib import Path

from forge.evaluation.compare import SHOWN, STILL_SEEN, SURE
from forge.evaluation.latency import Latency
from forge.variants.ship import Made, Plan

REPORT = "report.md"
PLOT = "pareto.png"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _time(latency: Latency) -> str:
    if latency.failure:
        return "does not run"
    taken, nodes = latency.nodes
    return f"{latency.min_ms:.2f} / {latency.median_ms:.2f} / {latency.cpu_ms:.2f} ({taken}/{nodes})"


def _runtime_names(made: list[Made], plan: Plan) -> list[str]:
    names = []
    for column, (runtime, _) in enumerate(plan.runtimes if plan.rounds else ()):
        names.append(next((each.latencies[column].runtime for each in made if each.latencies[column].runtime), runtime))
    return names


def table(made: list[Made], plan: Plan) -> str:
    """One row a variant, as Markdown."""
    runtimes = _runtime_names(made, plan)
    heads = ["setting", "bytes", "AP", "AP50", "score error", "box error", "agreement", *runtimes, "shipped"]
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for each in made:
        m = each.measures
        cells = [each.setting.name, str(each.bytes), _number(m.ap), _number(m.ap50), _number(m.score_error, 4)]
        cells += [_number(m.box_error, 4), _number(m.agreement)]
        cells += [_time(latency) for latency in each.latencies]
        cells.append("no: " + "; ".join(each.refused) if each.refused else "yes")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def write_report(folder: Path, name: str, made: list[Made], plan: Plan, command: str) -> None:
    """`folder`/report.md and, when something was timed, `folder`/pareto.png."""
    annotated = sum(picture.objects is not None for picture in plan.judged)
    timed = any(each.latencies and not each.latencies[0].failure for each in made)
    lines = [f"# {name}: its tensor settings", "", f"    {command}", ""]
    lines.append(
        f"Judged on {len(plan.judged)} pictures ({annotated} with COCO annotations), ranges from"
        f" {len(plan.calibration)} others. AP and AP50: COCO's. Score error: mean difference from"
        f" float32 of the best class's score, on anchors where float32 gives {SURE} or more. Box error: mean of 1 - IoU"
        f" of the boxes there. Agreement: of the objects that float32 or the variant shows (score {SHOWN} or more), the"
        f" share that the other sees too (same label, IoU 0.5 or more, score {STILL_SEEN} or more). Variants without"
        " the post-process op are compared with float32 without it: boxes are then chosen within each class, and more"
        " of them."
    )
    if plan.rounds:
        lines += [
            "",
            "Times: invoke() with one thread on this machine, ms: shortest / median / median of the CPU time, over"
            f" {plan.rounds} rounds that go through all variants in turn; in brackets the nodes XNNPACK took, of how"
            " many. CPU time is what to compare where other programs run too. Other machines have other kernels:"
            " measure there (`vigild tune`). What is left to do on the host for variants without the op is not in it.",
        ]
    lines += ["", table(made, plan), "", "## What the settings are", ""]
    lines += [f"- **{each.setting.name}**: {each.setting.meaning}." for each in made]
    limits = plan.limits
    lines += ["", "## Gate", ""]
    lines.append(
        f"A variant is shipped when its AP is at most {limits.ap_loss:g} below float32's (where pictures are annotated)"
        f" and its agreement is {limits.agreement:g} or more."
    )
    refused = [each for each in made if each.refused]
    lines += [f"- **{each.setting.name}** is not: {'; '.join(each.refused)}." for each in refused]
    if timed:
        _plot(folder / PLOT, name, made, plan)
        lines += ["", f"![Accuracy over time]({PLOT})"]
    (folder / REPORT).write_text("\n".join(lines) + "\n")


def _plot(path: Path, name: str, made: list[Made], plan: Plan) -> None:
    """Accuracy over the shortest time in the first runtime; area is size; a line through what nothing beats in both.

    Variants without the op are hollow and not on the line: choosing boxes on the host comes on top of their
    time, and changes AP. What is refused far below the others stands at the lower edge.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    shown = [each for each in made if each.latencies and not each.latencies[0].failure]
    by_ap = all(each.measures.ap is not None for each in shown)
    points = [(each.latencies[0].cpu_ms, _worth(each, by_ap), each) for each in shown]
    shipped = [worth for _, worth, each in points if not each.refused] or [0.0, 1.0]
    floor = min(shipped) - max(0.5 * (max(shipped) - min(shipped)), 0.02)
    figure, axes = pyplot.subplots(figsize=(9, 5.5), dpi=110)
    named: list[tuple[float, float]] = []
    for x, worth, each in points:
        colour = "#c0392b" if each.refused else "#1f77b4"
        y = max(worth, floor)
        text = each.setting.name if worth >= floor else f"{each.setting.name}: {worth:.3f}"
        fill = "none" if each.setting.raw else colour
        axes.scatter(x, y, s=max(20.0, each.bytes / 2e4), facecolors=fill, edgecolors=colour, alpha=0.5)
        # Names of points that lie on each other go below each other.
        near = sum(abs(math.log(x / other_x)) < 0.25 and abs(y - other_y) < 0.004 for other_x, other_y in named)
        named.append((x, y))
        axes.annotate(text, (x, y), textcoords="offset points", xytext=(8, 5 - 9 * near), fontsize=7)
    front: list[tuple[float, float]] = []
    for x, worth, each in sorted(points, key=lambda point: point[:2]):
        if not each.refused and not each.setting.raw and (not front or worth > front[-1][1]):
            front.append((x, worth))
    if front:
        axes.plot(*zip(*front, strict=True), color="#1f77b4", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.margins(x=0.12, y=0.08)
    axes.set_xlabel(f"CPU time of invoke(), ms, one thread, {_runtime_names(made, plan)[0]}")
    axes.set_ylabel("COCO AP" if by_ap else "agreement with float32")
    axes.set_title(f"{name}: area is file size, hollow has no op, red is refused by the gate", fontsize=11)
    axes.grid(True, alpha=0.25)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _worth(made: Made, by_ap: bool) -> float:
    return made.measures.ap or 0.0 if by_ap else made.measures.agreement
