"""Every tensor setting out of one network, as files.

made = make_variant(network, parse("int8"), observed, Path("out/people_int8.tflite"), card)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import msgspec
import numpy as np

from forge.errors import ForgeError
from forge.quantization.calibrate import Image, Observed
from forge.quantization.quantize import quantize
from forge.quantization.settings import Setting
from forge.routes.source import Source
from forge.tflite import flatbuffer
from forge.tflite.layout import take_nchw
from forge.tflite.metadata import Card, write_with_labels
from forge.tflite.postprocess import PostProcess, add_postprocess
from forge.variants.network import Network, decoding_of

Item = TypeVar("Item")

SIDECAR = ".anchors.json"
"""Behind a model's name: the file with its anchors, where the daemon looks for them."""
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, by name. Raises ForgeError when there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        raise ForgeError(f"there are no pictures (.jpg, .png, .bmp) in {folder}")
    return found


def spread(files: Sequence[Item], count: int) -> list[Item]:
    """`count` of the files (or pictures), evenly spread over them; all when there are no more."""
    if len(files) <= count:
        return list(files)
    return [files[int(i)] for i in np.linspace(0, len(files) - 1, count).round()]


def read_for(network: Network | Source, files: list[Path]) -> list[Image]:
    """Pictures squashed to the network's input: uint8 [H, W, 3], RGB."""
    images = []
    for path in files:
        image = cv2.imread(str(path))
        if image is None:
            raise ForgeError(f"{path} cannot be read as a picture")
        images.append(cv2.cvtColor(cv2.resize(image, (network.spec.width, network.spec.height)), cv2.COLOR_BGR2RGB))
    return images


def make_variant(
    network: Network,
    setting: Setting,
    observed: Observed | None,
    path: Path,
    card: Card,
    *,
    method: str | None = None,
    postprocess: PostProcess | None = None,
) -> None:
    """Write one variant to `path`, labels and metadata inside; its anchors beside it when it has no op.

    method: how ranges are chosen (forge.quantization.range_search). postprocess: instead of the settings the
    network came with.
    """
    model: Any = flatbuffer.load(quantize(network, setting, observed, method))
    write_variant(model, network, setting, path, card, postprocess)


def write_variant(
    model: Any, network: Network, setting: Setting, path: Path, card: Card, postprocess: PostProcess | None = None
) -> None:
    """Write a `ModelT` that takes NHWC and gives codes and scores, in the way that the setting says."""
    if setting.nchw:
        take_nchw(model)
    if setting.raw:
        beside = path.with_name(path.name + SIDECAR)
        beside.write_bytes(msgspec.json.encode(decoding_of(network)) + b"\n")
    else:
        add_postprocess(model, network.anchors, postprocess or network.postprocess)
    write_with_labels(model, path, network.labels, card, network.spec.mean, network.spec.std)
