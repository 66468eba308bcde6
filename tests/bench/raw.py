"""What the daemon is compared with: the raw interpreter, and plain OpenCV loops, in a process of their own.

    with Raw(clip) as raw:
        raw.invokes(2.0)      # {"frames": 141, "seconds": 2.0, "invoke_ms": [...], "cpu_s": 1.99}
        raw.loop(2.0)         # read, resize, convert, invoke, decode: in one thread of Python

The child (`python -m bench.raw CLIP MODEL`) is the only part that imports NumPy, OpenCV and the runtime. It is
told what to do a line at a time and sleeps in between.

`invokes` cycles through prepared tensors: TENSORS frames, evenly spaced over the clip, read, resized and
converted as a camera worker does it. A round is set_tensor() and invoke(), nothing else.

`loop` with threads=1 holds decoder and OpenCV to one thread: that is what the CPU row is measured against. With
threads=0 OpenCV's own defaults hold: the loop that everybody writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

TENSORS = 100
"""27 MB of them, spread over the whole clip; all frames would measure the memory as well."""


class Raw:
    """The parent's side."""

    def __init__(self, clip: Path, model: Path) -> None:
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.raw", str(clip), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            text=True,
        )
        self.about = self._answer()

    def invokes(self, seconds: float) -> dict[str, Any]:
        """Set a tensor and invoke, as often as it goes."""
        return self._ask(do="invokes", seconds=seconds)

    def loop(self, seconds: float, threads: int = 1) -> dict[str, Any]:
        """The whole work in one Python loop."""
        return self._ask(do="loop", seconds=seconds, threads=threads)

    def _ask(self, **what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the raw interpreter's process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _child(clip: str, model: str) -> None:
    import cv2
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    index, (_, height, width, _) = entry["index"], entry["shape"]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())

    def opened(threads: int) -> Any:
        options = [cv2.CAP_PROP_N_THREADS, threads] if threads else []
        capture = cv2.VideoCapture(clip, cv2.CAP_FFMPEG, options)
        if not capture.isOpened():
            sys.exit(f"{clip} cannot be opened")
        return capture

    def converted(frame: Any) -> Any:
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None]

    default_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    capture = opened(1)
    step = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // TENSORS, 1)
    tensors = []
    number = 0
    while capture.grab():
        if number % step == 0:
            tensors.append(converted(capture.retrieve()[1]))
        number += 1
    capture.release()
    position = 0
    captures: dict[int, Any] = {}

    def invokes(seconds: float) -> dict[str, Any]:
        nonlocal position
        set_tensor, invoke, clock = interpreter.set_tensor, interpreter.invoke, time.perf_counter
        spent: list[float] = []
        cpu = time.process_time()
        start = now = clock()
        while now - start < seconds:
            set_tensor(index, tensors[position])
            before = clock()
            invoke()
            now = clock()
            spent.append(now - before)
            position = (position + 1) % len(tensors)
        return {
            "frames": len(spent),
            "seconds": now - start,
            "invoke_ms": [round(s * 1e3, 4) for s in spent],
            "cpu_s": time.process_time() - cpu,
        }

    def loop(seconds: float, threads: int) -> dict[str, Any]:
        cv2.setNumThreads(threads or default_threads)
        capture = captures.get(threads)
        if capture is None:
            capture = captures[threads] = opened(threads)
        frames = found = 0
        cpu = time.process_time()
        start = now = time.perf_counter()
        while now - start < seconds:
            good, frame = capture.read()
            if not good:
                capture.release()
                capture = captures[threads] = opened(threads)
                continue
            interpreter.set_tensor(index, converted(frame))
            interpreter.invoke()
            boxes, classes, scores, count = (interpreter.get_tensor(output)[0] for output in outputs)
            for i in range(int(count)):
                if scores[i] >= 0.5:
                    found += len((int(classes[i]), float(scores[i]), *np.clip(boxes[i], 0, 1).tolist())) > 0
            frames += 1
            now = time.perf_counter()
        return {"frames": frames, "seconds": now - start, "cpu_s": time.process_time() - cpu, "found": found}

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), flush=True)

    invokes(0.5)
    say({"tensors": len(tensors), "clip_frames": number, "delegated": delegated})
    for line in sys.stdin:
        request = json.loads(line)
        if request.pop("do") == "invokes":
            say(invokes(**request))
        else:
            say(loop(**request))


if __name__ == "__main__":
    _child(*sys.argv[1:])
