"""What a child does with a case: read its files as the daemon does.

    outcome = run(case, folder)            # "loaded", "refused: truncated"; raises what the reader let through

A refusal whose text is of no use to a person, and a value that could not be sent on, raise `Unfit`.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from fuzz.case import Case
from vigild.catalogue import library
from vigild.catalogue.entry import ManifestError
from vigild.catalogue.resolve import resolve
from vigild.config.load import ConfigError, load_file
from vigild.config.schema import ModelConfig
from vigild.detector import labels
from vigild.detector.errors import ModelError
from vigild.detector.model import load
from vigild.detector.selection import Selection
from vigild.geometry import View
from vigild.ipc.channel import MAX_PACKET_BYTES
from vigild.wire.framing import Line, LineReceiver, encode_line, parse_server_message
from vigild.wire.messages import Error
from vigild.wire.requests import RequestError, parse_request

MAX_SENTENCE = 1200
"""Characters: a few lines on a screen. Many a message carries a path, a list of names or the runtime's own words."""


class Unfit(Exception):
    """Handled, but not as promised: `what` is the same for the same defect."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"{what}: {detail}" if detail else what)
        self.what = what


def check_sentence(text: str) -> None:
    """Raises Unfit unless `text` is a line for a person."""
    if not text.strip():
        raise Unfit("the refusal is empty")
    if len(text) > MAX_SENTENCE:
        raise Unfit("the refusal is too long", f"{len(text)} characters: {text[:300]!r}...")
    if "Traceback" in text or " object at 0x" in text:
        raise Unfit("the refusal speaks to programmers", repr(text))
    _check_line(text, "the refusal")


def _check_line(text: str, what: str) -> None:
    """Raises Unfit for line ends and for what would steer a terminal."""
    odd = sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")})
    if odd:
        raise Unfit(f"{what} would steer a terminal", f"{odd} in {text[:300]!r}")


def _environment(folder: Path) -> dict[str, str]:
    return {"VIGILD_MANIFEST": str(folder / "manifest.toml"), "VIGILD_MODELS": str(folder), "HOME": str(folder)}


def _model(case: Case, folder: Path) -> str:
    given = {"labels": str(folder / "labels.txt")} if "labels.txt" in case.files else {}
    config = ModelConfig(path=str(folder / "model.tflite"), **given)
    delegate = case.options.get("delegate", "xnnpack")
    try:
        model = load(config, delegate, config.runtime)
    except ModelError as error:
        check_sentence(error.message)
        return f"refused: {error.code}"
    ready = model.ready
    packed = len(msgspec.msgpack.encode(ready))
    if packed > MAX_PACKET_BYTES:
        raise Unfit("ModelReady is too long", f"{packed} bytes; a packet has {MAX_PACKET_BYTES}")
    for text in (*ready.notes, *ready.warnings, *ready.labels):
        _check_line(text, "a note, warning or label")
    wanted = Selection(model.labels, 0.0, 1000)
    for fill in (0, 255):
        model.input_view().view(np.uint8).fill(fill if ready.spec.dtype != "float32" else 0)
        model.interpreter.invoke()
        for found in model.decode(View(), wanted)[0]:
            if not (all(0.0 <= edge <= 1.0 for edge in found.box) and 0.0 <= found.score <= 1.0):
                raise Unfit("a detection is out of range", str(found))
            _check_line(found.label, "a detection's label")
    return "loaded"


def _labels(case: Case, folder: Path) -> str:
    try:
        names, note = labels.read_file(str(folder / "labels.txt"), int(case.options["classes"]))
    except ModelError as error:
        check_sentence(error.message)
        return f"refused: {error.code}"
    for text in (*names, note):
        _check_line(text, "a label or note")
        if not text or len(text.encode()) > 300:
            raise Unfit("a label is empty or too long", f"{len(text)} characters")
    return "loaded"


def _archive(case: Case, folder: Path) -> str:
    try:
        found = labels.from_archive(str(folder / "model.tflite"), ["labels.txt"], int(case.options["classes"]))
    except ModelError as error:
        check_sentence(error.message)
        return f"refused: {error.code}"
    if found is None:
        return "none"
    for text in (*found[0], found[1]):
        _check_line(text, "a label or note")
    return "loaded"


def _manifest(case: Case, folder: Path) -> str:
    environment = _environment(folder)
    try:
        known = library.load(environment, system=folder / "none")
    except ManifestError as error:
        check_sentence(error.message)
        return f"refused: {error.code}"
    for problem in known.problems:
        check_sentence(problem)
    outcome = "refused: manifest" if known.problems else "loaded"
    # Reading the manifests takes ten times as long as the rest, and `resolve` does it each time.
    for delegate, variant in (("xnnpack", "auto"), ("edgetpu", "tpu"), ("none", "grid")):
        try:
            resolve(ModelConfig(name="own", variant=variant), delegate, environment)
        except ManifestError as error:
            check_sentence(error.message)
    return outcome


def _config(case: Case, folder: Path) -> str:
    try:
        load_file(folder / "vigild.toml")
    except ConfigError as error:
        if not error.problems:
            raise Unfit("refused without a problem") from None
        for problem in error.problems:
            check_sentence(problem)
            if "secret@" in problem:
                raise Unfit("a password in a message", repr(problem)) from None
        return "refused"
    return "loaded"


def _wire(case: Case, folder: Path) -> str:
    data = case.files["stream"]
    cut = int(case.options["cut"])
    whole, pieces = LineReceiver(65536, 2**18), LineReceiver(65536, 2**18)
    events = whole.receive(data)
    if events != [event for at in range(0, len(data), cut) for event in pieces.receive(data[at : at + cut])]:
        raise Unfit("the lines depend on how the stream is cut")
    if whole.receive_eof() != pieces.receive_eof():
        raise Unfit("the end depends on how the stream is cut")
    outcome = "nothing"
    for event in events:
        if not isinstance(event, Line):
            continue
        try:
            encode_line(parse_request(event.data))
            outcome = "loaded"
        except RequestError as error:
            outcome = f"refused: {error.code}"
            if not error.message.strip() or len(error.message) > 4000:
                raise Unfit("the error is empty or too long", repr(error.message[:300])) from None
            if encode_line(Error(code=error.code, message=error.message)).count(b"\n") != 1:
                raise Unfit("an error of several lines") from None
        with contextlib.suppress(msgspec.DecodeError):
            parse_server_message(event.data)
    return outcome


TARGETS: dict[str, Callable[[Case, Path], str]] = {
    "model": _model,
    "labels": _labels,
    "archive": _archive,
    "manifest": _manifest,
    "config": _config,
    "wire": _wire,
}

FORKED_EACH = frozenset({"model"})
"""Native code may leave a process damaged without ending it, so each of these gets a child of its own."""


def run(case: Case, folder: Path) -> str:
    """Read the case; its files are in `folder` already, and nothing else is."""
    os.environ.update(_environment(folder))
    return TARGETS[case.target](case, folder)
