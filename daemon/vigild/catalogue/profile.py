"""What was measured on this board, as a file: tune.json.

    profile = load(path)                          # raises ProfileError
    profile.models["coco_ssd_mobilenet_v1"].rows
    stale(profile, this_board())                  # "" while it holds, else why it does not

It is looked for in `places` and written to the first of them that its user may write to, or where
`$VIGILD_PROFILE` says. Milliseconds, bytes and °C throughout.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from vigild import files, plain
from vigild.board.identity import model_name, processor
from vigild.catalogue import store
from vigild.decoding import encoded

FORMAT = 1
FILE = "tune.json"
MAX_BYTES = 16 * 2**20
"""A row has 1 KB; a model of 64 variants on 3 rungs with 5 numbers of threads gives 1000."""

SYSTEM = store.SYSTEM.parent


class ProfileError(Exception):
    """There is a profile, but it cannot be used: a clause, what was found."""


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement holds for."""

    model: str
    """ "Raspberry Pi 4 Model B Rev 1.4"; empty when the board does not say."""
    machine: str
    """ "aarch64" """
    processor: str
    cores: int


class Budgets(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a setting may take; None: as much as it likes."""

    memory_bytes: int | None = None
    """Of all the daemon's processes together."""
    latency_ms: float | None = None
    """p95 of one inference."""
    temperature_celsius: float | None = None


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How right a variant is on one delegate, on some pictures."""

    pictures: int
    agreement: float | None = None
    """0..1: the share of detections, its own and the reference's, that the other has too."""
    score_error: float | None = None
    """Mean difference of the scores of what both found."""
    reference: str = ""
    """The variant it is compared with."""
    ap: float | None = None
    """COCO AP, IoU 0.50:0.95 (0..1)."""
    ap50: float | None = None
    found: int | None = None
    missed: int | None = None
    invented: int | None = None
    """Of the test card's shapes, whose truth is known."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One setting, measured. Times are medians over the rounds of what a round's p50, p95, ... were."""

    variant: str
    delegate: str
    """The rung it was loaded on: "edgetpu", "xnnpack", "none" or a path."""
    threads: Annotated[int, msgspec.Meta(ge=0, le=64)]
    """As model.threads may be; 0 for a file that cannot be used."""
    sha256: str = ""
    file_bytes: int = 0
    width: int = 0
    height: int = 0
    dtype: str = ""
    runtime: str = ""
    runtime_version: str = ""
    delegate_nodes: int = 0
    """Nodes of the graph that the delegate really took,"""
    total_nodes: int = 0
    """of so many."""
    rounds: int = 0
    inferences: int = 0
    load_ms: float = 0.0
    first_ms: float = 0.0
    """The first invoke(), which packs weights."""
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    spread_ms: float = 0.0
    """Between the largest and the smallest p50 of a round."""
    cpu_ms: float = 0.0
    """CPU time for one frame, all threads together: copying, invoke(), decoding."""
    cores_busy: float = 0.0
    """CPU time by wall time, at full speed."""
    memory_bytes: int = 0
    """The most that a process with NumPy, the runtime and the model held (peak resident size)."""
    celsius: float | None = None
    """The hottest sensor, at its hottest."""
    rise_celsius: float | None = None
    """In a round of measuring, at full speed."""
    flags: list[str] = []
    """What limited the board meanwhile: "under_voltage", ..."""
    others_busy: float = 0.0
    """Cores that other processes kept busy meanwhile, at the most: above 0.3 the times say little."""
    sustained_fps: float | None = None
    """Frames a second that this board holds for ever below the temperature of ModelProfile.sustained and in the room of
    then; at most what it carries at full speed. None: `vigild tune --sustained` did not measure this delegate, or
    could not tell."""
    duty: float | None = None
    """0..1: the share of time in which invoke() is at work at that rate. Times `cores_busy` it is the cores that are
    kept busy for ever: what the battery and the heat sink feel."""
    accuracy: Accuracy | None = None
    dropped: str = ""
    """Why it was not measured to the end."""
    failed: str = ""
    """Why it does not run here."""

    @property
    def full_fps(self) -> float:
        """Frames a second at full speed, as budgets count them; 0 where nothing was measured."""
        return 1000 / self.p50_ms if self.p50_ms > 0 else 0.0

    @property
    def works(self) -> bool:
        return not self.failed and self.rounds > 0 and self.threads > 0


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """What `vigild tune --sustained` found, of the one setting that ran. Frames are those of this setting."""

    variant: str
    delegate: str
    threads: int
    fps: float
    """That hold `celsius` for ever; may be more than the setting carries."""
    deviation_fps: float
    """Standard deviation."""
    full_fps: float
    """At full speed."""
    celsius: float
    """The budget that was held."""
    rest_celsius: float
    """What the sensor shows without this work, in the room of then."""
    die_celsius: float
    board_celsius: float
    """What full speed adds within seconds, and within minutes."""
    die_seconds: float
    board_seconds: float
    """The time constants."""
    flags: list[str] = []
    """What limited the board meanwhile: "under_voltage", ..."""
    measured: str
    """When, for people (RFC 3339)."""


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one model."""

    preferred: str
    """The runtime that was installed and asked for, with its release: another one makes the profile stale."""
    measured: str
    """When, for people (RFC 3339)."""
    budgets: Budgets
    """What was asked for when it was measured: what is chosen has to fit."""
    rows: list[Row]
    sustained: Sustained | None = None
    """Where that was measured."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    format: int
    board: Board
    models: dict[str, ModelProfile]
    """By the names of the manifest."""


def this_board(root: Path = Path("/")) -> Board:
    """The board this runs on; `root` is what /proc and /sys are below."""
    found = processor(root)
    return Board(
        model=model_name(root),
        machine=os.uname().machine,
        processor=found.name,
        cores=found.cores or os.cpu_count() or 1,
    )


# ---- the file


def places(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> list[Path]:
    """Where the profile is looked for, first to last. With $VIGILD_PROFILE: only there."""
    if environ.get("VIGILD_PROFILE"):
        return [Path(os.path.abspath(environ["VIGILD_PROFILE"]))]  # noqa: PTH100 - a link stays one
    found: list[Path] = []
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state.startswith("/"):
        found.append(Path(state) / FILE)
    found.append(system / FILE)
    own, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if own.startswith("/"):
        found.append(Path(own) / "vigild" / FILE)
    elif home.startswith("/"):
        found.append(Path(home) / ".local" / "state" / "vigild" / FILE)
    return list(dict.fromkeys(found))


def find(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Path | None:
    """The first profile that is there, as far as this user may look."""
    return next((path for path in places(environ, system) if store.present(path)), None)


def own_place(environ: Mapping[str, str] = os.environ, system: Path = SYSTEM) -> Path:
    """The first of `places` that this user may write to, else the last."""
    candidates = places(environ, system)
    return next((path for path in candidates if store.writable(path.parent)), candidates[-1])


def load(path: Path) -> Profile:
    """Raises ProfileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ProfileError(f"{path} is larger than {MAX_BYTES // 2**20} MiB, which no profile is")
        profile = msgspec.json.decode(data, type=Profile)
    except OSError as error:
        raise ProfileError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise ProfileError(f"{path} is no profile of vigild tune ({plain.sentence(str(error))})") from None
    if profile.format != FORMAT:
        raise ProfileError(f"{path} has format {profile.format}; this version of vigild reads {FORMAT}")
    return profile


def save(path: Path, profile: msgspec.Struct) -> None:
    """Write whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, msgspec.json.format(encoded(msgspec.json.encode, profile), indent=1) + b"\n")


def merged(old: Profile | None, board: Board, name: str, model: ModelProfile) -> Profile:
    """`old` with `model` in place of its namesake; measurements of another board go."""
    kept = old.models if old is not None and not stale(old, board) else {}
    return Profile(format=FORMAT, board=board, models={**kept, name: model})


# ---- whether it holds


def stale(profile: Profile, board: Board) -> str:
    """Why what was measured does not hold on `board`: a clause, empty while it does."""
    if profile.board == board:
        return ""
    return f"it was measured on another board ({_describe(profile.board)}; this is {_describe(board)})"


def stale_runtime(model: ModelProfile, preferred: str) -> str:
    """Why it does not hold for this runtime (`vigild.runtimes.preferred`): a clause, empty while it does."""
    if model.preferred == preferred:
        return ""
    return f"it was measured with {model.preferred}, and what is to run here is {preferred}"


def _describe(board: Board) -> str:
    cores = f"{board.cores} core{'' if board.cores == 1 else 's'}"
    return ", ".join(filter(None, (board.model, board.machine, board.processor, cores)))
