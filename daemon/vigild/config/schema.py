"""The keys of the configuration file.

Each field is one key; `Meta(description=...)` is its documentation, `extra` says what a reload does:

    "live"      taken up at once, nothing is interrupted
    "camera"    that camera is closed and opened again; so for each kind of named table, in it and below it
    "detector"  a new detector worker is started beside the old one and takes over
    "restart"   only read at start

Tables nest as the Structs do (`tree`): a new one, named or not, needs its Struct and nothing else.

Values with a unit are written as text in the file ("10 s") and held here in the base unit that the
alias names. None means "not set" and is written by leaving the key out. What one key alone cannot
say (never both, only with files) is in `rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vigild.config.targets import Target
from vigild.tensor import ColorOrder, Resize

# Values with units. `load` turns the file's text into the base unit before msgspec sees it.
Seconds = Annotated[float, Meta(extra={"unit": "duration"})]
Celsius = Annotated[float, Meta(extra={"unit": "temperature"})]
CelsiusDifference = Annotated[float, Meta(extra={"unit": "temperature difference"})]
Bytes = Annotated[int, Meta(extra={"unit": "size"})]

Text = Annotated[str, Meta(min_length=1)]
"""Not empty. (A limit on `str | None` itself is more than msgspec can express.)"""


def key(reload: str, text: str, *, example: str = "", form: str = "", target: Target = "", **limits: Any) -> Meta:
    """A key's documentation, what a reload does with it, and its limits (ge=, le=, ...).

    `example` is a TOML value, for a key that has no default; `form` puts a pattern into words; `target` says what the
    text points at: a file name is relative to the configuration file's folder, and what the daemon would run (a
    command, an exec: source, a library) comes from the file alone, never from a client.
    """
    extra = {"reload": reload, "example": example, "form": form, "target": target}
    return Meta(description=text, extra=extra, **limits)


def named(example: str, *, shown: bool = False) -> Meta:
    """Of tables that the user names: the name of the one in the reference, and whether that is one in force there
    (`shown`) or commented out."""
    return Meta(extra={"example": example, "shown": shown})


_Divisor = Annotated[float, Meta(ge=1e-6)]
"""Of pixel values (0 to 255)."""


class DaemonConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The daemon itself."""

    socket: Annotated[
        Text | None,
        key(
            "restart",
            "The Unix socket. Default: $VIGILD_SOCKET, else vigild.sock below $RUNTIME_DIRECTORY, "
            "else below $XDG_RUNTIME_DIR, else in a folder of mode 0700 of the user's own.",
            example='"/run/vigild/vigild.sock"',
            target="made",
        ),
    ] = None
    socket_mode: Annotated[
        str,
        key(
            "restart",
            "Permissions of the socket file.",
            pattern="^0?[0-7]{3}$",
            form='octal digits in quotes, such as "0660"',
        ),
    ] = "0660"
    privileged_group: Annotated[
        str,
        key(
            "live",
            "Members of this group may use set, swap, pause, resume and reload, beside root and the daemon's own user.",
        ),
    ] = "vigild"
    max_clients: Annotated[
        int,
        key(
            "live",
            "Connections at a time; one more is told so and closed. Two are kept beside them, for root and the "
            "daemon's own user.",
            ge=1,
            le=4096,
        ),
    ] = 64
    allow_no_cameras: Annotated[
        bool,
        key(
            "live",
            "Whether a file that holds no camera means none. If not, vigild run takes the first one it finds, and a "
            "reload that would close every camera is refused: most likely the file was emptied by mistake.",
        ),
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], key("live", "The least severe messages to log.")
    ] = "info"
    health_interval: Annotated[
        Seconds, key("live", "Time between health messages when nothing changes.", ge=0.1, le=3600)
    ] = 5.0


class ModelConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The model, what executes it, and which of its detections are reported."""

    path: Annotated[
        Text | None,
        key("detector", "The .tflite file. Default: the embedded model.", example='"model.tflite"', target="file"),
    ] = None
    name: Annotated[
        Text | None,
        key(
            "detector",
            "An entry of the model manifest, instead of a path.",
            example='"coco_ssd_mobilenet_v1"',
        ),
    ] = None
    variant: Annotated[
        str,
        key(
            "detector",
            "Of a manifest entry, or of the embedded model where nothing is named: auto (what vigild tune found best "
            "on this board, else the first that is here), or a variant's name.",
            min_length=1,
        ),
    ] = "auto"
    labels: Annotated[
        Text | None,
        key(
            "detector",
            "Label file: a name a line, pbtxt, JSON, CSV or YAML. Default: labels inside the model, else class_0, "
            "class_1, ...",
            example='"labels.txt"',
            target="file",
        ),
    ] = None
    sha256: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")] | None,
        key(
            "detector",
            "The file's SHA-256; another file is refused.",
            example='"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
            form="64 hexadecimal digits",
        ),
    ] = None
    runtime: Annotated[
        Literal["auto", "litert", "tflite-runtime"],
        key("detector", "The TFLite runtime: auto takes litert where it works."),
    ] = "auto"
    delegate: Annotated[
        str,
        key(
            "detector",
            "What executes the graph: auto, edgetpu, edgetpu:DEVICE (usb:0, pci:0), xnnpack, none, or the "
            "path (with a slash) of an external delegate's library.",
            target="delegate",
        ),
    ] = "auto"
    delegate_options: Annotated[
        dict[str, str], key("detector", "Options handed to an Edge TPU or external delegate.")
    ] = {}
    threads: Annotated[
        int,
        key(
            "detector",
            'Threads of the interpreter. Left at 1 with variant = "auto": as many as vigild tune found best.',
            ge=1,
            le=64,
        ),
    ] = 1
    detectors: Annotated[
        int,
        key(
            "live",
            "Detector workers that run the model side by side and share the cameras' frames; each takes the memory of "
            "one.",
            ge=1,
            le=8,
        ),
    ] = 1
    color: Annotated[ColorOrder, key("detector", "Order of the colour channels that the model was trained on.")] = "rgb"
    mean: Annotated[
        tuple[float, float, float] | None,
        key(
            "detector",
            "Pixel values (0 to 255, in the order of color) that the model takes as 0: the input is (p - mean) / std. "
            "Default: what the model's file says, else 127.5.",
            example="[127.5, 127.5, 127.5]",
        ),
    ] = None
    std: Annotated[
        tuple[_Divisor, _Divisor, _Divisor] | None,
        key(
            "detector",
            "What pixel values minus mean are divided by. Default: what the model's file says, else 127.5.",
            example="[127.5, 127.5, 127.5]",
        ),
    ] = None
    resize: Annotated[
        Resize,
        key("detector", "How a frame is fitted to the model's input: squash changes its shape, letterbox keeps it."),
    ] = "squash"
    min_score: Annotated[
        Annotated[float, Meta(ge=0.0, le=1.0)] | None,
        key(
            "live",
            "Detections below this score are not reported. Default: what the manifest says of the model, for each of "
            "its classes, else 0.5.",
            example="0.5",
        ),
    ] = None
    max_results: Annotated[int, key("live", "At most this many detections a frame, best first.", ge=1, le=1000)] = 20
    labels_allowed: Annotated[
        list[str], key("live", "Report only these labels; [] means all. Never together with labels_denied.")
    ] = []
    labels_denied: Annotated[list[str], key("live", "Do not report these labels.")] = []


OF_ONE_MODEL = ("path", "name", "variant", "labels", "sha256")
"""Keys of [model] that say which file it is: another model takes over none of them."""


class CameraConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One camera; the table's name ([camera.front]) is the camera's name."""

    source: Annotated[
        str,
        key(
            "camera",
            "/dev/video0 or /dev/v4l/by-id/..., a video file, images:FOLDER, rtsp://..., http(s)://... (MJPEG, or a "
            "picture), exec:COMMAND (MJPEG on its standard output), or testcard.",
            example='"/dev/video0"',
            target="source",
            min_length=1,
        ),
    ]
    size: Annotated[
        tuple[Annotated[int, Meta(ge=16, le=16384)], Annotated[int, Meta(ge=16, le=16384)]] | None,
        key(
            "camera",
            "Width and height to ask of the device, or of the test card. Default: what it offers.",
            example="[1280, 720]",
        ),
    ] = None
    fps: Annotated[
        Annotated[float, Meta(ge=0.001, le=1000)] | None,
        key(
            "live",
            "Frame rate: to ask of a V4L2 device, the rate of the test card and of a folder, and a cap for every "
            'source read with pace = "live". A reload changes the cap and the rate of card and folder at once and '
            "reopens nothing; a device is asked for the new rate when it is opened next. "
            "Default: what the source gives.",
            example="30",
        ),
    ] = None
    fourcc: Annotated[
        Literal["MJPG", "YUYV"] | None,
        key("camera", "Pixel format to ask of a V4L2 device. Default: MJPG.", example='"MJPG"'),
    ] = None
    pace: Annotated[
        Literal["live", "every"],
        key(
            "camera",
            "live: the newest frame wins, the others are counted as dropped. every: each frame of a file, "
            "folder or the test card exactly once.",
        ),
    ] = "live"
    loop: Annotated[bool, key("camera", "Start a file or folder again at its end.")] = False
    rotate: Annotated[Literal[0, 90, 180, 270], key("camera", "Degrees clockwise that make the picture upright.")] = 0
    flip: Annotated[
        Literal["none", "horizontal", "vertical", "both"], key("camera", "Mirror the picture, after rotating.")
    ] = "none"
    crop: Annotated[
        tuple[
            Annotated[float, Meta(ge=0, le=1)],
            Annotated[float, Meta(ge=0, le=1)],
            Annotated[float, Meta(ge=0, le=1)],
            Annotated[float, Meta(ge=0, le=1)],
        ],
        key("camera", "The part of the upright frame the model sees: xmin, ymin, xmax, ymax, relative to the frame."),
    ] = (0.0, 0.0, 1.0, 1.0)
    priority: Annotated[
        float,
        key(
            "live",
            "Share of a busy detector against other cameras': 2 gets twice as many frames as 1.",
            ge=0.001,
            le=100,
        ),
    ] = 1.0
    decode_threads: Annotated[
        int, key("camera", "Threads of the video decoder. More take the interpreter's core.", ge=1, le=16)
    ] = 1
    isolation: Annotated[
        Literal["process", "shared"],
        key(
            "camera",
            "process: a worker of its own. shared: one process for all shared cameras; saves memory, shares "
            "their crashes.",
        ),
    ] = "process"
    open_timeout: Annotated[
        Seconds, key("camera", "A source that takes longer to open is given up and tried again.", ge=0.5, le=120)
    ] = 10.0
    read_timeout: Annotated[
        Seconds, key("camera", "A live source that gives no frame for this long is lost.", ge=0.5, le=120)
    ] = 1.5
    frozen_after: Annotated[
        Seconds,
        key(
            "camera",
            'A live source that repeats one picture to the last bit for this long is lost; "0 s" turns the check off.',
            ge=0,
            le=3600,
        ),
    ] = 1.5
    blank_after: Annotated[
        Seconds,
        key(
            "camera",
            'A live source whose picture is one single colour for this long is lost; "0 s" turns the check off.',
            ge=0,
            le=3600,
        ),
    ] = 1.5
    max_backoff: Annotated[
        Seconds, key("camera", "Longest wait between two attempts to open a lost source.", ge=0.5, le=3600)
    ] = 30.0


class QuietConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Hours with limits of their own: a fan that may not run at night, a shop that is closed."""

    hours: Annotated[
        str,
        key(
            "live",
            'From when to when, by the board\'s clock and time zone, such as "22:00-07:00"; "" means never.',
            pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?$",
            form='two times of the day, such as "22:00-07:00"',
        ),
    ] = ""
    temperature: Annotated[
        Annotated[Celsius, Meta(ge=30, le=110)] | None,
        key(
            "live",
            "The highest temperature in these hours, where it is below the usual budget. Default: the usual budget.",
            example='"60 °C"',
        ),
    ] = None
    max_fps: Annotated[
        Annotated[float, Meta(ge=0.001, le=1000)] | None,
        key("live", "The most frames a second of each camera in these hours. Default: as many as usual.", example="2"),
    ] = None
    pause: Annotated[bool, key("live", "Detect nothing at all in these hours.")] = False


class BudgetConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What the daemon may reach on this board. Shown in health; the governor holds them."""

    temperature: Annotated[
        Annotated[Celsius, Meta(ge=30, le=110)] | None,
        key(
            "live",
            "The highest temperature of the board. Default: 5 °C under the lowest from which its kernel or firmware "
            "slows the CPU or GPU (a Raspberry Pi: 80 °C, a 3 B+: 60 °C); where a fan's last step is not below that, "
            "half way between the two; 75 °C where the board does not say. `vigild sensors` shows it with its reason.",
            example='"75 °C"',
        ),
    ] = None
    memory: Annotated[
        # 1 TiB: more than any board, less than 2^63 of a message's integers.
        Annotated[Bytes, Meta(ge=32 * 2**20, le=2**40)] | None,
        key(
            "live",
            "The most memory of all the daemon's processes together. Default: a tenth (at least 16 MiB) under the "
            "memory limit of its control group; without one a quarter of the board's, from 128 MiB to 1 GiB. "
            "`vigild sensors` shows it with its reason.",
            example='"256 MiB"',
        ),
    ] = None
    hysteresis: Annotated[
        CelsiusDifference,
        key(
            "live",
            "How far below the budget the temperature must be for a climb that failed to be tried again without its "
            "wait. Work is added again well before that.",
            ge=0.5,
            le=30,
        ),
    ] = 5.0
    dwell: Annotated[
        Seconds,
        key("live", "The least time after a change before work is added; it is given up at once.", ge=0, le=3600),
    ] = 10.0
    min_fps: Annotated[
        float, key("live", "The frame rate of a camera that is never gone below while it runs.", ge=0.001, le=1000)
    ] = 1.0
    give_up: Annotated[
        list[Literal["fps", "threads", "variant", "cameras", "pause"]],
        key(
            "live",
            "What may be given up to stay within the budgets, in the order named here: the frame rate down to min_fps, "
            "threads, the model's variant, cameras (the lowest priority first), and last a pause of everything. What "
            "is not named is kept whatever happens; [] means all of them. Threads and variants are those that vigild "
            "tune measured on this board.",
        ),
    ] = []
    variants: Annotated[
        list[str],
        key(
            "live",
            "The variants that may be changed to, the better before the lesser; [] means all that were measured.",
        ),
    ] = []
    quiet: QuietConfig = QuietConfig()


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    daemon: DaemonConfig = DaemonConfig()
    model: ModelConfig = ModelConfig()
    camera: Annotated[dict[str, CameraConfig], named("front", shown=True)] = {}
    budget: BudgetConfig = BudgetConfig()
