"""What the detector worker does beside invoke(): decoding, and the loop's overhead per frame.

    .venv/bin/python tests/bench/bench_decode.py [MODEL.tflite] [--frames N]

Prints medians and the 90th percentile in microseconds; asserts nothing. Without a model, tiny built
ones are used, so the loop is measured with next to no inference; with one, caches are as cold as
they are in service. The machine should be idle: its load is printed with the result.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "daemon"), str(REPO / "tests" / "unit")]

import modelkit  # noqa: E402
import numpy as np  # noqa: E402
from detectorkit import RUNTIME, Worker, load_model  # noqa: E402

from vigild.config.schema import ModelConfig  # noqa: E402
from vigild.detector.anchors import Decoding, SsdAnchors, anchors  # noqa: E402
from vigild.detector.decode_anchors import AnchorDecoder, RawOutput  # noqa: E402
from vigild.detector.selection import Selection  # noqa: E402
from vigild.geometry import IDENTITY  # noqa: E402


def show(name: str, samples_ns: Sequence[float]) -> None:
    ordered = sorted(samples_ns)
    middle, high = statistics.median(ordered), ordered[int(0.9 * (len(ordered) - 1))]
    print(f"{name:58} {middle / 1e3:9.1f} {high / 1e3:9.1f}")


def repeat(function: Callable[[], object], times: int = 500) -> list[int]:
    samples = []
    for _ in range(times):
        start = time.perf_counter_ns()
        function()
        samples.append(time.perf_counter_ns() - start)
    return samples


def decoding(folder: Path) -> None:
    model = load_model(modelkit.quadrants(folder))
    model.input_view()[...] = modelkit.image([(0, 255, 0)] * 4)
    model.interpreter.invoke()
    filter_ = Selection(model.labels, 0.5, 20)
    show("post-process op, 4 of 4 rows reported", repeat(lambda: model.decode(IDENTITY, filter_)))

    dice = np.random.default_rng(0)
    table = anchors(Decoding(ssd=SsdAnchors()), 300, 300)
    for dtype, scale in (("float32", 1.0), ("uint8", 1 / 256)):
        for hot in (0, 40, 400):
            scores = dice.uniform(0, 0.3, (1, 1917, 91))
            scores[0, dice.integers(0, 1917, hot), dice.integers(1, 91, hot)] = dice.uniform(0.5, 0.99, hot)
            scores = (scores / scale).astype(dtype)
            boxes = dice.normal(0, 1, (1, 1917, 4)).astype(np.float32)
            decode = AnchorDecoder(
                RawOutput(lambda boxes=boxes: boxes, 1.0, 0),  # type: ignore[misc]
                RawOutput(lambda scores=scores: scores, scale, 0),  # type: ignore[misc]
                table,
                Decoding(ssd=SsdAnchors()),
                "probabilities",
                background=True,
            )
            name = f"1917 anchors x 91 classes, {dtype}, {hot} above the threshold"
            show(name, repeat(lambda decode=decode: decode(IDENTITY, filter_)))  # type: ignore[misc]


def loop(path: Path, frames: int) -> None:
    """The worker as a process, on a ring of three slots that is always full."""
    with Worker() as worker:
        ready = worker.ready(ModelConfig(path=str(path), runtime=RUNTIME))
        print(f"\n{path.name} on {ready.runtime} {ready.runtime_version}, {ready.delegate}")
        camera = worker.attach(ready.spec, slots=3, keep_every=True)
        tensor = np.zeros(ready.spec.shape, ready.spec.dtype)
        for _ in range(2):
            camera.send(tensor)
        results, arrivals = [], []
        for _ in range(frames):
            camera.send(tensor)
            results.append(worker.result())
            arrivals.append(time.monotonic_ns())
        gaps = [b - a for a, b in itertools.pairwise(arrivals)]
        show("invoke", [r.invoke_ns for r in results])
        show("copy into the tensor", [r.copy_ns for r in results])
        show("read outputs, decode, filter", [r.post_ns for r in results])
        show(
            "outside invoke, from result to result",
            [gap - r.invoke_ns for gap, r in zip(gaps, results[1:], strict=True)],
        )
        rollup = Path(f"/proc/{worker.process.pid}/smaps_rollup").read_text().splitlines()
        print(
            "memory: " + ", ".join(" ".join(line.split()) for line in rollup if line.startswith(("Pss:", "Private_D")))
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="decoding and loop overhead of the detector worker")
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores\n{'':58} {'median us':>9} {'p90 us':>9}")
    with tempfile.TemporaryDirectory() as folder:
        decoding(Path(folder))
        loop(args.model or modelkit.quadrants(Path(folder)), args.frames)


if __name__ == "__main__":
    main()
