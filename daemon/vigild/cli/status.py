"""`vigild status`: how the daemon and its cameras are, on one screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from vigild.cli.talk import add_socket_argument, talk
from vigild.client import Client, Health, StatusAnswer
from vigild.wire.framing import encode_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the answer as JSON, for other programs")
    parser.add_argument("--config", action="store_true", help="also the settings in force")
    add_socket_argument(parser)


def run(args: argparse.Namespace) -> int:
    def show() -> None:
        answer = Client(args.socket).status()
        if args.json:
            sys.stdout.write(encode_line(answer).decode())
            return
        for head, text in overview(answer, args.config):
            print(f"{head:12} {text}")

    return talk(show)


def overview(answer: StatusAnswer, settings: bool = False) -> Iterator[tuple[str, str]]:
    """Rows of a heading (empty for a further row of the same) and a text."""
    health = answer.health
    yield "vigild", f"{answer.version}, pid {answer.pid}, up {_duration(health.uptime_s)}"
    yield "socket", answer.socket
    if answer.config_file:
        yield "config", answer.config_file
    yield "model", _model(answer)
    yield from _cameras(answer)
    yield from _headed("workers", _workers(health))
    yield from _headed("latency", _latency(health))
    yield "memory", _memory(health)
    yield "temperature", _temperature(health)
    yield "clients", _clients(health)
    if settings:
        yield from _headed("settings", (f"{key} = {value}" for key, value in sorted(answer.config.items())))


def _headed(head: str, rows: Iterator[str]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield head, row
        head = ""


def _model(answer: StatusAnswer) -> str:
    point = answer.health.operating_point
    if answer.model is None or point is None:
        return "none loaded"
    took = f"{point.delegate_nodes} of {point.total_nodes} nodes"
    threads = "1 thread" if point.threads == 1 else f"{point.threads} threads"
    cap = "" if point.fps_cap is None else f", held to {point.fps_cap:g} frames/s"
    runs = f"{point.runtime} {point.runtime_version}, delegate {point.delegate} ({took}), {threads}{cap}"
    return f"{point.model} {point.variant} on {runs}"


def _cameras(answer: StatusAnswer) -> Iterator[tuple[str, str]]:
    sizes = {camera.name: camera.size for camera in answer.cameras}
    width = max((len(name) for name in answer.health.cameras), default=0)

    def rows() -> Iterator[str]:
        for name, camera in answer.health.cameras.items():
            size = sizes.get(name)
            parts = [f"{name:{width}}  {camera.status:8}  {camera.inferred_fps:.1f} of {camera.fps:.1f} frames/s"]
            if size is not None:
                parts.append(f"{size[0]}x{size[1]}")
            drops = ", ".join(f"{cause} {count}" for cause, count in camera.drops.items() if count)
            if drops:
                parts.append(f"dropped: {drops}")
            if camera.reason:
                parts.append(camera.reason)
            yield "  ".join(parts)

    return _headed("cameras", rows())


def _workers(health: Health) -> Iterator[str]:
    for worker in health.workers:
        again = f", restarted {worker.restarts}x" if worker.restarts else ""
        why = f": {worker.reason}" if worker.reason else ""
        yield f"{worker.name}: {worker.state}, pid {worker.pid}{again}{why}"


def _latency(health: Health) -> Iterator[str]:
    width = max((len(stage) for stage in health.latency_ms), default=0)
    for stage, ms in health.latency_ms.items():
        yield f"{stage:{width}}  {ms.p50:7.2f} ms median  {ms.p95:7.2f} p95  {ms.p99:7.2f} p99"


def _memory(health: Health) -> str:
    memory = health.memory
    each = ", ".join(f"{name} {_mib(size)}" for name, size in memory.processes.items())
    total = f"{_mib(memory.used_bytes)} of {_mib(memory.budget_bytes)} MiB ({memory.source})"
    return f"{total}: {each}" if each else total


def _temperature(health: Health) -> str:
    zones = ", ".join(f"{zone} {celsius:.1f} °C" for zone, celsius in health.temperatures.items())
    budget = "" if health.temperature_budget is None else f"; budget {health.temperature_budget:g} °C"
    flags = f"; raised: {', '.join(health.flags)}" if health.flags else ""
    return (zones or "no sensor found") + budget + flags


def _clients(health: Health) -> str:
    watching = sum(client.watching for client in health.clients)
    dropped = sum(client.dropped for client in health.clients)
    slow = f", {dropped} lines dropped for slow ones" if dropped else ""
    return f"{len(health.clients)}, {watching} watching{slow}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
