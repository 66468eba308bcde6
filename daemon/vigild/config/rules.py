"""What one key alone cannot say: which keys go together.

    faults(config.camera["front"])   # [Problem("pace", 'found "every", but ...')]
    unused(config)                   # keys that are set and have no effect, as sentences

Pure: nothing is looked up on the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from vigild import plain
from vigild.closest import closest
from vigild.config.schema import BudgetConfig, CameraConfig, Config, DaemonConfig, ModelConfig, QuietConfig
from vigild.config.source import SourceError, SourceSpec, parse_source
from vigild.config.values import show

TABLE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

MAX_SOCKET_PATH_BYTES = 107
"""sun_path of sockaddr_un (unix(7)) is 108 bytes with the final NUL."""


class Problem(NamedTuple):
    """One sentence about one key of a table."""

    key: str
    text: str


class _Rule(NamedTuple):
    key: str
    """The one that is blamed."""
    check: Callable[[Any], str | None]


def _socket(daemon: DaemonConfig) -> str | None:
    length = len(os.fsencode(daemon.socket or ""))
    if length > MAX_SOCKET_PATH_BYTES:
        return (
            f"found {show(daemon.socket)}, a path of {length} bytes, but a Unix socket's is at most "
            f"{MAX_SOCKET_PATH_BYTES}; use a shorter one"
        )
    return None


def _path_or_name(model: ModelConfig) -> str | None:
    if model.path is not None and model.name is not None:
        return f"found {show(model.path)} beside model.name = {show(model.name)}; set one of the two"
    return None


def _variant(model: ModelConfig) -> str | None:
    if model.path is not None and model.variant != "auto":
        return (
            f"found {show(model.variant)}, but variants belong to manifest entries and model.path is set; "
            "remove one of the two"
        )
    return None


def _allowed_or_denied(model: ModelConfig) -> str | None:
    if model.labels_allowed and model.labels_denied:
        return f"found {show(model.labels_allowed)} beside model.labels_denied; set one of the two"
    return None


_DELEGATE = re.compile(r"auto|xnnpack|none|edgetpu(:[A-Za-z0-9:./_-]+)?", re.ASCII)


def _delegate(model: ModelConfig) -> str | None:
    if _DELEGATE.fullmatch(model.delegate) or "/" in model.delegate:
        return None
    hint = ""
    if ".so" in model.delegate:
        hint = f'; write "./{model.delegate}" for a library beside the file'
    expected = "auto, edgetpu, edgetpu:DEVICE, xnnpack, none or a path with a slash"
    return f"found {show(model.delegate)}, expected {expected}{hint}"


def _delegate_options(model: ModelConfig) -> str | None:
    if model.delegate_options and model.delegate in ("xnnpack", "none"):
        return f"found options for the delegate {show(model.delegate)}, which takes none; remove them"
    return None


def _source_of(camera: CameraConfig) -> SourceSpec | None:
    try:
        return parse_source(camera.source)
    except SourceError:
        return None


def _source(camera: CameraConfig) -> str | None:
    try:
        parse_source(camera.source)
    except SourceError as error:
        return f"found {show(camera.source)}: {error}"
    return None


def _pace(camera: CameraConfig) -> str | None:
    source = _source_of(camera)
    if source and camera.pace == "every" and not source.replayable:
        return (
            f'found "every", but {show(camera.source)} does not wait to be read; "every" is for files, folders and '
            'the test card, write "live"'
        )
    return None


def _loop(camera: CameraConfig) -> str | None:
    source = _source_of(camera)
    if source and camera.loop and not source.replayable:
        return f"found true, but {show(camera.source)} has no end to start again from; only files and folders can loop"
    return None


def _crop(camera: CameraConfig) -> str | None:
    xmin, ymin, xmax, ymax = camera.crop
    if xmin < xmax and ymin < ymax:
        return None
    return f"found {show(list(camera.crop))}, expected xmin, ymin, xmax, ymax with xmin below xmax and ymin below ymax"


def _two_times(quiet: QuietConfig) -> str | None:
    start, _, end = quiet.hours.partition("-")
    if quiet.hours and start == end:
        return f"found {show(quiet.hours)}, expected two different times; for the whole day set the usual budget"
    return None


def _quiet_says_something(quiet: QuietConfig) -> str | None:
    if not quiet.hours or quiet.pause or quiet.temperature is not None or quiet.max_fps is not None:
        return None
    return "hours alone limit nothing; add temperature, max_fps or pause = true"


def _pause_is_last(budget: BudgetConfig) -> str | None:
    order = list(budget.give_up)
    if "pause" not in order[:-1]:
        return None
    return f'found {show(order)}, but a pause leaves nothing else to give up; put "pause" last'


_RULES: dict[type[msgspec.Struct], tuple[_Rule, ...]] = {
    DaemonConfig: (_Rule("socket", _socket),),
    BudgetConfig: (_Rule("give_up", _pause_is_last),),
    QuietConfig: (_Rule("hours", _two_times), _Rule("hours", _quiet_says_something)),
    ModelConfig: (
        _Rule("path", _path_or_name),
        _Rule("variant", _variant),
        _Rule("labels_allowed", _allowed_or_denied),
        _Rule("delegate", _delegate),
        _Rule("delegate_options", _delegate_options),
    ),
    CameraConfig: (
        _Rule("source", _source),
        _Rule("pace", _pace),
        _Rule("loop", _loop),
        _Rule("crop", _crop),
    ),
}


def faults(table: msgspec.Struct) -> Iterator[Problem]:
    """What is wrong between the keys of one table. Defaults go with everything, so they may stand for a
    key that is wrong by itself."""
    for name in table.__struct_fields__:
        value = getattr(table, name)
        texts = value if isinstance(value, (list, tuple)) else [value]
        if name != "source" and any(isinstance(text, str) and not plain.is_text(text) for text in texts):
            yield Problem(name, f"found {show(value)}, with bytes that are no UTF-8; rename it, or name a link to it")
    for rule in _RULES.get(type(table), ()):
        text = rule.check(table)
        if text is not None:
            yield Problem(rule.key, text)


def table_name(kind: str, name: str) -> str | None:
    """What is wrong with the name that the user gave a table of this kind, or None."""
    if TABLE_NAME.fullmatch(name):
        return None
    return f"found the {kind} name {show(name)}, expected 1 to 64 letters, digits, _ and -"


_LABELS_TOLD = 12


def unknown_labels(model: ModelConfig, labels: Collection[str]) -> list[str]:
    """Names in labels_allowed and labels_denied that no class of the model in force has, as sentences with the nearest
    one. `labels`: of all models in force; empty: not known, and nothing is said."""
    found = []
    for key in ("labels_allowed", "labels_denied"):
        for name in getattr(model, key) if labels else ():
            if name in labels or re.fullmatch(r"class_\d+", name):
                continue
            near = closest(name, labels)
            shown = ", ".join(sorted(labels)[:_LABELS_TOLD]) + (", ..." if len(labels) > _LABELS_TOLD else "")
            hint = f"did you mean {near}?" if near else f"it knows {shown}"
            found.append(f"model.{key}: found {show(name)}, which no class of the model is called; {hint}")
    return found


_ONLY_FOR: dict[str, frozenset[str]] = {
    "fourcc": frozenset({"v4l2"}),
    "size": frozenset({"v4l2", "testcard"}),
    "decode_threads": frozenset({"file", "rtsp", "http"}),
}


def unused(config: Config) -> list[str]:
    """Keys that are set but have no effect on what they are set for, as sentences. Not errors: a
    source is often replaced on the command line, and its settings stay in the file."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(CameraConfig)}
    found: list[str] = []
    for name, camera in config.camera.items():
        source = _source_of(camera)
        for key, kinds in _ONLY_FOR.items():
            if source and source.kind not in kinds and getattr(camera, key) != defaults[key]:
                found.append(f"camera.{name}.{key} has no effect on the source {show(camera.source)}")
        if camera.fps is not None and camera.fps < config.budget.min_fps:
            found.append(
                f"camera.{name}.fps ({camera.fps:g}) is below budget.min_fps ({config.budget.min_fps:g}), "
                "so the governor cannot lower its rate"
            )
    return found
