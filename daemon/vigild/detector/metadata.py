"""TFLite metadata: what a model's author says about its tensors.

It is a FlatBuffer of its own (schema tensorflow/lite/support/metadata_schema.fbs, identifier M001)
in the model's buffer named TFLITE_METADATA; label files are in a ZIP archive behind the model.
"""

from __future__ import annotations

from typing import NamedTuple

from vigild.detector.flatbuffer import Table

BUFFER_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"

_NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
_IMAGE_PROPERTIES, _BOUNDING_BOX_PROPERTIES = 2, 3  # union ContentProperties
_VALUE_LABELS, _AXIS_LABELS = 3, 2  # enum AssociatedFileType
MAX_TENSORS = 64
"""Descriptions read per side; detectors have one input and at most four outputs."""


class TensorMetadata(NamedTuple):
    """One input or output tensor, as described."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalisation (p - mean) / std, one value or one per channel; empty when not given."""
    label_files: tuple[str, ...]
    """Names in the archive, the one without a locale first."""
    box_order: tuple[int, ...]
    """Positions of left, top, right, bottom in a box; empty means unsaid."""


class Metadata(NamedTuple):
    name: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


def _normalization(tensor: Table) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in tensor.tables(4)[:MAX_TENSORS]:
        options = unit.table(1)
        if unit.scalar(0, "B") == _NORMALIZATION_OPTIONS and options is not None:
            return tuple(options.vector(0, "f")[:3]), tuple(options.vector(1, "f")[:3])
    return (), ()


def _tensor(table: Table) -> TensorMetadata:
    mean, std = _normalization(table)
    files = [
        (file.string(3), file.string(0))
        for file in table.tables(6)[:MAX_TENSORS]
        if file.scalar(2, "b") in (_VALUE_LABELS, _AXIS_LABELS)
    ]
    content = table.table(3)
    order: tuple[int, ...] = ()
    if content is not None and content.scalar(0, "B") == _BOUNDING_BOX_PROPERTIES:
        properties = content.table(1)
        order = tuple(properties.vector(0, "I")[:4]) if properties is not None else ()
    return TensorMetadata(table.string(0), mean, std, tuple(name for _, name in sorted(files)), order)


def read(data: memoryview) -> Metadata | None:
    """The metadata of the first subgraph; None when `data` is none. Raises OutOfBounds when damaged."""
    if bytes(data[4:8]) != IDENTIFIER:
        return None
    root = Table.root(data)
    graphs = root.tables(3)
    if not graphs:
        return Metadata(root.string(0), (), ())
    return Metadata(
        root.string(0),
        tuple(_tensor(t) for t in graphs[0].tables(2)[:MAX_TENSORS]),
        tuple(_tensor(t) for t in graphs[0].tables(3)[:MAX_TENSORS]),
    )
