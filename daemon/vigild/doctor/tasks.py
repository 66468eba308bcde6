"""`python -m vigild.doctor.tasks PARENT TASK ARGUMENT`: the doctor's tasks, in the process that may die of one."""

from __future__ import annotations

import os
import time

import msgspec

from vigild.config.schema import CameraConfig, ModelConfig
from vigild.config.source import redact
from vigild.sandbox.child import Answer, Step, Task, main

FIRST_FRAME_S = 10.0
"""A camera that adjusts its exposure, or a stream between two key frames."""


def model(argument: bytes, step: Step) -> Answer:
    """Load and run a model as the detector worker does. Argument: `ModelTask`."""
    task = msgspec.json.decode(argument, type=ModelTask)
    step("while importing NumPy")
    from vigild.detector.errors import ModelError
    from vigild.detector.model import load
    from vigild.ipc.progress import STAGE_TEXT, Stage

    def enter(stage: Stage) -> None:
        step(STAGE_TEXT[stage])

    try:
        ready = load(task.config, task.delegate, task.runtime, enter).ready
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    return {
        "name": ready.name,
        "variant": ready.variant,
        "runtime": ready.runtime,
        "version": ready.runtime_version,
        "delegate": ready.delegate,
        "taken": ready.delegate_nodes,
        "nodes": ready.total_nodes,
        "first_invoke_ms": ready.first_invoke_ms,
        "warnings": ready.warnings,
    }


def delegate(argument: bytes, step: Step) -> Answer:
    """Load a delegate into a runtime, without a model. Argument: `ModelTask`, whose model is not looked at."""
    task = msgspec.json.decode(argument, type=ModelTask)
    step(f"while importing {task.runtime}")
    import importlib

    from vigild.detector import native_delegate
    from vigild.detector.errors import ModelError
    from vigild.runtimes import PACKAGES

    module = importlib.import_module(next(package.module for package in PACKAGES if package.name == task.runtime))
    step(f"while loading the delegate {task.delegate}")
    try:
        loaded = native_delegate.load(module, task.delegate, task.config.delegate_options)
    except ModelError as refused:
        return {"code": refused.code, "refused": refused.message}
    step(f"while unloading the delegate {task.delegate}")
    del loaded
    return {}


def opencv(_argument: bytes, step: Step) -> Answer:
    """Import OpenCV and use it a little."""
    step("while importing NumPy")
    import numpy

    step("while importing OpenCV")
    import cv2

    step("while encoding and decoding a JPEG")
    picture = numpy.zeros((48, 64, 3), numpy.uint8)
    _, data = cv2.imencode(".jpg", picture)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None or decoded.shape != picture.shape:
        return {"code": "opencv", "refused": "a JPEG that it wrote cannot be read by it"}
    registry = cv2.videoio_registry
    backends = sorted({registry.getBackendName(backend) for backend in registry.getBackends()})
    return {"version": cv2.__version__, "numpy": numpy.__version__, "backends": backends}


def camera(argument: bytes, step: Step) -> Answer:
    """Open a camera's source as the camera worker does, and take one frame. Argument: `CameraConfig`."""
    config = msgspec.json.decode(argument, type=CameraConfig)
    step("while importing OpenCV")
    from vigild.camera.__main__ import LIBRARY_ENVIRONMENT

    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vigild.camera.frames import BadFrame, Buffers
    from vigild.camera.sources.base import Grab, SourceFailed
    from vigild.camera.sources.make import make_source

    source = make_source(config)
    step("while opening the source")
    try:
        opened = source.open()
        step("while waiting for a frame")
        give_up_s = time.monotonic() + max(config.read_timeout, FIRST_FRAME_S)
        while (grab := source.grab()) is Grab.NOTHING:
            if time.monotonic() > give_up_s:
                return {"code": "read", "refused": f"it opened, but gave no frame ({opened.detail})"}
        if grab is Grab.END:
            return {"code": "read", "refused": f"it has no frame in it ({opened.detail})"}
        step("while decoding a frame")
        picture = source.retrieve(Buffers(1))
        picture.decode()
    except SourceFailed as failed:
        return {"code": failed.cause, "refused": redact(failed.reason)}
    except BadFrame as bad:
        return {"code": "shape", "refused": f"its first frame is {bad}"}
    finally:
        source.close()
    return {"detail": opened.detail, "width": picture.width, "height": picture.height}


class ModelTask(msgspec.Struct, kw_only=True):
    """What `model` and `delegate` are given."""

    config: ModelConfig
    runtime: str
    delegate: str


TASKS: dict[str, Task] = {
    "model": model,
    "delegate": delegate,
    "opencv": opencv,
    "camera": camera,
}


if __name__ == "__main__":
    main(TASKS)
