"""A model file that somebody brings: opened and checked as the daemon does it, and as an object to edit.

source = open_source(Path("in.tflite"))
source.model, source.facts, source.spec
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from forge.errors import ForgeError
from forge.tflite import flatbuffer
from forge.tflite.metadata import Card
from vigild.detector import facts as model_facts
from vigild.detector import input_spec, labels
from vigild.detector import metadata as model_metadata
from vigild.detector.errors import ModelError
from vigild.detector.facts import ModelFacts
from vigild.detector.flatbuffer import Table
from vigild.detector.model_file import ModelFile
from vigild.tensor import TensorSpec

Triple = tuple[float, float, float]


class Source(NamedTuple):
    path: Path
    model: Any
    """`ModelT`, all weights inside."""
    facts: ModelFacts
    spec: TensorSpec
    """The input: size, dtype, layout, normalisation."""


def open_source(path: Path, mean: Triple | None = None, std: Triple | None = None) -> Source:
    """Open a detector. mean, std: the normalisation, instead of what the file says.

    Raises ForgeError for what is no model, is damaged, or was compiled for the Edge TPU.
    """
    try:
        with ModelFile.open(str(path)) as file:
            data = bytes(file.data)
    except ModelError as error:
        raise ForgeError(error.message) from None
    return read_source(data, path, mean, std)


def read_source(
    data: bytes, path: Path = Path("the model"), mean: Triple | None = None, std: Triple | None = None
) -> Source:
    """`open_source` of a file's bytes; `path` is what errors call it."""
    try:
        facts = model_facts.read(memoryview(data))
        if facts.edgetpu:
            raise ForgeError(
                f"{path} is compiled for the Edge TPU: its weights cannot be read back. Bring the file it was compiled"
                " from, usually the one without _edgetpu in its name."
            )
        spec, _ = input_spec.decide(facts, "rgb", "squash", mean, std)
    except ModelError as error:
        raise ForgeError(f"{path}: {error.message}") from None
    try:
        model = flatbuffer.load(data)
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ForgeError(f"{path} is damaged: {error}; fetch it again.") from None
    if len(model.subgraphs) != 1:
        raise ForgeError(f"{path} has {len(model.subgraphs)} subgraphs; a detector has one, without control flow.")
    return Source(path, model, facts, spec)


def labels_of(source: Source, file: Path | None = None) -> tuple[str, ...] | None:
    """The class names: of `file` if given, else those packed in the model; None without any."""
    count = source.facts.postprocess.num_classes if source.facts.postprocess else 0
    described = source.facts.metadata.outputs if source.facts.metadata else ()
    wanted = [name for tensor in described for name in tensor.label_files]
    try:
        if file is not None:
            return tuple(labels.read_file(str(file), count)[0])
        found = labels.from_archive(str(source.path), wanted, count)
    except ModelError as error:
        raise ForgeError(error.message) from None
    return tuple(found[0]) if found else None


def card_of(source: Source, description: str) -> Card:
    """What the file's own metadata says of name, author and licence, with another description."""
    said = ["", "", "", ""]
    for entry in source.model.metadata or []:
        data = source.model.buffers[entry.buffer].data
        if entry.name == model_metadata.BUFFER_NAME.encode() and data is not None:
            root = Table.root(memoryview(bytes(data)))
            said = [root.string(field) for field in (0, 2, 4, 5)]  # name, version, author, license
    name, version, author, licence = said
    return Card(
        name=name or source.path.stem,
        description=description,
        license=licence or "as the model it was made from",
        author=author or "unknown",
        version=version or "1",
    )
