"""What a manifest says of a model.

    entry.variants[0].file                 # "ssd_mobilenet_v2_coco_quant_postprocess_edgetpu.tflite"
    entry.variant("uint8").sha256          # 64 hexadecimal digits, or "" when not known yet

An entry is a network, a variant one build of it with its own tensor settings. The order of the
variants is the order of preference.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from vigild import plain
from vigild.catalogue.decoding import Decoding
from vigild.tensor import ColorOrder, Dtype, Layout, Resize

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
NAME_FORM = "1 to 64 letters, digits, ., _ and -, starting with a letter or digit"

EDGETPU = "edgetpu"


class ManifestError(Exception):
    """A manifest, or what it says of a model, cannot be used.

    `code` is one of the detector's words for programs: "manifest", "missing", "delegate". The
    message is a sentence: what was found, what was expected, what to do.
    """

    def __init__(self, message: str, code: str = "manifest") -> None:
        message = plain.sentence(message)
        super().__init__(message)
        self.code = code
        self.message = message


class Variant(msgspec.Struct, kw_only=True, frozen=True):
    """One build of a network."""

    name: str
    file: str
    """Name of the .tflite file; a path (relative to the manifest) for a user's own file."""
    url: tuple[str, ...] = ()
    """Where its publisher has it, tried in this order; empty: nowhere as .tflite."""
    member: str = ""
    """The file's name inside the ZIP archive that `url` names; empty: `url` is the file itself."""
    sha256: str = ""
    """Of the .tflite file; empty: not known, taken at the first download."""
    bytes: int = 0
    """Size of the .tflite file; 0: not known."""
    width: int = 0
    height: int = 0
    """Input size in pixels; 0: not known."""
    dtype: Dtype | Literal[""] = ""
    layout: Layout | Literal[""] = ""
    delegate: Literal["", "edgetpu"] = ""
    """What it is compiled for; empty: runs anywhere."""
    cpu_twin: str = ""
    """Of an Edge TPU variant: the variant of this entry that runs without one."""
    embedded: bool = False
    """The file comes with the package."""
    coco_ap: float | None = None
    """Average precision at IoU 0.50:0.95 (0..1), as published."""
    coco_ap_source: str = ""
    license: str = ""
    labels: str = ""
    """Path of the label file; empty: inside the model, or none."""
    anchors: Decoding | None = None
    anchors_file: str = ""
    """Path of a JSON file with the same content."""
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    color: ColorOrder = "rgb"
    resize: Resize = "squash"
    min_score: dict[str, float] = {}
    """By label: the score from which a detection of the class is worth reporting; others: vigild.minscores.DEFAULT."""
    note: str = ""


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    """A network with its variants, best first."""

    name: str
    description: str = ""
    publisher: str = ""
    """A page about it, or where its source is, for people."""
    variants: tuple[Variant, ...]
    origin: str = ""
    """The manifest it is from."""
    folder: str = ""
    """The manifest's folder: what relative paths are relative to."""

    def variant(self, name: str) -> Variant | None:
        """The variant of that name, if there is one."""
        return next((variant for variant in self.variants if variant.name == name), None)
