"""A real detector worker process, and the hub's and the camera's side of it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vigild.config.schema import ModelConfig
from vigild.detector.model import Model, load
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.channel import Channel, socketpair
from vigild.ipc.messages import AttachDetector, Exit, FromDetector, LoadModel, ModelReady, RawDetection, Result
from vigild.ipc.progress import Progress
from vigild.ipc.ring import FilledSlot, RingWriter, make_memfd
from vigild.tensor import TensorSpec

REPO = Path(__file__).resolve().parents[2]
ASSETS = REPO.parent / "shared" / "assets"
COCO = ASSETS / "models" / "ssd_mobilenet_v1_coco"
COCO_UINT8 = COCO / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
COCO_FLOAT = ASSETS / "models" / "ssd_mobilenet_v1_coco_float" / "ssd_mobilenet_v1_coco_dequant_fp32.tflite"
FPN_LITE = ASSETS / "models" / "ssd_mobilenet_v2_fpnlite_320" / "model_dynamic_range.tflite"
ULTRAFACE = ASSETS / "models" / "ultraface_rfb_320" / "version-RFB-320_without_postprocessing.tflite"
EDGETPU_FACE = ASSETS / "models" / "edgetpu" / "face-detector-quantized_edgetpu.tflite"
PETS = ASSETS / "images" / "golden" / "cats_and_dogs.jpg"

RUNTIME = os.environ.get("VIGILD_TEST_RUNTIME", "auto")
"""The same tests run against each runtime, in an environment that has it."""

WHOLE = View()
"""The tensor shows the whole frame."""

HANG_S = 60.0
"""No answer for this long is a hang, on any machine."""


class Worker:
    """`python -m vigild.detector`, with a control channel."""

    def __init__(self) -> None:
        ours, theirs = socketpair()
        self.progress = Progress.create("test")
        environment = {**os.environ, "PYTHONPATH": str(REPO / "daemon")}
        control, page = str(theirs.fileno()), str(self.progress.fd)
        arguments = [f"--control={control}", f"--progress={page}", f"--parent={os.getpid()}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vigild.detector", *arguments],
            pass_fds=(theirs.fileno(), self.progress.fd),
            env=environment,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.settimeout(HANG_S)
        self.channel: Channel[Any] = Channel(ours, FromDetector)
        self._links = 0

    def load(self, config: ModelConfig, delegate: str = "xnnpack", runtime: str = RUNTIME) -> Any:
        self.channel.send(LoadModel(config=config, delegate=delegate, runtime=runtime))
        return self.receive()

    def ready(self, config: ModelConfig, delegate: str = "xnnpack") -> ModelReady:
        answer = self.load(config, delegate)
        assert isinstance(answer, ModelReady), answer
        return answer

    def attach(self, spec: TensorSpec, slots: int = 2, keep_every: bool = False, priority: float = 1.0) -> Camera:
        self._links += 1
        camera = Camera(spec, slots, self._links)
        message = AttachDetector(
            link=self._links,
            camera=camera.name,
            spec=spec,
            slots=slots,
            keep_every=keep_every,
            priority=priority,
        )
        self.channel.send(message, fds=[camera.theirs_memfd, camera.theirs.fileno()])
        camera.handed_over()
        return camera

    def receive(self) -> Any:
        return self.channel.receive()[0]

    def result(self) -> Result:
        message = self.receive()
        assert isinstance(message, Result), message
        return message

    def stop(self) -> int:
        self.channel.send(Exit())
        return self.process.wait(HANG_S)

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.channel.close()
        self.progress.close()


class Camera:
    """The camera worker's end of a ring."""

    def __init__(self, spec: TensorSpec, slots: int, number: int) -> None:
        self.spec = spec
        self.name = f"camera{number}"
        self.theirs_memfd = make_memfd(self.name, spec.nbytes, slots)
        ours, self.theirs = socketpair()
        self.ring = RingWriter(os.dup(self.theirs_memfd), ours, spec.nbytes, slots)
        self.frame = 0

    def handed_over(self) -> None:
        os.close(self.theirs_memfd)
        self.theirs.close()

    def send(self, image: np.ndarray, view: View = WHOLE, file: str = "") -> int:
        """Send a picture (the tensor's shape); returns its frame number. Waits for a free slot."""
        deadline = time.monotonic() + HANG_S
        while self.ring.free_slot() is None:
            self.ring.credits()
            assert time.monotonic() < deadline, "no slot came back"
            time.sleep(0.001)
        slot = self.ring.free_slot()
        assert slot is not None
        np.frombuffer(self.ring.slot(slot), dtype=self.spec.dtype)[:] = image.ravel()
        self.frame += 1
        now = time.monotonic_ns()
        self.ring.send(FilledSlot(slot, self.frame, now, time.time_ns(), 0, 0, now, 640, 480, view, file))
        return self.frame


def load_model(path: Path | str, delegate: str = "xnnpack", **config: Any) -> Model:
    """A model in this process."""
    return load(ModelConfig(path=str(path), **config), delegate, RUNTIME)


def detect(model: Model, tensor: np.ndarray, min_score: float = 0.5, **filter_: Any) -> list[RawDetection]:
    """What a model sees in an input tensor."""
    model.input_view()[...] = tensor.reshape(model.spec.shape)
    model.interpreter.invoke()
    return model.decode(View(), Selection(model.labels, min_score, filter_.pop("max_results", 20), **filter_))[0]


def normalised(rgb: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """A picture (H, W, 3) uint8 of the input's size as the input tensor; written here independently."""
    real = (rgb.astype(np.float64) - spec.mean) / spec.std
    if spec.dtype == "float32":
        tensor = real.astype(np.float32)
    else:
        limits = np.iinfo(spec.dtype)
        tensor = np.clip(np.rint(real / spec.scale) + spec.zero_point, limits.min, limits.max).astype(spec.dtype)
    return tensor.transpose(2, 0, 1) if spec.layout == "NCHW" else tensor


def picture(path: Path, spec: TensorSpec) -> np.ndarray:
    """An image file, squashed, as the input tensor."""
    import cv2

    bgr = cv2.imread(str(path))
    small = cv2.resize(bgr, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    return normalised(small[:, :, ::-1], spec)
