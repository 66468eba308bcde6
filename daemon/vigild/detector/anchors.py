"""Anchors of detectors whose file ends before the detection op, and how their boxes are encoded.

    decoding = Decoding(ssd=SsdAnchors())
    boxes = anchors(decoding, width=300, height=300)      # (1917, 4): ycenter, xcenter, height, width

Such files do not say what their anchors are. They come, first of these: from a file beside the
model, `MODEL.anchors.json` (a `Decoding` as JSON); from the manifest; else, when their number is the one it
gives for the input's size, from the generator of the TensorFlow SSD-MobileNets.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vigild.catalogue.decoding import Decoding, GridLayer, SsdAnchors
from vigild.detector.errors import ModelError

MAX_ANCHORS = 100_000
"""EfficientDet-D4 at 1024 pixels has 196,416; SSD-MobileNets have 2,000 to 20,000."""
MAX_SIDECAR_BYTES = 16 * 2**20


def sidecar(model_path: str) -> Decoding | None:
    """The decoding described beside a model; None when there is no such file. Raises ModelError "anchors"."""
    path = Path(model_path + ".anchors.json")
    if not path.is_file():
        path = Path(model_path).with_suffix(".anchors.json")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR_BYTES)
        return msgspec.json.decode(data, type=Decoding)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # msgspec's DecodeError is a ValueError
        raise ModelError("anchors", f"The anchors in {path} cannot be used: {error}; correct that file.") from None


def anchors(decoding: Decoding, width: int, height: int) -> Any:
    """Anchors (n, 4) float64: ycenter, xcenter, height, width, relative. Raises ModelError "anchors"."""
    given = [kind for kind in ("explicit", "ssd", "grid") if getattr(decoding, kind) is not None]
    if len(given) != 1:
        raise ModelError(
            "anchors", f"The anchors are given by {' and '.join(given) or 'nothing'}; give one of explicit, ssd, grid."
        )
    if decoding.explicit is not None:
        found = np.asarray(decoding.explicit, np.float64).reshape(-1, 4)
    elif decoding.ssd is not None:
        found = _ssd(decoding.ssd, width, height)
    else:
        found = _grid(decoding.grid or [], width, height)
    if len(found) > MAX_ANCHORS or not np.isfinite(found).all() or not (found[:, 2:] > 0).all():
        raise ModelError(
            "anchors", f"The anchors are unusable: up to {MAX_ANCHORS} with finite numbers and a size are expected."
        )
    return found


def _feature_maps(width: int, height: int) -> list[tuple[int, int]]:
    """Of MobileNet-SSD: stride 16, then halved (padding SAME) to six."""
    maps = [(math.ceil(height / 16), math.ceil(width / 16))]
    while len(maps) < 6:
        maps.append((math.ceil(maps[-1][0] / 2), math.ceil(maps[-1][1] / 2)))
    return maps


def _ssd(parameters: SsdAnchors, width: int, height: int) -> Any:
    maps = parameters.feature_maps or _feature_maps(width, height)
    _check_count(sum(rows * columns for rows, columns in maps) * (len(parameters.aspect_ratios) + 1))
    steps = max(len(maps) - 1, 1)
    scales = [
        parameters.min_scale + (parameters.max_scale - parameters.min_scale) * layer / steps
        for layer in range(len(maps))
    ]
    scales.append(1.0)
    layers = []
    for layer, (rows, columns) in enumerate(maps):
        scale = scales[layer]
        if layer == 0 and parameters.reduce_boxes_in_lowest_layer:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            shapes = [(scale, ratio) for ratio in parameters.aspect_ratios]
            if parameters.interpolated_aspect_ratio > 0:
                shapes.append((math.sqrt(scale * scales[layer + 1]), parameters.interpolated_aspect_ratio))
        sizes = np.array([(s / math.sqrt(ratio), s * math.sqrt(ratio)) for s, ratio in shapes])
        layers.append(_cells(rows, columns, 1 / rows, 1 / columns, sizes))
    return np.concatenate(layers)


def _grid(layers: list[GridLayer], width: int, height: int) -> Any:
    found = []
    for layer in layers:
        if layer.stride < 1 or not layer.sizes:
            raise ModelError("anchors", "A grid layer of the anchors needs a stride of at least 1 and sizes.")
        rows, columns = math.ceil(height / layer.stride), math.ceil(width / layer.stride)
        _check_count(rows * columns * len(layer.sizes))
        sizes = np.array([(size / height, size / width) for size in layer.sizes])
        found.append(_cells(rows, columns, layer.stride / height, layer.stride / width, sizes))
    if not found:
        raise ModelError("anchors", "The anchors' grid has no layers.")
    return np.clip(np.concatenate(found), 0.0, 1.0)


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_ANCHORS:
        raise ModelError("anchors", f"The anchors' parameters give {count} anchors; up to {MAX_ANCHORS} are expected.")


def _cells(rows: int, columns: int, y_step: float, x_step: float, sizes: Any) -> Any:
    """Anchors of each of `sizes` (h, w) at the middle of each cell; row by row, all sizes of a cell together."""
    y, x = np.meshgrid((np.arange(rows) + 0.5) * y_step, (np.arange(columns) + 0.5) * x_step, indexing="ij")
    centers = np.repeat(np.stack([y.ravel(), x.ravel()], axis=1), len(sizes), axis=0)
    return np.concatenate([centers, np.tile(sizes, (rows * columns, 1))], axis=1)
