"""What a key's text points at: a file, a camera's source, a delegate, a command.

    absolute("file", "model.tflite", Path("/etc/vigild"))    # "/etc/vigild/model.tflite"
    code("source", "exec:rpicam-vid -o -")                   # "an exec: source"
    needed("source", "images:/frames")                       # ["/frames"]

A key says so in `schema` (target); whether a path is relative, whether its file must be there and whether a client
may set it follow from that here. Nothing is looked up on the machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from vigild.config.source import SourceError, parse_source

Target = Literal["", "file", "made", "source", "delegate", "command"]
"""Nothing; a file the daemon reads; one it makes; what `source` reads; a delegate, a library where it has a slash; a
command line."""


def absolute(target: Target, value: Any, folder: Path | None) -> Any:
    """A checked value with the file names in it made absolute; a `folder` of None leaves relative ones as they are."""
    if isinstance(value, list):
        return [absolute(target, item, folder) for item in value]
    if not isinstance(value, str):
        return value
    if target in ("file", "made") or (target == "delegate" and _is_library(value)):
        return _absolute(folder, value)
    if target == "source":
        return _absolute_source(folder, value)
    return value


def code(target: Target, value: object) -> str | None:
    """What of a value the daemon would run as its own user, in words; None if nothing."""
    for text in _texts(value):
        if target == "command" and text:
            return "a command"
        if target == "source" and _kind(text) == "exec":
            return "an exec: source"
        if target == "delegate" and "/" in text:
            return "a library's path"
    return None


def needed(target: Target, value: object) -> list[str]:
    """The files and folders that have to be there for a value."""
    found = []
    for text in _texts(value):
        if target == "file" or (target == "delegate" and _is_library(text)):
            found.append(text)
        elif target == "source" and _kind(text) in ("file", "images"):
            found.append(parse_source(text).target)
    return found


def _texts(value: object) -> list[str]:
    """A text, or the texts of an array."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _is_library(delegate: str) -> bool:
    return "/" in delegate and not delegate.startswith("edgetpu:")


def _kind(source: str) -> str:
    try:
        return parse_source(source).kind
    except SourceError:
        return ""


def _absolute(folder: Path | None, text: str) -> str:
    if text == "~" or text.startswith("~/"):
        return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises where there is no home
    return text if folder is None else os.path.normpath(folder / text)


def _absolute_source(folder: Path | None, text: str) -> str:
    try:
        source = parse_source(text)
    except SourceError:
        return text  # `rules` says what is wrong with it
    if source.kind == "file":
        return _absolute(folder, source.target)
    if source.kind == "images":
        return "images:" + _absolute(folder, source.target)
    return text.strip()
