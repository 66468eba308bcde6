"""The rows of the table, a module each. Every row is a function: plan in, figures out."""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Figure
from bench.rows import cameras, clients, flood, latency, memory, startup, throughput, watching
from bench.run import Plan

ROWS: dict[str, Callable[[Plan], list[Figure]]] = {
    "throughput": throughput.clip,
    "throughput-1080p": throughput.full_hd,
    "latency": latency.clip,
    "latency-mjpeg": latency.mjpeg,
    "memory": memory.measure,
    "startup": startup.measure,
    "clients": clients.measure,
    "flood": flood.measure,
    "flood-server": flood.stand_in,
    "cameras": cameras.measure,
    "watching": watching.measure,
}
