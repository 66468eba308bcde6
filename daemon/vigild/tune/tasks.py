"""`python -m vigild.tune.tasks PARENT TASK ARGUMENT`: what vigild tune tries, in the process that may die of it.

`prepare`   converts a few pictures into the input tensors of all variants, so that `timing` needs no OpenCV
`timing`    loads one setting as the detector worker does, and runs it for some seconds
`accuracy`  runs one variant over pictures
`load`      runs one setting at the rate that its parent asks for, until it is ended
`png`       paints the Pareto front
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec

from vigild import files
from vigild.config.schema import ModelConfig
from vigild.minscores import MinScores
from vigild.sandbox.child import Answer, Step, Task, main
from vigild.tune import cocofile
from vigild.tune.meter import Meter
from vigild.tune.pareto import AnyShape

CARDS = 24
"""Pictures of the test card."""

TENSORS = 4
"""Pictures that take turns while the time is taken: the post-process depends on what is seen."""

WARM_INFERENCES = 2
WARM_SHARE = 0.1
"""Of the seconds, before they count: caches and clock frequencies settle."""
MIN_INFERENCES = 3

NAP_S = 0.05
"""While there is nothing to do."""


class Pictures(msgspec.Struct, kw_only=True, frozen=True):
    """Which pictures."""

    folder: str = ""
    """Empty: the test card."""
    limit: int
    annotations: str = ""

    @property
    def count(self) -> int:
        """How many there are, at most."""
        return self.limit if self.folder else min(self.limit, CARDS)


class Prepare(msgspec.Struct, kw_only=True, frozen=True):
    """What `prepare` is given."""

    models: dict[str, ModelConfig]
    """By file name of what is written into `folder`."""
    delegates: dict[str, str]
    pictures: Pictures
    folder: str


class Timing(msgspec.Struct, kw_only=True, frozen=True):
    """What `timing` is given."""

    config: ModelConfig
    runtime: str = "auto"
    delegate: str
    tensors: str
    """A file of `prepare`."""
    seconds: float
    sysfs_root: str


class AccuracyTask(msgspec.Struct, kw_only=True, frozen=True):
    """What `accuracy` is given."""

    config: ModelConfig
    runtime: str = "auto"
    delegate: str
    pictures: Pictures
    save: str = ""
    """Where to write what was seen, for those that are compared with it."""
    reference: str = ""
    """What another variant wrote there."""
    reference_name: str = ""


class LoadTask(msgspec.Struct, kw_only=True, frozen=True):
    """What `load` is given."""

    config: ModelConfig
    runtime: str = "auto"
    delegate: str
    tensors: str
    """A file of `prepare`."""
    meter: str
    """The file of a `Meter`."""
    ready: str
    """Where to write what was loaded, as it is named in the daemon."""


class Loaded(msgspec.Struct, kw_only=True, frozen=True):
    """What `load` writes when it is ready."""

    model: str
    variant: str
    threads: int
    delegate: str


class PngTask(msgspec.Struct, kw_only=True, frozen=True):
    """What `png` is given."""

    shapes: list[AnyShape]
    path: str


def prepare(argument: bytes, step: Step) -> Answer:
    task = msgspec.json.decode(argument, type=Prepare)
    step("while importing NumPy and OpenCV")
    from vigild.camera.convert import Converter
    from vigild.camera.sources.base import SourceFailed
    from vigild.catalogue.entry import ManifestError
    from vigild.catalogue.resolve import resolve
    from vigild.detector import facts, input_spec
    from vigild.detector.errors import ModelError
    from vigild.detector.model_file import ModelFile
    from vigild.tune.pictures import pictures

    step("while reading the pictures")
    try:
        few = list(pictures(task.pictures.folder, TENSORS, _wanted(task.pictures)))
    except SourceFailed as failed:
        return {"code": "pictures", "refused": failed.reason}
    except cocofile.AnnotationsError as error:
        return {"code": "annotations", "refused": str(error)}
    if not few:
        annotated = f" that {task.pictures.annotations} names" if task.pictures.annotations else ""
        refused = f"no file in {task.pictures.folder}{annotated} is a picture that can be decoded"
        return {"code": "pictures", "refused": refused}
    answer: Answer = {}
    for name, config in task.models.items():
        step(f"while reading the model {name}")
        try:
            found = resolve(config, task.delegates[name])
            config = found.config
            with ModelFile.open(str(config.path), config.sha256, found.sha256_origin) as file:
                read = facts.read(file.data)
                spec, _ = input_spec.decide(read, config.color, config.resize, config.mean, config.std)
                sha256, size = file.sha256, len(file.data)
        except (ModelError, ManifestError) as refused:
            answer[name] = {"code": refused.code, "refused": refused.message}
            continue
        converter = Converter(spec)
        with (Path(task.folder) / name).open("wb") as out:
            for picture in few:
                tensor = bytearray(spec.nbytes)
                converter.convert(picture.pixels, picture.orientation, (0.0, 0.0, 1.0, 1.0), memoryview(tensor))
                out.write(tensor)
        answer[name] = {
            "sha256": sha256, "file_bytes": size, "width": spec.width, "height": spec.height, "dtype": spec.dtype
        }  # fmt: skip
    return {"models": answer}


def _opened(task: Timing | LoadTask, step: Step) -> tuple[Any, Any, Any]:
    """The Model as the daemon loads it, the tensors that it is shown, and the Selection of its outputs.

    Raises ModelError.
    """
    import numpy

    from vigild.detector.model import load
    from vigild.detector.selection import Selection
    from vigild.ipc.progress import STAGE_TEXT

    model = load(task.config, task.delegate, task.runtime, lambda stage: step(STAGE_TEXT[stage]))
    frames = numpy.fromfile(task.tensors, model.spec.dtype).reshape(-1, *model.spec.shape)
    scores = MinScores(model.ready.min_scores, task.config.min_score)
    return model, frames, Selection(model.labels, scores, task.config.max_results)


def timing(argument: bytes, step: Step) -> Answer:
    task = msgspec.json.decode(argument, type=Timing)
    step("while importing NumPy")
    import numpy

    from vigild.board.cpu_time import CpuClocks, CpuTime
    from vigild.board.sensors import Sensors
    from vigild.detector.errors import ModelError
    from vigild.geometry import View

    try:
        model, frames, selection = _opened(task, step)
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    sensors = Sensors(Path(task.sysfs_root))
    view, copy, invoke, decode = View(), numpy.copyto, model.interpreter.invoke, model.decode
    invoked_ns: list[int] = []
    gc.disable()

    def run(until_s: float, least: int) -> None:
        invoked_ns.clear()
        while time.monotonic() < until_s or len(invoked_ns) < least:
            copy(model.input_view(), frames[len(invoked_ns) % len(frames)])
            before_ns = time.monotonic_ns()
            invoke()
            invoked_ns.append(time.monotonic_ns() - before_ns)
            decode(view, selection)

    step("in invoke(), while warming up")
    run(time.monotonic() + task.seconds * WARM_SHARE, WARM_INFERENCES)
    step("in invoke()")
    before = sensors.temperatures()
    cpu_time, own = CpuTime(CpuClocks(Path("/"))), [os.getpid()]
    cpu_time.busy(time.monotonic_ns(), own)
    cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
    run(time.monotonic() + task.seconds, MIN_INFERENCES)
    cpu_ns, wall_ns = time.process_time_ns() - cpu_ns, time.monotonic_ns() - wall_ns
    busy = cpu_time.busy(time.monotonic_ns(), own)
    after = sensors.temperatures()
    hottest = max(after, key=lambda zone: after[zone]) if after else ""
    ready = model.ready
    ordered = sorted(invoked_ns)
    return {
        "variant": ready.variant,
        "sha256": ready.sha256,
        "runtime": ready.runtime,
        "runtime_version": ready.runtime_version,
        "delegate_nodes": ready.delegate_nodes,
        "total_nodes": ready.total_nodes,
        "inferences": len(ordered),
        "load_ms": ready.load_ms,
        "first_ms": ready.first_invoke_ms,
        "p50_ms": statistics.median(ordered) / 1e6,
        "p95_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] / 1e6,
        "cpu_ms": cpu_ns / len(ordered) / 1e6,
        "cores_busy": cpu_ns / wall_ns,
        "memory_bytes": peak_bytes(),
        "celsius": after[hottest] if hottest else None,
        "rise_celsius": after[hottest] - before[hottest] if hottest in before else None,
        "flags": sensors.flags(),
        "others_busy": busy.foreign + busy.stolen if busy else 0.0,  # None: too short to tell
    }


def load(argument: bytes, step: Step) -> Answer:
    """Never ends by itself."""
    task = msgspec.json.decode(argument, type=LoadTask)
    step("while importing NumPy")
    import numpy

    from vigild.detector.errors import ModelError
    from vigild.geometry import View

    try:
        model, frames, selection = _opened(task, step)
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    ready = model.ready
    loaded = Loaded(model=ready.name, variant=ready.variant, threads=ready.threads, delegate=ready.delegate)
    files.write_whole(Path(task.ready), msgspec.json.encode(loaded))
    step("in invoke()")
    view, done = View(), 0
    with Meter(Path(task.meter)) as meter:
        due_s = time.monotonic()
        while True:
            now_s, fps = time.monotonic(), meter.asked(time.monotonic())
            if fps <= 0 or now_s < due_s:
                # Not longer, so that a rate that is taken back is taken back at once.
                time.sleep(NAP_S if fps <= 0 else min(due_s - now_s, NAP_S))
                due_s = max(due_s, now_s) if fps <= 0 else min(due_s, now_s + 1 / fps)
                continue
            numpy.copyto(model.input_view(), frames[done % len(frames)])
            model.interpreter.invoke()
            model.decode(view, selection)
            done += 1
            meter.count()
            due_s = max(due_s + 1 / fps, now_s)


def accuracy(argument: bytes, step: Step) -> Answer:
    task = msgspec.json.decode(argument, type=AccuracyTask)
    step("while importing NumPy and OpenCV")
    from vigild.camera.sources.base import SourceFailed
    from vigild.detector.errors import ModelError
    from vigild.detector.model import load
    from vigild.ipc.progress import STAGE_TEXT
    from vigild.tune.accuracy import judge, look
    from vigild.tune.agreement import Found
    from vigild.tune.ap import MAX_DETECTIONS
    from vigild.tune.pictures import pictures

    try:
        marked = cocofile.read(Path(task.pictures.annotations)) if task.pictures.annotations else None
        model = load(task.config, task.delegate, task.runtime, lambda stage: step(STAGE_TEXT[stage]))
        step("while it looks at the pictures")
        scores = MinScores(model.ready.min_scores, task.config.min_score)
        found = pictures(task.pictures.folder, task.pictures.limit, _wanted(task.pictures))
        limit = MAX_DETECTIONS if marked else task.config.max_results
        seen = look(model, found, everything=marked is not None, scores=scores, limit=limit)
        step("while judging what it saw")
        reference = None
        if task.reference:
            reference = msgspec.msgpack.decode(Path(task.reference).read_bytes(), type=list[list[Found]])
        judged = judge(seen, model.labels, scores, reference, task.reference_name, marked)
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    except SourceFailed as failed:
        return {"code": "pictures", "refused": failed.reason}
    except cocofile.AnnotationsError as error:
        return {"code": "annotations", "refused": str(error)}
    if task.save:
        Path(task.save).write_bytes(msgspec.msgpack.encode([one.detections for one in seen]))
    result: dict[str, Any] = msgspec.to_builtins(judged)
    return result


def png(argument: bytes, step: Step) -> Answer:
    """Paint a drawing into a file."""
    task = msgspec.json.decode(argument, type=PngTask)
    step("while importing OpenCV")
    import cv2

    from vigild.tune.raster import paint

    step("while painting")
    done, data = cv2.imencode(".png", paint(task.shapes))
    if not done:
        return {"code": "png", "refused": "OpenCV cannot write a PNG file"}
    try:
        files.write_whole(Path(task.path), data.tobytes())
    except files.CannotWrite as error:
        return {"code": "png", "refused": str(error)}
    return {}


def _wanted(pictures: Pictures) -> frozenset[str] | None:
    """The files that annotations name; None without any. Raises AnnotationsError."""
    if not pictures.annotations:
        return None
    return frozenset(image.file_name for image in cocofile.read(Path(pictures.annotations)).images)


def peak_bytes() -> int:
    """The most memory that was resident in this process; 0 when the kernel does not say."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


TASKS: dict[str, Task] = {"prepare": prepare, "timing": timing, "accuracy": accuracy, "load": load, "png": png}


if __name__ == "__main__":
    main(TASKS)
