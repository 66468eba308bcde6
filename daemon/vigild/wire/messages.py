"""What the daemon says on its socket (protocol 1).

    message = Detections(camera="front", frame=7, ...)
    encode_line(message)             # b'{"type":"detections",...}\\n'     (framing.py)

One frozen struct per object. A field whose value is None or the default is left out, never written
as null; readers ignore fields they do not know. Boxes are [xmin, ymin, xmax, ymax], relative (0..1)
to the upright, uncropped camera frame, clipped and finite. `time` is wall time, for people
(RFC 3339, UTC, milliseconds); everything ending in `_ns` is CLOCK_MONOTONIC.
"""

from __future__ import annotations

import base64
import functools
import time
from typing import Any, Literal

import msgspec

from vigild.geometry import Box

PROTOCOL = "1.1"
"""major.minor: a new major may break clients, a new minor only adds."""

HEARTBEAT_INTERVAL_S = 2.0
"""Every camera's heartbeat reaches every watching client this often; longer silence means a fault."""

Status = Literal["ok", "degraded", "stale", "no_frame", "paused"]
"""ok; degraded (a lower rung or operating point, or below the wanted rate); stale (the last inference is older than 3
frame periods or 1 s); no_frame (camera lost, frozen or blank); paused (by request)."""

Topic = Literal["detections", "health", "event"]
"""What a client may subscribe to; heartbeats come with any of them, and with none."""

RequestId = str | int


def wall_time(wall_ns: int) -> str:
    """`time` of a message: CLOCK_REALTIME nanoseconds as RFC 3339 in UTC, to the millisecond."""
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    return f"{_to_the_second(seconds)}.{rest_ns // 1_000_000:03}Z"


@functools.lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    """Kept, because all frames of a second share it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Object(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what stands inside a message."""


class Message(Object, frozen=True, kw_only=True, tag_field="type"):
    """Base of what stands on a line of its own."""


# ---- the daemon and its model


class CameraInfo(Object, frozen=True, kw_only=True):
    name: str
    size: tuple[int, int] | None = None
    """Width and height of the upright frame in pixels; absent until the camera has been open once."""


class ModelInfo(Object, frozen=True, kw_only=True):
    name: str
    variant: str
    sha256: str
    """Of the model file, in hexadecimal."""
    labels: list[str]
    """labels[class]; a class past the end is called class_N."""


class Limits(Object, frozen=True, kw_only=True):
    """What this socket bears; what happens beyond each is in docs/clients.md."""

    clients: int
    """Connections at a time."""
    request_bytes: int
    """Longest request line, its newline not counted."""
    requests_per_second: int
    """Beyond it requests wait."""
    queue_lines: int
    queue_bytes: int
    """`detections` lines waiting for a slow client; beyond either bound the oldest goes."""
    pending_bytes: int
    """All that waits for a client; beyond it the connection is closed."""
    stall_s: float
    """A connection that accepts no byte for this long, while some wait, is closed."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The first line of every connection."""

    protocol: str
    version: str
    """Of the daemon."""
    instance: str
    """Another one after each start of the daemon."""
    cameras: list[CameraInfo]
    model: ModelInfo | None = None
    """Absent while none is loaded."""
    limits: Limits | None = None
    """Filled in by the server."""


# ---- the stream


class Detection(Object, frozen=True, kw_only=True, rename={"class_": "class"}):
    label: str
    class_: int
    """`class` on the wire: index into the model's labels."""
    score: float
    """0..1"""
    box: Box


class Detections(Message, frozen=True, kw_only=True, tag="detections"):
    """The result for one inferred frame.

    `seq` and `dropped` are the server's to fill in, per client: `seq` counts from 1 the lines meant
    for this client, `dropped` the ones among them thrown away so far because it read too slowly.
    A gap in `seq` is always explained by `dropped`.
    """

    seq: int = 0
    dropped: int = 0
    camera: str
    frame: int
    """Number of the frame, per camera."""
    size: tuple[int, int]
    """Width and height of the upright frame in pixels."""
    time: str
    """Wall time of the capture."""
    captured_ns: int
    """When grab() returned."""
    age_ms: float
    """From the capture to the hub's queueing of this message."""
    infer_ms: float
    """The interpreter's invoke() alone."""
    model: str
    variant: str
    status: Status
    detections: list[Detection]
    """Best first."""
    truncated: bool = False
    """There were more than model.max_results."""
    file: str | None = None
    """Of file and folder sources: the file the frame is from."""


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Every HEARTBEAT_INTERVAL_S per camera, to every client that watches it."""

    camera: str
    status: Status
    frame: int
    """The newest inferred frame's number; 0 before the first."""


class Event(Message, frozen=True, kw_only=True, tag="event"):
    """Something changed. `kind` is a word for programs, `reason` a sentence for people.

    More kinds may come with any minor version.
    """

    kind: str
    time: str
    camera: str | None = None
    """Absent when it concerns the whole daemon."""
    reason: str | None = None
    model: ModelInfo | None = None
    """With kind "model", after each swap."""


# ---- health


class Memory(Object, frozen=True, kw_only=True):
    used_bytes: int
    budget_bytes: int
    source: str
    """Where the figure is from: "pss", "rss", "cgroup"."""
    words: str = ""
    """The same for people, and what tells how short memory is."""
    processes: dict[str, int] = {}
    """Bytes by worker name, "hub" among them."""


class OperatingPoint(Object, frozen=True, kw_only=True):
    model: str
    variant: str
    runtime: str
    runtime_version: str
    delegate: str
    """"edgetpu", "xnnpack", "none" or a path."""
    delegate_nodes: int
    """Nodes of the graph that the delegate really took,"""
    total_nodes: int
    """of so many."""
    threads: int
    fps_cap: float | None = None
    """Frames/s per camera the governor allows; absent while it does not limit."""


class Quantiles(Object, frozen=True, kw_only=True):
    """Milliseconds, over the last few hundred frames."""

    p50: float
    p95: float
    p99: float


class WorkerHealth(Object, frozen=True, kw_only=True):
    name: str
    kind: str
    """"camera" or "detector"."""
    pid: int
    """0 while none runs."""
    state: str
    restarts: int
    reason: str | None = None
    """Why it was last restarted."""
    operating_point: OperatingPoint | None = None
    """Of a detector that has a model loaded."""
    latency_ms: dict[str, Quantiles] = {}
    """Of a detector, by stage."""


class CameraHealth(Object, frozen=True, kw_only=True):
    status: Status
    fps: float
    """Frames/s that the source gives."""
    inferred_fps: float
    frame: int
    """The newest inferred frame's number; 0 before the first."""
    drops: dict[str, int]
    """Frames not inferred, by cause."""
    reason: str | None = None
    """Why the status is not ok."""
    max_fps: float | None = None
    """The lowest cap on its rate that was set while running; absent while there is none."""
    holds: list[str] = []
    """Who keeps it from running: "client", "governor", "schedule", "gate"."""


class ClientHealth(Object, frozen=True, kw_only=True):
    id: int
    """Number of the connection since the daemon's start."""
    pid: int
    """Of the process that connected; 0 if it is in another PID namespace."""
    watching: bool
    sent: int
    """`detections` lines sent whole."""
    dropped: int
    pending_bytes: int
    """Waiting in the hub (the kernel's buffer not counted)."""


class Warming(Object, frozen=True, kw_only=True):
    """How the board warms, as far as it is learned: °C for a frame a second of the operating point, for without a
    wattmeter nobody knows K/W."""

    rest_celsius: float
    """°C that the sensor would show without this work."""
    die_celsius_per_fps: float
    die_seconds: float
    """Time constant of what comes within seconds."""
    board_celsius_per_fps: float
    board_seconds: float
    """Time constant of what comes within minutes."""
    celsius_per_fps_deviation: float
    """Standard deviation of the two together."""
    sure: bool
    """False: a careful guess as yet."""


class BudgetHealth(Object, frozen=True, kw_only=True):
    """What the budgets give up now, and what was learned of the board."""

    degraded: str = ""
    """What is given up and why; absent while nothing is."""
    point: str = ""
    """The operating point they ask for."""
    moves: dict[str, int] = {}
    """Since the start, by kind."""
    board: str = ""
    """What this board could hold for ever, in words; absent while too little is known."""
    warming: Warming | None = None
    """What that follows from; absent as long."""
    temperature_why: str = ""
    memory_why: str = ""
    """Where the two budgets come from."""


class Health(Message, frozen=True, kw_only=True, tag="health"):
    """On change and every few seconds."""

    time: str
    uptime_s: float
    temperatures: dict[str, float]
    """°C by thermal zone."""
    flags: list[str]
    """Raised now: "under_voltage", "throttled", ..."""
    memory: Memory
    workers: list[WorkerHealth]
    cameras: dict[str, CameraHealth]
    latency_ms: dict[str, Quantiles]
    """By stage, of all detectors together."""
    clients: list[ClientHealth]
    operating_point: OperatingPoint | None = None
    """Of the first detector; absent while no model is loaded."""
    lost: list[str] = []
    """Sensors that the temperature budget is for and that cannot be read any more."""
    temperature_budget: float | None = None
    """°C, in force now: that of the quiet hours while they last, where it is the lower one."""
    budget: BudgetHealth | None = None
    faults: int = 0
    """Exceptions within the daemon that nobody expected, since its start; its log has them."""
    unsent: dict[str, int] = {}
    """Messages that "journal" or "systemd" did not take in time, since the start: nobody waits for either."""


# ---- answers; `id` is the request's


class Answer(Message, frozen=True, kw_only=True):
    """Base of the answers."""

    id: RequestId | None = None


class Watching(Answer, frozen=True, kw_only=True, tag="watching"):
    """Answers `watch`: the policy in force. What is absent does not limit."""

    events: list[Topic]
    empty: bool
    cameras: list[str] | None = None
    labels: list[str] | None = None
    min_score: float | None = None
    max_fps: float | None = None


class Unwatched(Answer, frozen=True, kw_only=True, tag="unwatched"):
    """Answers `unwatch`."""


class StatusAnswer(Answer, frozen=True, kw_only=True, tag="status"):
    """Answers `status`."""

    version: str
    instance: str
    pid: int
    socket: str
    cameras: list[CameraInfo]
    health: Health
    model: ModelInfo | None = None
    config: dict[str, Any] = {}
    """Settings in force by dotted key; no credentials."""
    config_file: str | None = None


class SnapshotAnswer(Answer, frozen=True, kw_only=True, tag="snapshot"):
    """Answers `snapshot`: the last inferred frame."""

    camera: str
    frame: int
    size: tuple[int, int]
    """Width and height of the picture in pixels."""
    format: str
    """"jpeg"."""
    data: str
    """The file, in base64."""
    time: str | None = None
    """Wall time of the capture."""
    detections: list[Detection] = []

    @property
    def picture(self) -> bytes:
        """The file's bytes."""
        return base64.b64decode(self.data)


class Pong(Answer, frozen=True, kw_only=True, tag="pong"):
    """Answers `ping`."""


class Ok(Answer, frozen=True, kw_only=True, tag="ok"):
    """Answers `set`, `swap`, `pause`, `resume` and `reload`: what changed, in a line for people."""

    message: str


class Error(Answer, frozen=True, kw_only=True, tag="error"):
    """A request that was not carried out, or why the connection is about to be closed."""

    code: str
    """A word for programs; docs/clients.md lists them."""
    message: str


ServerMessage = (
    Hello
    | Detections
    | Heartbeat
    | Event
    | Health
    | Watching
    | Unwatched
    | StatusAnswer
    | SnapshotAnswer
    | Pong
    | Ok
    | Error
)
"""Every line the daemon may send."""
