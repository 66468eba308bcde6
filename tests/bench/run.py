"""What the rows share: the plan (how long, how often), the daemon with a configuration, and the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import clips
from bench.figures import Figure
from bench.machine import Load, Used
from system.harness import Daemon


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    window_s: float
    windows: int
    """Quiet ones that a figure needs."""
    sessions: int
    """Fresh starts of both the daemon and the raw interpreter that these are spread over: where a
    process's memory happens to lie makes a per cent or two, and must not decide."""
    starts: int
    stream_s: float
    """Length of a window of the clients row."""

    short: bool = False
    """Only to see that it works."""

    @property
    def most_windows(self) -> int:
        """Windows tried, quiet or not, before a figure is given up."""
        return 2 * self.windows


FULL = Plan(window_s=2.0, windows=12, sessions=3, starts=10, stream_s=8.0)
QUICK = Plan(window_s=1.0, windows=3, sessions=1, starts=3, stream_s=3.0, short=True)


def say(text: str) -> None:
    """A line of progress; the table comes at the end."""
    print(text, flush=True)


def camera(source: Path | str, name: str = "front", **keys: str | bool) -> str:
    """A [camera.NAME] table."""
    lines = [f"[camera.{name}]", f"source = {_toml(str(source))}"]
    return "\n".join(lines + [f"{key} = {_toml(value)}" for key, value in keys.items()]) + "\n"


def _toml(value: str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def configuration(*cameras: str, daemon: str = "", model: Path | None = clips.MODEL) -> str:
    """The COCO v1 uint8 model on one thread, and these cameras. `model`: another file; None: the embedded one."""
    head = f"[daemon]\n{daemon}\n" if daemon else ""
    path = f"path = {_toml(str(model))}\n" if model is not None else ""
    return f"{head}[model]\n{path}threads = 1\n" + "\n".join(cameras)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a daemon; its path is short, since a socket's may have 107 bytes only."""
    with tempfile.TemporaryDirectory(prefix="vb-") as name:
        yield Path(name)


# The development environment forbids bytecode files; a user's daemon finds them.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": ""}


@contextmanager
def daemon(config: str, *args: str) -> Iterator[Daemon]:
    """A running daemon."""
    with folder() as path, Daemon(path, config, *args, env=ENVIRONMENT) as running:
        yield running


def loaded(measure: Callable[[], None]) -> Used:
    """Run it; returns who used the machine meanwhile."""
    load = Load()
    measure()
    return load.stop()


def worst(*windows: Used) -> float:
    """The foreign load that a sample made of several windows is held to."""
    return max(used.foreign for used in windows)


def table(figures: Sequence[Figure], judge: bool) -> str:
    """The result, a line a figure."""
    rows = [("figure", "to reach", "measured", "samples min / median / max", "foreign load", "verdict")]
    for figure in figures:
        verdict, why = figure.verdict(judge)
        limit = "" if figure.limit is None else f"{'≥' if figure.at_least else '≤'} {figure.limit:g}"
        unit = f" {figure.unit}" if figure.unit else ""
        value = figure.value
        measured, spread, foreign = "-", "", ""
        if value is not None:
            values = sorted(figure.counted)
            middle = values[len(values) // 2]
            measured = f"{value:.{figure.digits}f}{unit} ({figure.statistic})"
            spread = " / ".join(f"{v:.{figure.digits}f}" for v in (values[0], middle, values[-1]))
            loads = sorted(sample.foreign for sample in figure.samples)
            foreign = f"{loads[len(loads) // 2]:.2f}, most {loads[-1]:.2f}"
        if figure.limit is not None and value is not None and figure.samples:
            spread += f"  ({len(figure.quiet)} of {len(figure.samples)} quiet)"
        last = "" if verdict == "compare" else verdict + (f": {why}" if why else "")
        rows.append((figure.name, limit + (unit if limit else ""), measured, spread, foreign, last))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
