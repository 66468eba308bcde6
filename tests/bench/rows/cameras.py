"""Four cameras on one detector: as much in all as one camera alone, and a fair share for each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench import clips
from bench.figures import Figure
from bench.machine import Load
from bench.run import Plan, camera, configuration, daemon, say, worst
from bench.stream import Stream, control, frames_per_s, must

CAMERAS = 4
SETTLE_S = 0.7


def measure(plan: Plan) -> list[Figure]:
    """Windows with all four and with one alone (the others paused), alternating; then four live ones."""
    total = Figure("cameras", "4 cameras on one detector: total ÷ one camera's", limit=0.97, at_least=True)
    share = Figure("cameras", "  the smallest share of a fair quarter", statistic="min", limit=0.8, at_least=True)
    live_total = Figure("cameras", "  four live 30 fps cameras: total ÷ one (every frame)")
    live_share = Figure(
        "cameras", "  four live 30 fps cameras: smallest share of a quarter", statistic="min", limit=0.8, at_least=True
    )
    figures = [total, share, live_total, live_share]
    for figure in figures:
        figure.needed = plan.windows
    names = [f"c{number}" for number in range(CAMERAS)]
    tables = [camera(clips.source(), name=name, pace="every", loop=True) for name in names]
    alone_rates = []
    with daemon(configuration(*tables)) as running:
        stream, requests = Stream(running), control(running)
        stream.first(30)
        stream.take(2.0)
        for _ in range(plan.most_windows):
            load = Load()
            messages = stream.take(plan.window_s)
            used_all = load.stop()
            for name in names[1:]:
                must(requests.ask(type="pause", camera=name))
            stream.take(SETTLE_S)
            load = Load()
            alone = stream.take(plan.window_s)
            used_alone = load.stop()
            for name in names[1:]:
                must(requests.ask(type="resume", camera=name))
            stream.take(SETTLE_S)
            alone_rates.append(frames_per_s(alone))
            ratio = frames_per_s(messages) / alone_rates[-1]
            total.add(ratio, worst(used_all, used_alone))
            share.add(_smallest(messages), used_all.foreign)
            say(
                f"  cameras: {dict(Counter(m['camera'] for m in messages))}, total ÷ one {ratio:.4f}; "
                f"foreign {used_all.foreign:.2f} {used_alone.foreign:.2f} cores"
            )
            if total.settled and share.settled:
                break
    alone_rates.sort()
    with daemon(configuration(*(camera(clips.live(), name=name, loop=True) for name in names))) as running:
        stream = Stream(running)
        stream.first(30)
        stream.take(2.0)
        for _ in range(plan.most_windows):
            load = Load()
            messages = stream.take(plan.window_s)
            used = load.stop()
            live_total.add(frames_per_s(messages) / alone_rates[len(alone_rates) // 2], used.foreign)
            live_share.add(_smallest(messages), used.foreign)
            say(
                f"  cameras: live {dict(Counter(m['camera'] for m in messages))}, "
                f"{frames_per_s(messages):.2f} frames/s; foreign {used.foreign:.2f} cores"
            )
            if live_share.settled:
                break
    return figures


def _smallest(messages: list[dict[str, Any]]) -> float:
    """The least served camera's frames ÷ a quarter of all."""
    counts = Counter(message["camera"] for message in messages)
    return min(counts[f"c{number}"] for number in range(CAMERAS)) / (len(messages) / CAMERAS)
