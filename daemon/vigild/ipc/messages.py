"""What the hub and its workers say to each other, as msgpack over a `Channel`.

These never leave the machine and both ends are always of one version, so fields may change freely.
Times are of the monotonic clock in nanoseconds, unless the name says wall.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vigild.config.schema import CameraConfig, ModelConfig
from vigild.geometry import Box
from vigild.tensor import TensorSpec


class Message(msgspec.Struct, kw_only=True, tag=True, omit_defaults=True):
    """Base of all messages; the class name is the tag."""


# ---- hub -> any worker


class Exit(Message):
    """Stop now, in order: release devices, kill children, exit 0."""


class Trim(Message):
    """Memory is short: give back what can be done without, now and (`on`) from now on."""

    on: bool


class Detach(Message):
    """Close this link: its other end is gone or no longer wanted."""

    link: int


# ---- hub -> camera worker


class AddCamera(Message):
    """Open this camera, or take up changed settings (reopening it only if they need that)."""

    camera: str
    config: CameraConfig
    resume_after: int = 0
    """Number of the last frame whose result was published: a `pace = "every"` source goes on behind it."""
    passed_over: int = 0
    """Number of the last frame before this source began (another source had the camera's name then)."""


class RemoveCamera(Message):
    camera: str


class AttachCamera(Message):
    """Fill this ring. Comes with two descriptors: the memfd and the ring's socket."""

    link: int
    camera: str
    spec: TensorSpec
    slots: int
    group: int = 0
    """Of the rings of one group a frame goes into one, whichever is free; each group gets every frame wanted."""


class SetLimits(Message):
    """How much of a camera is wanted from now on; the source stays open, whatever it says.

    The hub sends the sum of what was asked for: who holds a camera, and for what reason, is its business.
    """

    camera: str
    max_fps: float = 0.0
    """Frames delivered a second, at most; 0: no cap."""
    holds: list[str] = []
    """Who keeps it from delivering at all ("client", "governor", "schedule", "gate"); empty: it delivers."""


class Overlay(Message):
    """The result for one frame, for drawing on it."""

    frame: int
    boxes: list[tuple[Box, str, float]]
    """(box relative to the frame, label, score)"""


class TakeSnapshot(Message):
    """Encode the newest held frame that is among `results` (newest last)."""

    request: int
    camera: str
    results: list[Overlay]
    annotate: bool = False


# ---- camera worker -> hub


class CameraLane(Message):
    """The camera's thread runs and says in this lane of the progress page what it does. Sent before all else of it."""

    camera: str
    lane: int


class CameraOpened(Message):
    camera: str
    width: int
    height: int
    """Size of the upright frame, after rotate and before crop."""
    fps: float
    """Nominal rate of the source; 0 when it has none."""
    live: bool
    """Frames come whether or not anyone takes them (a device or a stream, not a file)."""
    detail: str
    """One line for people: backend, format, what was asked and what was given. No credentials."""
    passed_over: int = 0
    """As in AddCamera: frame `passed_over` + 1 is this source's first."""


class CameraLost(Message):
    """The source failed and will be opened again."""

    camera: str
    reason: str
    cause: Literal["open", "read", "frozen", "blank", "shape", "exit", "removed"] = "read"
    retry_s: float = 0.0


class CameraEnded(Message):
    """The source came to its end and does not loop; sent once every frame was acknowledged."""

    camera: str
    frames: int
    lost: int = 0
    """Of them, what could not be read (files of a folder, frames that cannot be decoded), and what a container promised
    and did not hold."""


class CameraStats(Message):
    """Once a second, per camera. Counters only grow (until the worker restarts)."""

    camera: str
    grabbed: int
    delivered: int
    drops: dict[str, int]
    """Frames not inferred, by cause: "no_credit" (detector busy), "fps_cap", "paused" (held by a client), "held_NAME"
    (held by another NAME), "bad_frame", "not_attached"."""


class Snapshot(Message):
    """Answer to TakeSnapshot; `bytes_` bytes of JPEG are in the memfd that comes with it.

    With `error` set there is no descriptor.
    """

    request: int
    frame: int = 0
    width: int = 0
    height: int = 0
    bytes_: int = 0
    error: str = ""
    passed: bool = False
    """With `error`: none of the frames that were asked for is held any more; newer ones may be."""


# ---- hub -> detector worker


class LoadModel(Message):
    """Load, dry-run, answer ModelReady or ModelRefused. Sent once per worker."""

    config: ModelConfig
    delegate: str
    """The rung to use: "edgetpu[:DEVICE]", "xnnpack", "none" or a path; never "auto"."""
    runtime: str
    """"litert", "tflite-runtime" or "auto"."""


class AttachDetector(Message):
    """Serve this ring. Comes with two descriptors: the memfd and the ring's socket."""

    link: int
    camera: str
    spec: TensorSpec
    slots: int
    keep_every: bool
    """The camera's pace is "every": give a slot back only after its result was sent."""
    priority: float = 1.0


class SetBounds(Message):
    """What the hub will report from now on: the detector passes more than that, and no less."""

    min_score: float | None
    """None: the model's own, ModelReady.min_scores."""
    max_results: int


# ---- detector worker -> hub


class ModelReady(Message):
    name: str
    variant: str
    path: str
    sha256: str
    labels: list[str]
    """labels[class]; a class past the end is called class_N."""
    spec: TensorSpec
    runtime: str
    runtime_version: str
    delegate: str
    """What executes the graph: "edgetpu", "xnnpack", "none" or a path."""
    delegate_nodes: int
    total_nodes: int
    threads: int
    load_ms: float
    first_invoke_ms: float
    notes: list[str]
    """What was decided and why (output order, normalisation, label source), for the log."""
    warnings: list[str]
    min_scores: dict[str, float] = {}
    """By label: the score from which the manifest would report a class; others: vigild.minscores.DEFAULT."""


class ModelRefused(Message):
    """The model, its labels or the delegate cannot be used; the worker exits."""

    code: str
    """A word for programs: "missing", "not_tflite", "truncated", "classifier", "delegate", …"""
    message: str
    """One sentence: what was found, what was expected, what to do."""


class RawDetection(msgspec.Struct, array_like=True):
    label: str
    class_: int
    score: float
    box: Box
    """[xmin, ymin, xmax, ymax] relative to the upright, uncropped frame, clipped to 0..1."""


class Result(Message):
    """One inferred frame."""

    link: int
    camera: str
    frame: int
    captured_ns: int
    wall_ns: int
    width: int
    height: int
    decode_ns: int
    convert_ns: int
    wait_ns: int
    """From the camera's send to the start of the copy into the tensor."""
    copy_ns: int
    invoke_ns: int
    post_ns: int
    """Reading outputs, decoding, filtering."""
    detections: list[RawDetection]
    truncated: bool = False
    file: str = ""
    after: int = 0
    """Number of the frame that the camera handed out before this one, to whichever detector of the group."""
    fault: str = ""
    """Why nothing can be said of this frame, though the network ran: its outputs have no meaning (NaN)."""
    superseded: int = 0
    """Frames of this link that were passed over, since the result before, for a newer one."""


ToCamera = Exit | Trim | Detach | AddCamera | RemoveCamera | AttachCamera | SetLimits | TakeSnapshot
FromCamera = CameraLane | CameraOpened | CameraLost | CameraEnded | CameraStats | Snapshot
ToDetector = Exit | Trim | Detach | LoadModel | AttachDetector | SetBounds
FromDetector = ModelReady | ModelRefused | Result
