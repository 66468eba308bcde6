"""Frames/s at a client, against the raw interpreter; and what the same windows say of time and CPU.

A sample is a round: the daemon runs for a window, is paused, then the raw interpreter runs for a window, then the
plain loops. So whatever drifts (clock, temperature, a neighbour) hits all of them alike.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from bench import clips
from bench.figures import Figure
from bench.machine import Load, Used, cpu_of, spent_s
from bench.raw import Raw
from bench.run import Plan, camera, configuration, daemon, say, worst
from bench.stream import Stream, control, frames_per_s, gapless, must
from system.harness import Client, Daemon

SETTLE_S = 0.5
"""After `resume`: the pipeline fills again."""


def clip(plan: Plan) -> list[Figure]:
    """On the clip as it is, with the CPU row."""
    figures = _figures("throughput", plan, 0.97, cpu_limit=1.12)
    figures["outside"].limit = 0.35
    figures["invoke"].limit = 1.04
    return _measure(plan, clips.source(), figures)


def full_hd(plan: Plan) -> list[Figure]:
    """On the 1080p H.264 clip."""
    return _measure(plan, clips.full_hd(), _figures("throughput-1080p", plan, 0.94, cpu_limit=None))


def _figures(row: str, plan: Plan, ratio: float, cpu_limit: float | None) -> dict[str, Figure]:
    on = ", 1080p" if row.endswith("1080p") else ""

    def figure(name: str, unit: str = "", limit: float | None = None, **more: Any) -> Figure:
        return Figure(row, name + on, unit, limit=limit, needed=plan.windows, **more)

    return {
        "ratio": figure("frames/s at a client ÷ raw invokes/s", limit=ratio, at_least=True),
        "outside": figure("outside invoke(), per frame", "ms"),
        "duty": figure("duty: share of time in invoke()"),
        "invoke": figure("invoke in the daemon ÷ raw"),
        "cpu": figure("CPU of hub and workers ÷ one plain thread", limit=cpu_limit),
        "raw": figure("raw invoke()", "ms", digits=2),
        "pure": figure("frames/s ÷ raw invoke() alone"),
        "loop": figure("for comparison: plain OpenCV loop ÷ raw"),
        "cpu_hub": figure("CPU per frame: hub", "ms", digits=2),
        "cpu_camera": figure("CPU per frame: camera worker", "ms", digits=2),
        "cpu_detector": figure("CPU per frame: detector worker", "ms", digits=2),
        "cpu_plain": figure("CPU per frame: one plain thread", "ms", digits=2),
    }


def _measure(plan: Plan, clip: Path, figures: dict[str, Figure]) -> list[Figure]:
    per_session = -(-plan.most_windows // plan.sessions)
    for session in range(plan.sessions):
        wanted = plan.windows * (session + 1) // plan.sessions
        config = configuration(camera(clip, pace="every", loop=True))
        with Raw(clip, clips.MODEL) as raw, daemon(config) as running:
            stream, requests = Stream(running), control(running)
            stream.first(30)
            for _ in range(per_session):
                _round(plan, running, stream, requests, raw, figures)
                quiet = min(len(figure.quiet) for figure in figures.values())
                if quiet >= wanted or all(figure.settled for figure in figures.values()):
                    break
        if all(figure.settled for figure in figures.values()):
            break
    return list(figures.values())


def _round(plan: Plan, running: Daemon, stream: Stream, requests: Client, raw: Raw, figures: dict[str, Figure]) -> None:
    must(requests.ask(type="resume"))
    stream.first(10)
    stream.take(SETTLE_S)
    workers = {"hub": running.pid, "camera": running.worker("camera.front"), "detector": running.worker("detector")}
    before = cpu_of(running.processes())
    by_worker = cpu_of(list(workers.values()))
    load = Load()
    messages = stream.take(plan.window_s)
    seen = load.stop()
    spent = spent_s(before, cpu_of(running.processes())) / len(messages)
    after = cpu_of(list(workers.values()))
    must(requests.ask(type="pause"))
    stream.drain()

    load = Load()
    bare = raw.invokes(plan.window_s)
    bare_used = load.stop()
    load = Load()
    plain = raw.loop(plan.window_s)
    plain_used = load.stop()
    load = Load()
    usual = raw.loop(plan.window_s, threads=0)
    usual_used = load.stop()

    odd = "" if gapless(messages) else "frames were missing or doubled"
    rate = frames_per_s(messages)
    # The rate is of the intervals between arrivals; the first frame's invoke() lies before them.
    infer_ms = [message["infer_ms"] for message in messages[1:]]
    bare_rate = bare["frames"] / bare["seconds"]
    bare_ms = statistics.median(bare["invoke_ms"])
    plain_cpu = plain["cpu_s"] / plain["frames"]

    def add(name: str, value: float, *windows: Used) -> None:
        figures[name].add(value, worst(*windows), odd)

    add("ratio", rate / bare_rate, seen, bare_used)
    add("outside", 1e3 / rate - statistics.fmean(infer_ms), seen)
    add("duty", statistics.fmean(infer_ms) * rate / 1e3, seen)
    add("invoke", statistics.median(infer_ms) / bare_ms, seen, bare_used)
    add("cpu", spent / plain_cpu, seen, plain_used)
    add("raw", bare_ms, bare_used)
    add("pure", rate * statistics.fmean(bare["invoke_ms"]) / 1e3, seen, bare_used)
    add("loop", usual["frames"] / usual["seconds"] / bare_rate, usual_used, bare_used)
    add("cpu_plain", plain_cpu * 1e3, plain_used)
    for name, pid in workers.items():
        add(f"cpu_{name}", (after[pid] - by_worker[pid]) / len(messages) * 1e3, seen)
    say(
        f"  {figures['ratio'].row}: {rate:.2f} frames/s, raw {bare_rate:.2f}, ratio {rate / bare_rate:.4f}; "
        f"outside {figures['outside'].samples[-1].values[0]:.3f} ms; CPU {spent / plain_cpu:.3f}; "
        f"foreign {seen.foreign:.2f} {bare_used.foreign:.2f} {plain_used.foreign:.2f} cores"
        + (f"; {odd}" if odd else "")
    )
