"""From the capture to the client, beyond invoke(): live, 30 frames a second.

Where invoke() takes about as long as a frame period or longer, a frame waits for the detector however fast the rest
is, and the figure says nothing about the daemon. Then it is shown but not judged, and judged at a rate that the
machine can carry instead.
"""

from __future__ import annotations

from collections.abc import Callable

from bench import clips
from bench.figures import Figure, p50, p99, quantile
from bench.machine import Load
from bench.run import Plan, camera, configuration, daemon, say
from bench.stream import Stream, beyond_invoke_ms

WINDOW_S = 2.0
FRAMES = 600
"""In quiet windows, for a p99 that is not one frame's accident."""

SLOWER_FRAMES_PER_S = 15
MOST_DUTY = 0.9
"""Share of a frame period that invoke() may take."""


def clip(plan: Plan) -> list[Figure]:
    """The clip."""
    return _at_a_fitting_rate(plan, "latency", "clip", lambda rate: camera(clips.live(rate), loop=True), 3.0, 10.0)


def mjpeg(plan: Plan) -> list[Figure]:
    """720p MJPEG from a command's standard output."""
    return _at_a_fitting_rate(
        plan, "latency-mjpeg", "720p MJPEG", lambda rate: camera(clips.mjpeg_camera(rate)), 5.0, 10.0
    )


def _at_a_fitting_rate(
    plan: Plan, row: str, what: str, source: Callable[[int], str], p50_ms: float, p99_ms: float
) -> list[Figure]:
    figures = _measure(plan, row, what, clips.FRAMES_PER_S, source, p50_ms, p99_ms)
    if any(figure.unfit for figure in figures):
        figures += _measure(plan, row, what, SLOWER_FRAMES_PER_S, source, p50_ms, p99_ms)
    return figures


def _measure(
    plan: Plan, row: str, what: str, frames_per_s: int, source: Callable[[int], str], p50_ms: float, p99_ms: float
) -> list[Figure]:
    needed = plan.windows if plan.short else -(-FRAMES // int(WINDOW_S * frames_per_s))
    name = f"capture → client beyond invoke, {what}, {frames_per_s} fps"
    middle = Figure(row, f"{name}, p50", "ms", "p50", limit=p50_ms, needed=needed)
    tail = Figure(row, f"{name}, p99", "ms", "p99", limit=p99_ms, needed=needed)
    rate = Figure(row, "  frames/s inferred", digits=1, needed=needed)
    invoke_ms: list[float] = []
    with daemon(configuration(source(frames_per_s))) as running:
        stream = Stream(running)
        stream.first(30)
        stream.take(2.0)
        for _ in range(2 * needed):
            load = Load()
            messages = stream.take(WINDOW_S)
            used = load.stop()
            values = beyond_invoke_ms(messages)
            invoke_ms += [message["infer_ms"] for message in messages]
            middle.add(values, used.foreign)
            tail.add(values, used.foreign)
            rate.add(len(messages) / WINDOW_S, used.foreign)
            say(
                f"  {row}: {len(messages)} frames, p50 {p50(values):.2f} p99 {p99(values):.2f} "
                f"most {max(values):.2f} ms; foreign {used.foreign:.2f} cores"
            )
            if middle.settled:
                break
    undisturbed_ms = quantile(invoke_ms, 0.1)  # the load of others, if there is any, is another reason
    if undisturbed_ms * frames_per_s / 1e3 > MOST_DUTY:
        middle.unfit = tail.unfit = (
            f"invoke() takes {undisturbed_ms:.0f} ms here, frames come every {1e3 / frames_per_s:.0f} ms"
        )
    return [middle, tail, rate]
