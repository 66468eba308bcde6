"""TFLite metadata: labels and normalisation, packed into the model file.

The description is a FlatBuffer of the schema tensorflow/lite/support/metadata_schema.fbs in the
buffer TFLITE_METADATA; the label file stands in a ZIP archive behind the model, where any unzip
finds it. Field numbers below are the schema's.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from forge.tflite import flatbuffer

LABEL_FILE = "labels.txt"
_BUFFER_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES, _BOUNDING_BOX_PROPERTIES = 1, 2, 3  # union ContentProperties
_VALUE_LABELS = 3  # enum AssociatedFileType.TENSOR_VALUE_LABELS
_RGB = 1  # enum ColorSpaceType
_BOX_ORDER = (1, 0, 3, 2)  # where left, top, right, bottom stand in (ymin, xmin, ymax, xmax)
_TIMESTAMP = (2024, 1, 1, 0, 0, 0)  # of the archive's member, so that the same model is the same file


@dataclass(frozen=True)
class Card:
    """What the metadata says in words."""

    name: str
    description: str
    license: str
    author: str = "vigild"
    version: str = "1"


class _Writer:
    """The few FlatBuffer constructs that are needed, bottom up."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, **fields: Any) -> int:
        """f<number>=("offset" | "u8" | "i8", value); the table's offset."""
        builder = self.builder
        numbers = {int(name[1:]): value for name, value in fields.items()}
        builder.StartObject(max(numbers, default=-1) + 1)
        for number, (kind, value) in numbers.items():
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(number, value, 0)
            elif kind == "u8":
                builder.PrependUint8Slot(number, value, 0)
            else:
                builder.PrependInt8Slot(number, value, 0)
        return int(builder.EndObject())

    def text(self, value: str) -> tuple[str, int]:
        return "offset", int(self.builder.CreateString(value))

    def tables(self, offsets: list[int]) -> tuple[str, int]:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return "offset", int(self.builder.EndVector())

    def numbers(self, values: tuple[float, ...] | tuple[int, ...], dtype: str) -> tuple[str, int]:
        return "offset", int(self.builder.CreateNumpyVector(np.array(values, dtype)))


Channels = float | tuple[float, ...]
"""One value, or one per channel."""


def _describe(card: Card, mean: Channels, std: Channels, label_file: bool) -> bytes:
    w = _Writer()
    means, stds = (value if isinstance(value, tuple) else (value,) for value in (mean, std))
    normal = w.table(f0=w.numbers(means, "<f4"), f1=w.numbers(stds, "<f4"))
    unit = w.table(f0=("u8", _NORMALIZATION_OPTIONS), f1=("offset", normal))
    image = w.table(f0=("u8", _IMAGE_PROPERTIES), f1=("offset", w.table(f0=("i8", _RGB))))
    picture = w.table(f0=w.text("image"), f3=("offset", image), f4=w.tables([unit]))
    outputs = []
    for name in ("location", "category", "score", "number of detections"):
        fields: dict[str, Any] = {"f0": w.text(name)}
        if name == "location":
            order = w.table(f0=w.numbers(_BOX_ORDER, "<u4"))
            fields["f3"] = ("offset", w.table(f0=("u8", _BOUNDING_BOX_PROPERTIES), f1=("offset", order)))
        else:
            fields["f3"] = ("offset", w.table(f0=("u8", _FEATURE_PROPERTIES), f1=("offset", w.table())))
        if name == "category" and label_file:
            labels = w.table(f0=w.text(LABEL_FILE), f1=w.text("the classes, in order"), f2=("i8", _VALUE_LABELS))
            fields["f6"] = w.tables([labels])
        outputs.append(w.table(**fields))
    graph = w.table(f2=w.tables([picture]), f3=w.tables(outputs))
    root = w.table(
        f0=w.text(card.name),
        f1=w.text(card.description),
        f2=w.text(card.version),
        f3=w.tables([graph]),
        f4=w.text(card.author),
        f5=w.text(card.license),
        f7=w.text("1.0.0"),
    )
    w.builder.Finish(root, _IDENTIFIER)
    return bytes(w.builder.Output())


def set_description(model: Any, card: Card, mean: Channels, std: Channels, *, label_file: bool = False) -> None:
    """Put the metadata into `model` (a `ModelT`), in place of what was there.

    mean, std: of the normalisation (p - mean) / std of pixels p 0..255. label_file: whether a label file
    will stand behind the model.
    """
    entry = schema.MetadataT()
    entry.name = _BUFFER_NAME
    entry.buffer = flatbuffer.add_buffer(model, _describe(card, mean, std, label_file))
    model.metadata = [*(kept for kept in model.metadata or [] if kept.name != _BUFFER_NAME), entry]


def write_with_labels(
    model: Any, path: Path, labels: tuple[str, ...], card: Card, mean: Channels = 127.5, std: Channels = 127.5
) -> None:
    """Write `model` (a `ModelT`) to `path` with its labels, and what the metadata says about it.

    mean, std: of the normalisation (p - mean) / std of pixels p 0..255.
    """
    set_description(model, card, mean, std, label_file=True)
    flatbuffer.save(model, path)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(LABEL_FILE, _TIMESTAMP)
        archive.writestr(member, "".join(label + "\n" for label in labels))
