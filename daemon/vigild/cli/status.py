"""`vigild status`: how the daemon and its cameras are, on one screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from vigild import terminal
from vigild.cli.talk import add_socket_argument, talk
from vigild.client import Client, Health, StatusAnswer
from vigild.terminal import STATUS_COLORS, Screen
from vigild.wire.framing import encode_line
from vigild.wire.messages import BudgetHealth, OperatingPoint


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
        for line in lines(answer, Screen.of(sys.stdout), args.config):
            print(line)

    return talk(show)


def lines(answer: StatusAnswer, screen: Screen = Screen(), settings: bool = False) -> Iterator[str]:  # noqa: B008 - a tuple
    """What is so, then a table of the cameras, of the workers and of the times; within the screen's width."""
    for head, text in overview(answer):
        yield from terminal.wrap(f"{head:12} {text}", screen.columns, indent=13)
    for table in (_cameras(answer, screen), _workers(answer.health, screen), _latency(answer.health, screen)):
        rows = list(table)
        if len(rows) > 1:
            yield ""
            yield screen.paint(rows[0], terminal.BOLD)
            yield from rows[1:]
    if settings:
        yield ""
        for key, value in sorted(answer.config.items()):
            yield from terminal.wrap(f"{key} = {value}", screen.columns, indent=4)


def overview(answer: StatusAnswer) -> Iterator[tuple[str, str]]:
    """Rows of a heading and a text."""
    health = answer.health
    yield "vigild", f"{answer.version}, pid {answer.pid}, up {_duration(health.uptime_s)}"
    yield "socket", answer.socket
    if answer.config_file:
        yield "config", answer.config_file
    detectors = [worker for worker in health.workers if worker.kind == "detector"]
    if len(detectors) > 1:
        head = "models"
        for worker in detectors:
            yield head, f"{worker.name}: {_point(worker.operating_point)}"
            head = ""
    else:
        yield "model", "none loaded" if answer.model is None else _point(health.operating_point)
    yield "memory", _memory(health)
    if health.memory.words:
        yield "", f"from {health.memory.words}"
    yield "temperature", _temperature(health)
    if health.budget is not None:
        yield from _budget(health.budget)
    yield "clients", _clients(health)


def _point(point: OperatingPoint | None) -> str:
    if point is None:
        return "none loaded"
    took = f"{point.delegate_nodes} of {point.total_nodes} nodes"
    threads = "1 thread" if point.threads == 1 else f"{point.threads} threads"
    cap = "" if point.fps_cap is None else f", held to {point.fps_cap:g} frames/s"
    runs = f"{point.runtime} {point.runtime_version}, delegate {point.delegate} ({took}), {threads}{cap}"
    return f"{point.model} {point.variant} on {runs}"


def _cameras(answer: StatusAnswer, screen: Screen) -> Iterator[str]:
    sizes = {camera.name: camera.size for camera in answer.cameras}
    rows = []
    for name, camera in answer.health.cameras.items():
        size = sizes.get(name)
        drops = ", ".join(f"{cause} {count}" for cause, count in camera.drops.items() if count)
        color = STATUS_COLORS.get(camera.status, terminal.RED)
        rows.append(
            (
                name,
                screen.paint(camera.status, color),
                f"{camera.inferred_fps:.1f} of {camera.fps:.1f}",
                "" if size is None else f"{size[0]}x{size[1]}",
                drops,
                camera.reason or "",
            )
        )
    head = ["CAMERA", "STATUS", "FRAMES/S", "SIZE", "DROPPED", "REASON"]
    empty = [name for column, name in enumerate(head) if not any(row[column] for row in rows)]
    return terminal.table(head, rows, screen.columns, right={"FRAMES/S"}, spare=["SIZE", "DROPPED"], without=empty)


def _workers(health: Health, screen: Screen) -> Iterator[str]:
    rows = [
        (worker.name, worker.state, str(worker.pid), str(worker.restarts or ""), worker.reason or "")
        for worker in health.workers
    ]
    head = ["WORKER", "STATE", "PID", "RESTARTED", "REASON"]
    empty = [name for column, name in enumerate(head) if not any(row[column] for row in rows)]
    return terminal.table(head, rows, screen.columns, right={"PID", "RESTARTED"}, without=empty)


def _latency(health: Health, screen: Screen) -> Iterator[str]:
    rows = [(stage, f"{ms.p50:.2f}", f"{ms.p95:.2f}", f"{ms.p99:.2f}") for stage, ms in health.latency_ms.items()]
    head = ["STAGE", "MEDIAN ms", "P95 ms", "P99 ms"]
    return terminal.table(head, rows, screen.columns, right=head[1:])


def _memory(health: Health) -> str:
    memory = health.memory
    each = ", ".join(f"{name} {_mib(size)}" for name, size in memory.processes.items())
    total = f"{_mib(memory.used_bytes)} of {_mib(memory.budget_bytes)} MiB"
    total += "" if memory.words else f" ({memory.source})"
    return f"{total}: {each}" if each else total


def _temperature(health: Health) -> str:
    zones = ", ".join(f"{zone} {celsius:.1f} °C" for zone, celsius in health.temperatures.items())
    budget = "" if health.temperature_budget is None else f"; budget {health.temperature_budget:g} °C"
    flags = f"; raised: {', '.join(health.flags)}" if health.flags else ""
    lost = f"; lost: {', '.join(health.lost)}" if health.lost else ""
    return (zones or ("none can be read" if lost else "no sensor found")) + lost + budget + flags


def _budget(budget: BudgetHealth) -> Iterator[tuple[str, str]]:
    """What is given up now, what was, what the board can hold, and where the two budgets come from."""
    moves = ", ".join(f"{kind} {count}x" for kind, count in sorted(budget.moves.items()))
    for head, text in (
        ("degraded", budget.degraded),
        ("moves", moves),
        ("board", budget.board),
        ("budgets", f"temperature: {budget.temperature_why}" if budget.temperature_why else ""),
        ("", f"memory: {budget.memory_why}" if budget.memory_why else ""),
    ):
        if text:
            yield head, text


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
