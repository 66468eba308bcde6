"""Measurements, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

from vigild.catalogue.profile import Accuracy, Board, Row
from vigild.tune.trials import File, Subject, Timed

BOARD = Board(model="", machine="x86_64", processor="p", cores=2)


def row(variant: str = "int8", threads: int = 1, delegate: str = "xnnpack", p50_ms: float = 3.0, **more: Any) -> Row:
    """A setting that runs; `agreement`, `ap`, `found`, ... go into its accuracy."""
    judged = {key: more.pop(key) for key in list(more) if key in Accuracy.__struct_fields__}
    facts: dict[str, Any] = {
        "sha256": variant.encode().hex().ljust(64, "0")[:64],
        "width": 300,
        "height": 300,
        "dtype": "int8",
        "runtime": "litert",
        "runtime_version": "2.3.0",
        "delegate_nodes": 0 if delegate == "none" else 60,
        "total_nodes": 60,
        "rounds": 3,
        "p95_ms": 1.2 * p50_ms,
        "first_ms": 2 * p50_ms,
        "load_ms": 50.0,
        "cpu_ms": p50_ms,
        "cores_busy": 1.0,
        "memory_bytes": 40 * 2**20,
    }
    if judged:
        facts["accuracy"] = Accuracy(**{"pictures": 100, "reference": "float32", **judged})
    return Row(variant=variant, threads=threads, delegate=delegate, p50_ms=p50_ms, **{**facts, **more})


def timed(p50_ms: float = 3.0, **facts: Any) -> Timed:
    """One round of one setting."""
    known: dict[str, Any] = {
        "variant": "int8-300x300", "sha256": "0" * 64, "runtime": "litert", "runtime_version": "2.3.0",
        "delegate_nodes": 60, "total_nodes": 64, "inferences": 100, "load_ms": 50.0, "first_ms": 9.0,
        "p95_ms": 4.0, "cpu_ms": 3.0, "cores_busy": 1.0, "memory_bytes": 40 * 2**20,
        "celsius": None, "rise_celsius": None, "flags": [], "others_busy": 0.0,
    }  # fmt: skip
    return Timed(p50_ms=p50_ms, **{**known, **facts})


def subject(**changed: Any) -> Subject:
    """A run over one file that works and one that does not."""
    file = File(sha256="0" * 64, file_bytes=1000, width=300, height=300, dtype="int8")
    facts: dict[str, Any] = {
        "board": BOARD, "name": "m", "files": {"int8": file, "broken": "it is no model"},
        "runtime": "litert 2.3.0", "seconds": 2.0, "pictures": "::200", "config": "{}",
    }  # fmt: skip
    return Subject(**{**facts, **changed})
