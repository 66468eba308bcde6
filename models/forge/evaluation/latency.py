"""How long models take, in rounds that go through all of them, so that whatever else the machine does hits all alike.

    PYTHONPATH=models:daemon python -m forge.evaluation.latency --runtime litert --rounds 10 --picture p.jpg A.tflite

A program of its own, printing JSON: it needs the daemon's environment only, and so measures any runtime
that an environment has, in a process where nothing else was loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

INVOKE_BUDGET_S = 0.1
"""Of one model in one round; at least one invoke, at most MOST_INVOKES."""
MOST_INVOKES = 20
_TIMEOUT_S = 3600.0
_REPOSITORY = Path(__file__).resolve().parents[3]


class Latency(msgspec.Struct, frozen=True):
    """Of one model, in one runtime, on one thread."""

    runtime: str
    """Name and version; empty when it could not be run."""
    min_ms: float = 0.0
    median_ms: float = 0.0
    """Median of the rounds' medians."""
    cpu_ms: float = 0.0
    """CPU time of one invoke, median of the rounds' medians: what to compare on a machine that others use too."""
    nodes: tuple[int, int] = (0, 0)
    """Taken by the delegate, of how many."""
    failure: str = ""


def measure(
    models: Sequence[Path], runtime: str, rounds: int, picture: Path | None, python: Path | None = None
) -> list[Latency]:
    """Of each model, in a child. picture: what they look at, None: grey. python: of the environment that has the
    runtime; None: this one."""
    command = [str(python or sys.executable), "-m", "forge.evaluation.latency"]
    command += ["--runtime", runtime, "--rounds", str(rounds)]
    command += [*(["--picture", str(picture)] if picture else []), *map(str, models)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{_REPOSITORY / 'models'}:{_REPOSITORY / 'daemon'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return [Latency("", failure=reason)] * len(models)
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=list[Latency])


def _load(path: Path, runtime: str, picture: Path | None) -> Any:
    """A model with the picture in its input; or why it does not run."""
    import cv2
    import numpy as np

    from vigild.camera.convert import Converter
    from vigild.camera.orientation import Orientation
    from vigild.config.schema import ModelConfig
    from vigild.detector import model as detector_model
    from vigild.detector.errors import ModelError

    try:
        loaded = detector_model.load(ModelConfig(path=str(path)), "xnnpack", runtime)
    except ModelError as error:
        return error.message
    if picture is None:
        return loaded  # it was loaded with a run on grey, which the input still holds
    tensor = np.empty(loaded.spec.nbytes, np.uint8)
    Converter(loaded.spec).convert(cv2.imread(str(picture)), Orientation(), (0.0, 0.0, 1.0, 1.0), memoryview(tensor))
    view = loaded.input_view()
    view[...] = tensor.view(view.dtype).reshape(view.shape)
    return loaded


def _round(invoke: Any) -> list[tuple[int, int]]:
    """Some invokes of one model: (ns on the clock, ns of CPU) each; the first, on cold caches, is not counted."""
    invoke()
    taken: list[tuple[int, int]] = []
    ends = time.perf_counter_ns() + int(INVOKE_BUDGET_S * 1e9)
    while not taken or (len(taken) < MOST_INVOKES and time.perf_counter_ns() < ends):
        started, cpu = time.perf_counter_ns(), time.process_time_ns()
        invoke()
        taken.append((time.perf_counter_ns() - started, time.process_time_ns() - cpu))
    return taken


def main(argv: list[str] | None = None) -> int:
    """Measure, and print a JSON list in the models' order."""
    from statistics import median

    parser = argparse.ArgumentParser(prog="forge.evaluation.latency")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--runtime", default="litert")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args(argv)
    loaded = [_load(path, options.runtime, options.picture) for path in options.models]
    rounds: list[list[list[tuple[int, int]]]] = [[] for _ in loaded]
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for found, samples in zip(loaded, rounds, strict=True):
            if not isinstance(found, str):
                samples.append(_round(found.interpreter.invoke))
    results = []
    for found, samples in zip(loaded, rounds, strict=True):
        if isinstance(found, str):
            results.append(Latency("", failure=found))
            continue
        ready = found.ready
        results.append(
            Latency(
                f"{ready.runtime} {ready.runtime_version}",
                min(clock for one in samples for clock, _ in one) / 1e6,
                median(median(clock for clock, _ in one) for one in samples) / 1e6,
                median(median(cpu for _, cpu in one) for one in samples) / 1e6,
                (ready.delegate_nodes, ready.total_nodes),
            )
        )
    print(json.dumps(msgspec.to_builtins(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
